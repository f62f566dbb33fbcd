"""May somebody whose answer never ends still hear it? Asked again while it lasts, without the credential.

What was shown at the beginning is not shown again: a session's token may have been replaced since, and an
old one that comes back is an alarm. So the question is put by the credential's public id. Each kind of
credential has its answer in STANDING; a kind that has none there gets no.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

from gateway.admin import access, auth
from gateway.admin.errors import BadKey, Forbidden
from gateway.admin.operation import Principal, Services
from gateway.admin.refusals import SessionOver
from gateway.admin.session_auth import principal_of
from tenancy.people import PersonID
from tenancy.scope import TenantScope
from tenancy.sessions import Times, judge, limits_of
from tenancy.store.sign_in import FoundSession
from tenancy.values import TenantID

_SESSION = """
SELECT t.kind, s.person_id, p.roles, s.csrf_token, s.second_factor_at, t.settings::text,
       s.created_at, s.seen_at, s.rotated_at, s.transport
FROM sessions s JOIN people p USING (person_id) JOIN tenants t ON t.tenant_id = s.tenant_id
WHERE s.session_id = %b AND p.state = 'active' AND p.archived_at IS NULL"""

Standing = Callable[[str, Principal, Services, str], Awaitable[Principal]]
"""(id, who it was, services, client) → who it is now, in the tenant it belongs to (`home` of an operator who was
let in). Raises BadKey, Unavailable."""


async def may_now(
    principal: Principal, services: Services, client: str, action: str
) -> frozenset[str]:
    """What the caller may do now. Raises BadKey, Forbidden (also without `action`), Unavailable."""
    kind, _, name = principal.credential.partition(":")
    ask = STANDING.get(kind)
    if ask is None:
        raise BadKey("this kind of credential cannot be asked about again")
    now = await ask(name, principal, services, client)
    if principal.home is not None:
        now = await access.let_in(now, principal.scope.tenant_id, services)
    if now.scope.tenant_id != principal.scope.tenant_id or action not in now.actions:
        raise Forbidden(f"{action} is needed, and this credential does not have it any more")
    return now.actions


async def _key(key_id: str, principal: Principal, services: Services, client: str) -> Principal:
    row = await auth._find(services, key_id, None)
    if row is None:
        raise BadKey("this service key is not valid any more")
    return auth._principal_of(row, services, client)


async def _session(
    session_id: str, principal: Principal, services: Services, client: str
) -> Principal:
    """The person's roles as they are now. Listening is no activity: the idle limit ends the stream too."""
    home = TenantScope(TenantID(principal.home or principal.scope.tenant_id), principal.scope.actor)
    async with services.database.tenant(home) as conn:
        row = await (await conn.execute(_SESSION, (UUID(session_id),))).fetchone()
    if row is None:
        raise SessionOver("this session is over: sign in again")
    kind, person_id, roles, csrf, second_factor_at, settings, *times = row
    found = FoundSession(
        scope=home,
        kind=kind,
        session_id=UUID(session_id),
        person_id=PersonID(person_id),
        roles=tuple(roles),
        csrf_token=csrf,
        second_factor_at=second_factor_at,
        limits=limits_of(settings),
        times=Times(
            created_at=times[0],
            seen_at=times[1],
            rotated_at=times[2],
            transport=times[3],
            previous=False,
        ),
    )
    if judge(found.times, found.limits, services.clock.now()) == "expired":
        raise SessionOver("this session is over: sign in again")
    return principal_of(found)


STANDING: Mapping[str, Standing] = {"key": _key, "session": _session}
