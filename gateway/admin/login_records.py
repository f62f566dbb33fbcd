"""The audit records of coming in and going out, in the person's tenant's log (Kind.LOGIN).

They go in with the transaction of what they describe. Whatever was typed is never in them.
"""

from __future__ import annotations

from typing import Any

from audit.inbox import Entry, append
from audit.record import Kind
from gateway.admin.operation import Call
from tenancy.database import Connection
from tenancy.scope import Actor, TenantScope

DOOR = Actor("sys", "sign-in")
"""Who acts while nobody has proven to be anybody."""


async def record(
    call: Call, conn: Connection, scope: TenantScope, event: str, facts: dict[str, Any]
) -> None:
    """What a person did, who is known to be that person."""
    await _append(call, conn, scope, scope.actor, event, facts)


async def record_claim(
    call: Call, conn: Connection, scope: TenantScope, event: str, facts: dict[str, Any]
) -> None:
    """What somebody did who claims to be `scope`'s actor."""
    await _append(call, conn, scope, DOOR, event, {"person": scope.actor.id, **facts})


async def _append(
    call: Call, conn: Connection, scope: TenantScope, actor: Actor, event: str,
    facts: dict[str, Any],
) -> None:  # fmt: skip
    entry = Entry(
        kind=Kind.LOGIN,
        ts_ns=call.services.clock.now_ns(),
        payload={"event": event, "client": call.client, **facts},
        actor=actor,
        cor=call.trace_id,
        cls="admin",
    )
    await append(conn, [(scope.tenant_id, entry)])
