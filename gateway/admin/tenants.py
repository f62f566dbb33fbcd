"""Tenants: one's own house, and for the platform's operators the list of customers and a new one.

An operator sees of a customer what a landlord sees: that it is there, its name and its state.

A new tenant, in this order:

1. Its keys are made in the HSM by ceremony, on the host (`portcullis hsm …`).
2. The request proves that they are there (key_probe.py), before any row: 409 `keys_missing`.
3. One transaction: the tenant, its audit log, its first service key, a record in its own log and one in
   the platform's. A crash before the commit leaves keys without a row, which `portcullis hsm check`
   names; the same request then simply goes through. After the commit a repeat under the same
   Idempotency-Key shows everything but the key, of which another is made on the host.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
import psycopg
from msgspec import Meta

from audit.note import ECDSA_P256
from audit.ports import p256_label
from audit.record import Kind
from gateway.admin import changes
from gateway.admin.changes import By, ObjectKind, by
from gateway.admin.dangers import drift_danger, limits_danger
from gateway.admin.key_probe import check_log_key, check_tenant_keys, log_key
from gateway.admin.limits import require_limits_action
from gateway.admin.objects import Resource
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery, read_id, write_cursor
from gateway.admin.service_keys import SERVICE_KEY, ServiceKeyDocument
from tenancy.clock_quality import TIERS_NS
from tenancy.database import across
from tenancy.errors import Conflict, Invalid, NotFound
from tenancy.four_eyes import STRICTNESS
from tenancy.limits import Limits
from tenancy.parameters import TradingState
from tenancy.roles import scopes_of
from tenancy.scope import TenantScope
from tenancy.store.audit_logs import create_audit_log
from tenancy.store.documents import Table
from tenancy.store.service_keys import NewKey, make_key
from tenancy.store.tenants import insert_tenant
from tenancy.tenant import TenantKind, TenantSettings
from tenancy.values import Name, TenantID

TAG = "Tenants"


class TenantDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people set about their tenant."""

    name: Name
    settings: TenantSettings = TenantSettings()
    limits: Limits = Limits()


class TenantView(msgspec.Struct, frozen=True, kw_only=True):
    """One's own tenant."""

    tenant_id: UUID
    name: str
    kind: TenantKind
    settings: TenantSettings
    limits: Limits
    state: TradingState
    revision: int
    created_at: datetime


class TenantEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant as the platform sees it: nothing of its trading, nothing of its people."""

    tenant_id: UUID
    name: str
    kind: TenantKind
    state: TradingState
    created_at: datetime


class NewAuditLog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log that the ceremony made a key for. `origin` is published: it must not name the tenant."""

    log_id: UUID
    origin: Annotated[str, Meta(min_length=1, max_length=200)]
    key_label: Annotated[str, Meta(min_length=1, max_length=200)]
    public_key: Annotated[
        str, Meta(min_length=44, max_length=44, description="Ed25519, 32 bytes, base64.")
    ]
    p256_key: (
        Annotated[
            str,
            Meta(
                min_length=124,
                max_length=124,
                description="The second key, P-256: SubjectPublicKeyInfo, DER, base64.",
            ),
        ]
        | None
    ) = None


class NewTenant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A customer whose keys are in the HSM."""

    tenant_id: UUID
    name: Name
    audit_log: NewAuditLog
    first_key_hours: Annotated[int, Meta(ge=1, le=8760)] = 24
    """How long the first key is good for: until the customer's own people are in."""


def danger(
    before: TenantDocument | None, after: TenantDocument | None, facts: Mapping[str, Any]
) -> frozenset[str]:
    """A shorter retention, looser limits; and whoever takes a category out of four eyes needs the
    second person of that very category.

    What limits are counted by counts as they do: a day that begins anew has lost nothing yet, and
    another rate makes another notional. A clock that may be worse while orders are opened is a looser
    limit. What becomes of an account whose key is unsafe belongs to the credentials.
    """
    if before is None or after is None:
        return frozenset()
    was, becomes = before.settings, after.settings
    shortened = becomes.retention_years < was.retention_years
    given_up = frozenset(was.four_eyes) - frozenset(becomes.four_eyes)
    counted = (was.trading_day, was.fx_rates) != (becomes.trading_day, becomes.fx_rates)
    corrects_more = becomes.correct_manual_orders and not was.correct_manual_orders
    milder = STRICTNESS[becomes.unsafe_credential] < STRICTNESS[was.unsafe_credential]
    return (
        limits_danger(before, after)
        | (frozenset({"credentials"}) if milder else frozenset())
        | (frozenset({"limits"}) if clock_eased(was, becomes) else frozenset())
        | (frozenset({"limits"}) if counted else frozenset())
        | drift_danger(was.on_drift, becomes.on_drift)
        | (frozenset({"drifts"}) if corrects_more else frozenset())
        | given_up
        | (frozenset({"retention"}) if shortened else frozenset())
    )


def clock_eased(was: TenantSettings, becomes: TenantSettings) -> bool:
    """Whether orders may be opened by a worse clock than before. Pure."""
    return was.clock_stops and _clock_limit(becomes) > _clock_limit(was)


def _clock_limit(settings: TenantSettings) -> float:
    tier = settings.clock_tier
    return TIERS_NS[tier] if settings.clock_stops and tier is not None else math.inf


async def _check(by: By, before: TenantDocument | None, after: TenantDocument | None) -> None:
    require_limits_action(by, before, after)


TENANT: ObjectKind[TenantDocument] = ObjectKind(
    name="tenant",
    table=Table(
        noun="tenant",
        table="tenants",
        key="tenant_id",
        document=TenantDocument,
        facts=("kind", "state", "created_at"),
        json=frozenset({"settings", "limits"}),
        archived="",
        names={"tenants_name_key": "this name is in use: choose another"},
    ),
    check=_check,
    danger=danger,
)


class Own(Resource[TenantDocument], frozen=True, kw_only=True):
    """The one tenant that a caller has, at an address without an id."""

    @property
    def one(self) -> str:
        return self.path

    def id_of(self, call: Call) -> UUID | str:
        return call.scope.tenant_id


OWN = Own(
    kind=TENANT, path="/v1/tenant", id_name="tenant_id", tag=TAG, view=TenantView,
    resource="tenant", remove=False,
)  # fmt: skip


async def _list(call: Call) -> Result:
    limit, after = call.query.limit, read_id(call.query.cursor)
    cursor = await call.conn.execute(
        "SELECT tenant_id, name, kind, state, created_at FROM find_tenants(%s, %s)", (after, limit)
    )
    items = [_entry(row) for row in await cursor.fetchall()]
    more = write_cursor(str(items[-1].tenant_id)) if len(items) == limit else None
    return Result(content=Page(items=items, next=more))


async def _get(call: Call) -> Result:
    return Result(content=await _one(call, call.uuid("tenant_id")))


async def _one(call: Call, tenant: UUID) -> TenantEntry:
    row = await (
        await call.conn.execute(
            "SELECT tenant_id, name, kind, state, created_at FROM tenant_entry(%s)", (tenant,)
        )
    ).fetchone()
    if row is None:
        raise NotFound(f"there is no tenant {tenant}")
    return _entry(row)


def _entry(row: Any) -> TenantEntry:
    return TenantEntry(tenant_id=row[0], name=row[1], kind=row[2], state=row[3], created_at=row[4])


async def _create(call: Call) -> Result:
    new: NewTenant = call.body
    log = new.audit_log
    public_key = _public_key(log.public_key)
    p256_key = None if log.p256_key is None else _public_key(log.p256_key)
    await check_log_key(call.services, log.key_label, log_key(log.origin, public_key))
    if p256_key is not None:
        second = log_key(log.origin, p256_key, ECDSA_P256)
        await check_log_key(call.services, p256_label(log.key_label), second)
    await check_tenant_keys(call.services, new.tenant_id)
    scope = TenantScope(TenantID(new.tenant_id), call.scope.actor)
    facts = {"object": "tenant", "id": str(new.tenant_id), "name": new.name, "origin": log.origin}
    async with across(call.conn, scope):
        await insert_tenant(call.conn, scope, new.name)
        await _insert_log(call, scope, log, public_key, p256_key)
        there = msgspec.structs.replace(by(call), scope=scope, actions=scopes_of("customer"))
        key = await _first_key(there, new.first_key_hours)
        await _record(there, {**facts, "service_key": key.key_id})
    await _record(by(call), facts)
    return Result(
        content=await _one(call, new.tenant_id),
        once={"service_key": key.key},
        location=f"/v1/tenants/{new.tenant_id}",
    )


async def _first_key(there: By, hours: int) -> NewKey:
    """A key with which the customer's first person is invited. It ends by itself: whoever made the
    customer holds it, and the platform has no other way into the house than being let in."""
    key = make_key()
    ends = there.services.clock.now() + timedelta(hours=hours)
    document = ServiceKeyDocument(
        name="first", scopes=tuple(sorted(scopes_of("customer"))), expires_at=ends
    )
    extra = {"secret_sha256": key.secret_sha256}
    await changes.create(there, SERVICE_KEY, document, key.key_id, extra)
    return key


def _public_key(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Invalid(
            "audit_log.public_key: base64 is needed", field="audit_log.public_key"
        ) from None


async def _insert_log(
    call: Call, scope: TenantScope, log: NewAuditLog, public_key: bytes, p256_key: bytes | None
) -> None:
    try:
        await create_audit_log(
            call.conn, scope, log.log_id, origin=log.origin, key_label=log.key_label,
            public_key=public_key, p256_key=p256_key,
        )  # fmt: skip
    except psycopg.errors.UniqueViolation:
        raise Conflict("this audit log, or this origin, is another tenant's already") from None


async def _record(who: By, facts: dict[str, Any]) -> None:
    await changes.record_change(
        who, Kind.ADMIN_CHANGE, {**facts, "before": None, "why": who.why, "operation": "create"}
    )


OPERATIONS: tuple[Operation, ...] = (
    *(operation for operation in OWN.operations() if operation.name != "list_tenant"),
    Operation(
        name="list_tenants", method="GET", path="/v1/tenants", tag=TAG, action="tenants:read",
        summary="List the customers, for the platform's operators.", handle=_list, query=PageQuery,
        answer=Page[TenantEntry], platform=True,
    ),
    Operation(
        name="create_tenant", method="POST", path="/v1/tenants", tag=TAG, action="tenants:write",
        summary="Make a customer whose keys were made by ceremony; its first service key is shown once.",
        handle=_create, body=NewTenant, status=201, answer=TenantEntry, platform=True,
        shows_once=("service_key",), problems=("keys_missing", "conflict", "unavailable"),
    ),
    Operation(
        name="get_tenant_entry", method="GET", path="/v1/tenants/{tenant_id}", tag=TAG,
        action="tenants:read", summary="One customer: its name and state, nothing of its trading.",
        handle=_get, answer=TenantEntry, platform=True, problems=("not_found",),
    ),
)  # fmt: skip
