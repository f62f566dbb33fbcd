"""The keys in the HSM, as people see them: one's own, what is to be enrolled anew, the operators' calendar.

Names, versions and times. The keys themselves leave no token.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from gateway.admin import sealed_rows
from gateway.admin.errors import Malformed
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery, read_cursor, write_cursor
from gateway.admin.sealed_rows import Source
from tenancy.store import hsm_keys
from tenancy.store.hsm_keys import Kind, PlatformKey, State, StoredKey

TAG = "Tenants"


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one key. `rows`: live secrets that are sealed under it; null for other kinds than kek.

    `due`: the next version should have taken over by now.
    """

    kind: Kind
    version: int
    label: str
    state: State
    made_at: datetime
    due_at: datetime
    due: bool
    replaced_at: datetime | None
    destroyed_at: datetime | None
    rows: int | None


class Reenrolment(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that is sealed under an old version. `owner_id`: its account, hook, channel or person.

    `by_itself`: it is sealed anew within a minute and needs nobody; the others have to be put once more.
    """

    source: Source
    object_id: str
    owner_id: str
    kek_version: int
    by_itself: bool


class HookSecretDue(msgspec.Struct, frozen=True, kw_only=True):
    """A hook's live secret that is a year old: make a second one, change the sender, revoke the first."""

    secret_id: UUID
    hook_id: str
    created_at: datetime


class TenantKeys(msgspec.Struct, frozen=True, kw_only=True):
    """`unreadable`: rows that this version cannot read; they keep every version from being retired."""

    keys: list[KeyView]
    reenrolment_due: list[Reenrolment]
    hook_secrets_due: list[HookSecretDue]
    unreadable: int


_OLD_SECRETS = """
SELECT secret_id, hook_id, created_at FROM hook_secrets
WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > %(now)s)
  AND created_at <= %(now)s - interval '1 year' ORDER BY created_at LIMIT 1000"""


async def _own(call: Call) -> Result:
    now = call.services.clock.now()
    keys = await hsm_keys.read_keys(call.conn)
    rows = await sealed_rows.read(call.conn)
    current = max((key.version for key in keys if key.kind == "kek"), default=0)
    due = [
        Reenrolment(
            source=row.source, object_id=row.object_id, owner_id=row.owner_id,
            kek_version=row.kek_version, by_itself=row.source in sealed_rows.BY_ITSELF,
        )
        for row in sealed_rows.below(rows, current)
    ]  # fmt: skip
    cursor = await call.conn.execute(_OLD_SECRETS, {"now": now})
    secrets = [
        HookSecretDue(secret_id=row[0], hook_id=row[1], created_at=row[2])
        for row in await cursor.fetchall()
    ]
    versions = [row.kek_version for row in rows]
    content = TenantKeys(
        keys=[_view(key, versions, now) for key in keys],
        reenrolment_due=due,
        hook_secrets_due=secrets,
        unreadable=versions.count(sealed_rows.UNREADABLE),
    )
    return Result(content=content)


def _view(key: StoredKey, versions: list[int], now: datetime) -> KeyView:
    return KeyView(
        kind=key.kind, version=key.version, label=key.label, state=key.state, made_at=key.made_at,
        due_at=key.due_at, due=key.state == "current" and key.due_at <= now,
        replaced_at=key.replaced_at, destroyed_at=key.destroyed_at,
        rows=versions.count(key.version) if key.kind == "kek" else None,
    )  # fmt: skip


async def _calendar(call: Call) -> Result:
    limit = call.query.limit
    rows = await hsm_keys.page_of_platform(
        call.conn, limit=limit, after=_place(read_cursor(call.query.cursor))
    )
    last = rows[-1] if len(rows) == limit else None
    more = write_cursor(f"{last.tenant_id} {last.kind} {last.version}") if last else None
    return Result(content=Page(items=rows, next=more))


def _place(cursor: str | None) -> tuple[UUID, str, int] | None:
    if cursor is None:
        return None
    try:
        tenant, kind, version = cursor.split(" ")
        return UUID(tenant), kind, int(version)
    except ValueError:
        raise Malformed(
            "cursor: take it from `next` of the page before, unchanged", field="cursor"
        ) from None


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="get_tenant_keys", method="GET", path="/v1/tenant/keys", tag=TAG, action="keys:read",
        summary="One's own keys in the HSM by version, and which secrets are to be enrolled anew.",
        handle=_own, answer=TenantKeys,
    ),
    Operation(
        name="list_platform_keys", method="GET", path="/v1/platform/keys", tag=TAG,
        action="tenants:read", summary="Every key of this installation: made, due, state.",
        handle=_calendar, query=PageQuery, answer=Page[PlatformKey], platform=True,
    ),
)  # fmt: skip
