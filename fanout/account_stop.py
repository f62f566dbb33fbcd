"""An account made stricter by a worker: its row, a revision, an intervention of its own, and their records.

In the caller's tenant transaction, in the words of gateway/admin/changes.py. The database lets a worker
make an account stricter and nothing else (ops/migrations/0019_proofs.sql).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from audit.inbox import Entry, append
from audit.record import Kind
from fanout import intervention_rows
from fanout.intervention_rows import Intervention, Level
from fanout.intervention_rules import begun
from tenancy.database import Connection
from tenancy.ids import new_id
from tenancy.parameters import TradingState
from tenancy.scope import Actor
from tenancy.values import TenantID, partition

_STRICTER = """
UPDATE accounts a SET state = %(state)s, revision = revision + 1
FROM (SELECT account_id, state FROM accounts WHERE account_id = %(account)s FOR UPDATE) old
WHERE a.account_id = old.account_id AND old.state = ANY(%(looser)s) RETURNING a.revision, old.state"""
_REVISE = """
INSERT INTO revisions (tenant_id, kind, object_id, revision, before, after, actor, why)
VALUES (%s, %s, %s, %s, %s::jsonb, %s::jsonb, %s::jsonb, %s)"""
_LEVEL: Mapping[TradingState, Level] = {"reducing": "no_open", "halted": "block_all"}
_LOOSER: Mapping[TradingState, list[str]] = {
    "reducing": ["active"],
    "halted": ["active", "reducing"],
}


async def make_stricter(
    conn: Connection, tenant: TenantID, account: UUID, state: TradingState, why: str, at: datetime,
    at_ns: int, actor: Actor,
) -> bool:  # fmt: skip
    """Stop the account, with an intervention of its own; False where it is as strict already."""
    values = {"account": account, "state": state, "looser": _LOOSER.get(state, [])}
    row = await (await conn.execute(_STRICTER, values)).fetchone()
    if row is None:
        return False
    identity = new_id()
    await changed(
        conn, tenant, ("account", str(account), row[0]), {"state": row[1]}, {"state": state}, why,
        at_ns, actor, Kind.KILL_SWITCH,
    )  # fmt: skip
    made = Intervention(
        intervention_id=identity, tenant_id=tenant, part=partition(identity), level=_LEVEL[state],
        scope="account", object_id=account, broker=None, symbol=None, reason=why, by=actor, at=at,
        state="done",
    )  # fmt: skip
    await intervention_rows.insert(conn, made)
    await append(conn, [(tenant, begun(made))])
    return True


async def changed(
    conn: Connection, tenant: TenantID, what: tuple[str, str, int], before: Mapping[str, Any],
    after: Mapping[str, Any] | None, why: str, at_ns: int, actor: Actor,
    kind: Kind = Kind.ADMIN_CHANGE,
) -> None:  # fmt: skip
    """A revision of an object (kind, id, number) and its record."""
    await revised(conn, tenant, what, before, after, why, actor)
    name, object_id, revision = what
    payload = {
        "object": name, "id": object_id, "revision": revision, "before": before, "after": after,
        "why": why, "proposal": None, "approved_by": None,
    }  # fmt: skip
    entry = Entry(kind=kind, ts_ns=at_ns, payload=payload, actor=actor, cls="admin")
    await append(conn, [(tenant, entry)])


async def revised(
    conn: Connection, tenant: TenantID, what: tuple[str, str, int], before: Mapping[str, Any],
    after: Mapping[str, Any] | None, why: str, actor: Actor,
) -> None:  # fmt: skip
    values = (tenant, *what, _json(before), _json(after), _json(actor), why)
    await conn.execute(_REVISE, values)


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
