"""Who is at the door: the five look-ups that start from a name or a token, before any tenant is known.

Each asks one SECURITY DEFINER function of migration 0004 and makes a tenant scope from the row it
found. Such a scope is no proof that the caller is that person: `Found` is what somebody *claims* to
be, and gateway/admin/login.py writes throttles and refusals with it. The token look-ups
(`session`, `login_step`, `invitation`) are by hashes of 256 random bits: who shows one has it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from tenancy.database import Database
from tenancy.people import PersonID
from tenancy.scope import Actor, TenantScope
from tenancy.sessions import SessionLimits, Times, Transport, hashed, limits_of
from tenancy.tenant import TenantKind
from tenancy.values import TenantID


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The person that a login names, whoever it is that names them."""

    scope: TenantScope
    kind: TenantKind
    person_id: PersonID
    state: str
    password_hash: str | None = None

    def __repr__(self) -> str:
        return f"Found({self.person_id}, {self.state})"


class FoundSession(msgspec.Struct, frozen=True, kw_only=True):
    """The session of a token, alive or not: tenancy.sessions.judge() says."""

    scope: TenantScope
    kind: TenantKind
    session_id: UUID
    person_id: PersonID
    roles: tuple[str, ...]
    times: Times
    csrf_token: str
    second_factor_at: datetime | None
    limits: SessionLimits

    def __repr__(self) -> str:
        return f"FoundSession({self.session_id})"


class FoundStep(msgspec.Struct, frozen=True, kw_only=True):
    """A login that waits for a second factor."""

    scope: TenantScope
    kind: TenantKind
    person_id: PersonID
    subject: bytes
    transport: Transport
    challenge: bytes | None
    expires_at: datetime


class FoundInvitation(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation that was not taken up yet."""

    scope: TenantScope
    person_id: PersonID
    tenant_name: str
    email: str
    name: str
    expires_at: datetime


async def find_person(database: Database, tenant: str, email: str) -> Found | None:
    """By the tenant's name and a normal e-mail address."""
    row = await _one(
        database,
        "SELECT tenant_id, tenant_kind, person_id, state, password_hash FROM find_person(%s, %s)",
        (tenant, email),
    )
    if row is None:
        return None
    tenant_id, kind, person_id, state, kept = row
    return Found(
        scope=_scope(tenant_id, person_id), kind=kind, person_id=PersonID(person_id),
        state=state, password_hash=kept,
    )  # fmt: skip


async def find_tenant(database: Database, tenant: str) -> tuple[TenantScope, TenantKind] | None:
    """A tenant that the operator named: to an identity provider's settings, or on the host."""
    row = await _one(database, "SELECT tenant_id, tenant_kind FROM find_tenant(%s)", (tenant,))
    if row is None:
        return None
    return TenantScope(TenantID(row[0]), Actor("sys", "oidc")), row[1]


async def find_session(database: Database, token: str) -> FoundSession | None:
    """The session that a token belongs to, or belonged to before it was rotated."""
    row = await _one(
        database,
        "SELECT session_id, tenant_id, tenant_kind, person_id, roles, previous, csrf_token, transport,"
        " created_at, seen_at, rotated_at, second_factor_at, tenant_settings FROM find_session(%b)",
        (hashed(token),),
    )
    if row is None:
        return None
    (session_id, tenant_id, kind, person_id, roles, previous, csrf, transport,
     created, seen, rotated, second, settings) = row  # fmt: skip
    return FoundSession(
        scope=_scope(tenant_id, person_id), kind=kind, session_id=session_id,
        person_id=PersonID(person_id), roles=tuple(roles), csrf_token=csrf, second_factor_at=second,
        limits=limits_of(settings),
        times=Times(
            created_at=created, seen_at=seen, rotated_at=rotated, previous=previous,
            transport=transport,
        ),
    )  # fmt: skip


async def find_login_step(database: Database, token: str) -> FoundStep | None:
    """The half-way login that a token belongs to."""
    row = await _one(
        database,
        "SELECT tenant_id, tenant_kind, person_id, subject, transport, challenge, expires_at"
        " FROM find_login_step(%b)",
        (hashed(token),),
    )
    if row is None:
        return None
    tenant_id, kind, person_id, subject, transport, challenge, expires = row
    return FoundStep(
        scope=_scope(tenant_id, person_id), kind=kind, person_id=PersonID(person_id),
        subject=bytes(subject), transport=transport,
        challenge=bytes(challenge) if challenge is not None else None, expires_at=expires,
    )  # fmt: skip


async def find_invitation(database: Database, token: str) -> FoundInvitation | None:
    """The invitation that a token belongs to."""
    row = await _one(
        database,
        "SELECT tenant_id, tenant_name, person_id, email, name, expires_at FROM find_invitation(%b)",
        (hashed(token),),
    )
    if row is None:
        return None
    tenant_id, tenant, person_id, email, name, expires = row
    return FoundInvitation(
        scope=_scope(tenant_id, person_id), person_id=PersonID(person_id), tenant_name=tenant,
        email=email, name=name, expires_at=expires,
    )  # fmt: skip


def person_scope(tenant: TenantScope, person: PersonID) -> TenantScope:
    """The scope of a person of that tenant, whom an identity provider vouched for."""
    return _scope(tenant.tenant_id, person)


def _scope(tenant_id: UUID, person_id: UUID) -> TenantScope:
    return TenantScope(TenantID(tenant_id), Actor("human", str(person_id)))


async def _one(database: Database, query: str, values: tuple[Any, ...]) -> Any:
    async with database.connection() as conn:
        return await (await conn.execute(query.encode(), values)).fetchone()
