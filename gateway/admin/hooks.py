"""Hooks: the addresses that senders post a strategy's signals to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin.changes import ObjectKind
from gateway.admin.objects import Resource
from gateway.admin.operation import Call
from gateway.admin.paging import PageQuery
from tenancy.ids import new_hook_id
from tenancy.store.documents import Stored, Table

Sender = Literal["standard_webhooks", "tradingview"]


class HookDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people set about a hook. A rate that is absent is the installation's."""

    name: Annotated[str, Meta(max_length=100)] = ""
    strategy_id: UUID
    sender: Sender = "standard_webhooks"
    enabled: bool = True
    per_minute: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    per_hour: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class HookView(msgspec.Struct, frozen=True, kw_only=True):
    """A hook as it is. `address`: where signals are posted to; not a secret, and not to be guessed."""

    hook_id: str
    address: str
    name: str
    strategy_id: UUID
    sender: Sender
    enabled: bool
    per_minute: int | None
    per_hour: int | None
    revision: int
    created_at: datetime
    archived_at: datetime | None


class HookFilters(PageQuery, frozen=True, kw_only=True):
    """Which hooks."""

    name: str | None = None
    strategy_id: UUID | None = None
    archived: bool = False


HOOK: ObjectKind[HookDocument] = ObjectKind(
    name="hook",
    table=Table(
        noun="hook",
        table="hooks",
        key="hook_id",
        document=HookDocument,
        facts=("created_at", "archived_at"),
        fixed=frozenset({"strategy_id"}),
    ),
    make_id=new_hook_id,
)


class _Hooks(Resource[HookDocument], frozen=True, kw_only=True):
    """A hook's address follows from its id and from where this installation listens."""

    def shown(self, call: Call, stored: Stored[HookDocument]) -> HookView:
        fields: dict[str, Any] = msgspec.structs.asdict(stored.document)
        base = call.services.hooks_base_url.rstrip("/")
        return HookView(
            hook_id=stored.object_id,
            address=f"{base}/v1/hooks/{stored.object_id}",
            revision=stored.revision,
            **fields,
            **stored.facts,
        )


HOOKS = _Hooks(
    kind=HOOK,
    path="/v1/hooks",
    id_name="hook_id",
    tag="Hooks",
    view=HookView,
    resource="hooks",
    text_ids=True,
    filters=HookFilters,
    create=HookDocument,
)

OPERATIONS = HOOKS.operations()
