"""Subscriptions: which account follows which strategy, and what it does with the strategy's signals.

The pair is what a subscription is: it stays, and an account follows a strategy once. A subscription
that ends is deleted; what it was is in its history. Its shadow (gateway/admin/shadows.py) ends with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin.changes import By, ObjectKind
from gateway.admin.dangers import NONE, approvals_danger
from gateway.admin.objects import Resource
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import PageQuery
from gateway.admin.references import require_live
from gateway.admin.shadow_ends import end_shadow, lock_shadow
from tenancy.explain import EffectiveView
from tenancy.paper import is_live
from tenancy.store.documents import Table
from tenancy.store.resolvable import require_resolvable
from tenancy.store.snapshots import read_effective
from tenancy.subscription import SubscriptionSettings
from tenancy.values import SubscriptionID


class SubscriptionDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people set about a subscription. `priority`: lower trades first where the order is fixed."""

    strategy_id: UUID
    account_id: UUID
    enabled: bool = True
    priority: Annotated[int, Meta(ge=-1_000_000, le=1_000_000)] = 0
    settings: SubscriptionSettings = SubscriptionSettings()


class SubscriptionView(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as it is; `…/effective` says what holds under all layers. `shadow_of`: whose it is;
    `strategy`, `account`: their names."""

    subscription_id: UUID
    strategy_id: UUID
    strategy: str
    account_id: UUID
    account: str
    enabled: bool
    priority: int
    settings: SubscriptionSettings
    shadow_of: UUID | None
    revision: int
    created_at: datetime


class SubscriptionFilters(PageQuery, frozen=True, kw_only=True):
    """Which subscriptions."""

    strategy_id: UUID | None = None
    account_id: UUID | None = None
    enabled: bool | None = None


async def _check(
    by: By, before: SubscriptionDocument | None, after: SubscriptionDocument | None
) -> None:
    if after is None:
        assert before is not None
        await lock_shadow(by.conn, before.strategy_id, before.account_id)
        return
    if before is None or (after.enabled and not before.enabled):
        await require_live(by, "account_id", after.account_id)
        await require_live(by, "strategy_id", after.strategy_id)


async def _follow(
    by: By,
    object_id: str,
    before: SubscriptionDocument | None,
    after: SubscriptionDocument | None,
) -> None:
    if after is None:
        assert before is not None
        await end_shadow(by, SUBSCRIPTION, object_id, before.account_id)
    elif before is None or before.settings != after.settings:
        await require_resolvable(by.conn, subscription=UUID(object_id))


async def _beside(
    by: By, before: SubscriptionDocument | None, after: SubscriptionDocument | None
) -> Mapping[str, Any]:
    """Whether the account is live; one that is not there is refused when the row is written."""
    document = after or before
    assert document is not None
    query = "SELECT broker FROM accounts WHERE account_id = %s"
    row = await (await by.conn.execute(query, (document.account_id,))).fetchone()
    return {"live": row is not None and is_live(row[0])}


def _danger(
    before: SubscriptionDocument | None,
    after: SubscriptionDocument | None,
    facts: Mapping[str, Any],
) -> frozenset[str]:
    begins = after is not None and after.enabled and (before is None or not before.enabled)
    live = frozenset({"live"}) if begins and facts["live"] else NONE
    return live | approvals_danger(before, after)


SUBSCRIPTION: ObjectKind[SubscriptionDocument] = ObjectKind(
    name="subscription",
    table=Table(
        noun="subscription",
        table="subscriptions",
        key="subscription_id",
        document=SubscriptionDocument,
        facts=("shadow_of", "created_at", "strategy", "account"),
        json=frozenset({"settings"}),
        read_as={
            "strategy": "(SELECT t.name FROM strategies t WHERE t.strategy_id = subscriptions.strategy_id)",
            "account": "(SELECT a.name FROM accounts a WHERE a.account_id = subscriptions.account_id)",
        },
        fixed=frozenset({"strategy_id", "account_id"}),
        archived="",
        names={
            "subscriptions_strategy_id_account_id_key": "this account follows this strategy already:"
            " change that subscription",
            "subscriptions_shadow_of": "this subscription has a shadow already",
        },
    ),
    check=_check,
    beside=_beside,
    follow=_follow,
    danger=_danger,
)

SUBSCRIPTIONS: Resource[SubscriptionDocument] = Resource(
    kind=SUBSCRIPTION,
    path="/v1/subscriptions",
    id_name="subscription_id",
    tag="Subscriptions",
    view=SubscriptionView,
    resource="subscriptions",
    filters=SubscriptionFilters,
    create=SubscriptionDocument,
    ends="delete",
)


async def _effective(call: Call) -> Result:
    return Result(
        content=await read_effective(call.conn, SubscriptionID(call.uuid("subscription_id")))
    )


OPERATIONS: tuple[Operation, ...] = (
    *SUBSCRIPTIONS.operations(),
    Operation(
        name="get_effective", method="GET", path="/v1/subscriptions/{subscription_id}/effective",
        tag="Subscriptions", action="subscriptions:read", handle=_effective, answer=EffectiveView,
        summary="Every value that holds for a subscription, and the layer that it comes from.",
        problems=("not_found", "unavailable"),
    ),
)  # fmt: skip
