"""The audit records of the public listener: which facts, in whose words. Pure.

They go into the log's inbox in the transaction of what they describe (audit/inbox.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from audit.inbox import Entry
from audit.record import Kind
from gateway.hooks.registry import Hook
from tenancy.database import Connection
from tenancy.scope import Actor
from tenancy.values import SignalID, TenantID

Note = tuple[TenantID, Entry]
Record = Callable[[Connection, Sequence[Note]], Awaitable[object]]
"""audit.inbox.append: the notes go in with the caller's transaction, or it raises."""


def accepted(
    hook: Hook,
    *,
    signal_id: SignalID,
    message_id: str,
    sent_at: int,
    body: bytes,
    body_sha256: bytes,
    client: str,
    trace_id: str,
    at_ns: int,
) -> Note:
    """The whole instruction, who sent it and from where. `sent_at`: the sender's Unix seconds."""
    payload = {
        "signal_id": str(signal_id),
        "strategy_id": str(hook.strategy_id),
        "message_id": message_id,
        "sent_at": sent_at,
        "body": body.decode(),
        "body_sha256": body_sha256.hex(),
        "client": client,
    }
    return _note(hook, Kind.SIGNAL_ACCEPTED, at_ns, trace_id, payload)


def repeated(note: Note, first: SignalID) -> Note:
    """A delivery that came again: received, and answered as the first was; nothing new is accepted.

    What it said stands in the record of the first, to which the digest of the body binds it.
    """
    tenant, entry = note
    payload = {name: fact for name, fact in entry.payload.items() if name != "body"}
    payload |= {"signal_id": str(first), "repeats": True}
    return tenant, msgspec.structs.replace(entry, kind=Kind.SIGNAL_RECEIVED, payload=payload)


def refused(
    hook: Hook, *, facts: dict[str, Any], suppressed: int, trace_id: str, at_ns: int
) -> Note:
    """Why not, and how many refusals of this hook before it have no record of their own."""
    payload = {"strategy_id": str(hook.strategy_id), **facts, "suppressed": suppressed}
    return _note(hook, Kind.SIGNAL_REFUSED, at_ns, trace_id, payload)


def _note(hook: Hook, kind: Kind, at_ns: int, trace_id: str, payload: dict[str, Any]) -> Note:
    actor = Actor("algo", f"hook:{hook.hook_id}")
    return hook.tenant_id, Entry(kind=kind, ts_ns=at_ns, payload=payload, actor=actor, cor=trace_id)
