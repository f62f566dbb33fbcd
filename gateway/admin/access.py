"""Operators let in: a customer's tenant is open to a platform operator with a reason, for a time.

The operator asks, in words; somebody of the tenant who may decide says yes or no, and may end it
again at any time. While it lasts the operator looks and does not touch (tenancy.roles.LET_IN), and
every request leaves a record in the customer's own audit log.
"""

from __future__ import annotations

from gateway.admin.errors import Forbidden
from gateway.admin.operation import Principal, Services
from tenancy.roles import LET_IN
from tenancy.scope import TenantScope
from tenancy.values import TenantID

_LIVE = """
SELECT grant_id FROM access_grants
WHERE operator_id = %s AND state = 'granted' AND expires_at > %s
ORDER BY expires_at DESC LIMIT 1"""


async def let_in(principal: Principal, tenant: TenantID, services: Services) -> Principal:
    """The operator inside the customer's tenant. Raises Forbidden without a live grant."""
    if principal.kind != "platform":
        raise Forbidden("Portcullis-Tenant names another tenant than your own")
    scope = TenantScope(tenant, principal.scope.actor)
    async with services.database.tenant(scope) as conn:
        row = await (
            await conn.execute(_LIVE, (principal.scope.actor.id, services.clock.now()))
        ).fetchone()
    if row is None:
        raise Forbidden(
            "you were not let into this tenant, or the time is over: ask with POST /v1/access"
        )
    return Principal(
        scope=scope,
        kind="customer",
        actions=LET_IN,
        credential=principal.credential,
        person_id=principal.person_id,
        session_id=principal.session_id,
        second_factor=principal.second_factor,
        home=principal.scope.tenant_id,
    )
