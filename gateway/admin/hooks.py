"""Hooks: the addresses that senders post a strategy's signals to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_network
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin import changes, hook_secrets
from gateway.admin.changes import By, ObjectKind, by
from gateway.admin.hook_secrets import HOOK_SECRET, HookSecretView, NewHookSecret
from gateway.admin.objects import Resource
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery, read_id, write_cursor
from gateway.admin.references import require_live
from gateway.hooks.tradingview import networks
from tenancy.errors import Conflict, Invalid, NotFound
from tenancy.ids import new_hook_id
from tenancy.store import documents
from tenancy.store.documents import Stored, Table
from tenancy.values import PRINTABLE, whole

Sender = Literal["standard_webhooks", "tradingview"]
Sources = Annotated[
    list[Annotated[str, Meta(min_length=3, max_length=43)]], Meta(min_length=1, max_length=100)
]


class HookDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people set about a hook. A rate that is absent is the installation's."""

    name: Annotated[str, Meta(max_length=100, pattern=whole(PRINTABLE + "*"))] = ""
    strategy_id: UUID
    sender: Sender = "standard_webhooks"
    enabled: bool = True
    per_minute: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    per_hour: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    sources: Sources | None = None
    """Of `tradingview`: from which addresses or networks it may come; absent: TradingView's own four."""
    repeat_window_s: Annotated[int, Meta(ge=5, le=600)] | None = None
    """Of `tradingview`: how long the same body is the same alert, in seconds; absent: 30."""

    def __post_init__(self) -> None:
        for source in self.sources or ():
            try:
                ip_network(source)
            except ValueError:
                raise ValueError(
                    f"sources: {source!r} is no IP address or network, such as 52.89.214.238 or"
                    " 10.0.0.0/8"
                ) from None


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
    sources: list[str] | None
    repeat_window_s: int | None
    revision: int
    created_at: datetime
    archived_at: datetime | None


class HookFilters(PageQuery, frozen=True, kw_only=True):
    """Which hooks."""

    name: str | None = None
    strategy_id: UUID | None = None
    archived: bool = False


def _danger(
    before: HookDocument | None, after: HookDocument | None, facts: Mapping[str, Any]
) -> frozenset[str]:
    """A sender that need not sign any more, and more places from where a token counts: `credentials`."""
    if before is None or after is None:
        return frozenset()
    unsigned = before.sender == "standard_webhooks" and after.sender == "tradingview"
    known = networks(before.sources)
    wider = any(
        not any(new.version == old.version and new.subnet_of(old) for old in known)  # type: ignore[arg-type]
        for new in networks(after.sources)
    )
    return frozenset({"credentials"} if unsigned or wider else ())


async def _other_secrets(
    by: By, hook_id: str, before: HookDocument | None, after: HookDocument | None
) -> None:
    """Another kind of sender has other secrets: the old ones end at once."""
    if before is not None and after is not None and before.sender != after.sender:
        await hook_secrets.end_all(by, hook_id)


async def _check(by: By, before: HookDocument | None, after: HookDocument | None) -> None:
    if before is None and after is not None:
        await require_live(by, "strategy_id", after.strategy_id)


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
    check=_check,
    danger=_danger,
    follow=_other_secrets,
    make_id=new_hook_id,
)


class _Hooks(Resource[HookDocument], frozen=True, kw_only=True):
    """A hook's address follows from its id and from where this installation listens."""

    async def _create(self, call: Call) -> Result:
        """With its first secret, or the first token of a sender that cannot sign."""
        author = by(call)
        hook_id, made = await changes.create(author, self.kind, call.body)
        once = {}
        if made.proposal is None:
            scheme = hook_secrets.SCHEMES[call.body.sender][0]
            wanted = hook_secrets.NewHookSecret(scheme=scheme)
            _, text = await hook_secrets.add(author, hook_id, wanted)
            once = {"secret": text or ""}
        answer = await self.answer(call, hook_id, made, 201)
        return msgspec.structs.replace(answer, once=once)

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
    shows_once=("secret",),
)


async def _secrets(call: Call) -> Result:
    hook = await HOOKS.stored(call)
    rows = await documents.page(
        call.conn, HOOK_SECRET.table, limit=call.query.limit, archived=True,
        where={"hook_id": hook.object_id}, after=read_id(call.query.cursor),
    )  # fmt: skip
    more = write_cursor(rows[-1].object_id) if len(rows) == call.query.limit else None
    return Result(content=Page(items=[hook_secrets.show(row) for row in rows], next=more))


async def _add_secret(call: Call) -> Result:
    hook = await HOOKS.stored(call, lock=True)
    if hook.facts["archived_at"] is not None:
        raise Conflict("this hook is archived: nobody signs for it any more")
    wanted: NewHookSecret = call.body
    schemes = hook_secrets.SCHEMES[hook.document.sender]
    if wanted.scheme not in schemes:
        raise Invalid(
            f"scheme: a {hook.document.sender} hook has {' or '.join(schemes)}", field="scheme"
        )
    secret_id, text = await hook_secrets.add(by(call), hook.object_id, wanted)
    stored = await documents.read(call.conn, HOOK_SECRET.table, secret_id)
    return Result(
        content=hook_secrets.show(stored),
        once={"secret": text} if text else {},
        location=f"/v1/hooks/{hook.object_id}/secrets/{secret_id}",
    )


async def _revoke_secret(call: Call) -> Result:
    hook = await HOOKS.stored(call, lock=True)
    stored = await documents.read(call.conn, HOOK_SECRET.table, call.uuid("secret_id"), lock=True)
    if stored.document.hook_id != hook.object_id:
        raise NotFound("this hook has no such secret")
    if stored.facts["revoked_at"] is None:
        await changes.remove(by(call), HOOK_SECRET, stored)
    return Result()


_SECRETS = "/v1/hooks/{hook_id}/secrets"

OPERATIONS: tuple[Operation, ...] = (
    *HOOKS.operations(),
    Operation(
        name="list_hook_secrets", method="GET", path=_SECRETS, tag="Hooks", action="hooks:read",
        summary="The hook's signing secrets by their ids, never the secrets themselves.",
        handle=_secrets, query=PageQuery, answer=Page[HookSecretView], problems=("not_found",),
    ),
    Operation(
        name="create_hook_secret", method="POST", path=_SECRETS, tag="Hooks", action="hooks:write",
        summary="Make a new signing secret, shown once; those before it go on for the overlap.",
        handle=_add_secret, body=NewHookSecret, answer=HookSecretView, status=201,
        shows_once=("secret",), always_shows=False, problems=("not_found", "conflict"),
    ),
    Operation(
        name="revoke_hook_secret", method="DELETE", path=f"{_SECRETS}/{{secret_id}}", tag="Hooks",
        action="hooks:write", summary="Revoke a signing secret: in force within a second.",
        handle=_revoke_secret, status=204, problems=("not_found",),
    ),
)  # fmt: skip
