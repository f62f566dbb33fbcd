"""Account groups: settings and limits that hold for many accounts at once."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from gateway.admin.changes import By, ObjectKind
from gateway.admin.dangers import document_danger
from gateway.admin.limits import require_limits_action
from gateway.admin.objects import Resource
from gateway.admin.paging import PageQuery
from gateway.admin.references import require_unused
from tenancy.limits import Limits
from tenancy.parameters import TradingState
from tenancy.store.documents import Table
from tenancy.store.resolvable import require_resolvable
from tenancy.subscription import SubscriptionSettings
from tenancy.values import Name


class GroupDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people set about a group. Its settings hold where a subscription says nothing."""

    name: Name
    settings: SubscriptionSettings = SubscriptionSettings()
    limits: Limits = Limits()


class GroupView(msgspec.Struct, frozen=True, kw_only=True):
    """A group as it is; `GET /v1/accounts?group_id=` lists its accounts."""

    group_id: UUID
    name: str
    settings: SubscriptionSettings
    limits: Limits
    state: TradingState
    revision: int
    created_at: datetime
    archived_at: datetime | None


class GroupFilters(PageQuery, frozen=True, kw_only=True):
    """Which groups."""

    name: str | None = None
    archived: bool = False


async def _check(by: By, before: GroupDocument | None, after: GroupDocument | None) -> None:
    require_limits_action(by, before, after)


async def _follow(
    by: By, object_id: str, before: GroupDocument | None, after: GroupDocument | None
) -> None:
    if after is None:
        await require_unused(by.conn, "group_id", object_id, "group")
    elif before is not None and before.settings != after.settings:
        await require_resolvable(by.conn, group=UUID(object_id))


GROUP: ObjectKind[GroupDocument] = ObjectKind(
    name="group",
    table=Table(
        noun="account group",
        table="account_groups",
        key="group_id",
        document=GroupDocument,
        facts=("state", "created_at", "archived_at"),
        json=frozenset({"settings", "limits"}),
        names={"account_groups_name": "this group's name is in use in the tenant: choose another"},
    ),
    check=_check,
    danger=document_danger,
    follow=_follow,
)

GROUPS: Resource[GroupDocument] = Resource(
    kind=GROUP,
    path="/v1/groups",
    id_name="group_id",
    tag="Groups",
    view=GroupView,
    resource="accounts",
    filters=GroupFilters,
    create=GroupDocument,
)

OPERATIONS = GROUPS.operations()
