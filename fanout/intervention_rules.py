"""What an intervention does next, when it is done, and what the audit log says of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from audit.inbox import Entry
from audit.record import Kind
from fanout import evidence
from fanout import intervention_rows as rows
from fanout.intervention_rows import Exits, Group, Intervention, Standing
from fanout.order import Order, OrdState
from tenancy.scope import Actor
from tenancy.values import AccountID, SignalID

KILL_SWITCH = Actor(kind="algo", id="kill_switch")
ROUNDS_MAX = 20
FIRST_PAUSE_S, MOST_PAUSE_S = 0.25, 30.0
HOLDS_EVERYWHERE_S = 2.0
"""After so long no worker sends by what was true before: twice what the switch may be old."""


def exits_due(stands: Standing, now: datetime) -> dict[Group, int]:
    """For which groups another exit is to be sent now, and in which round."""
    due: dict[Group, int] = {}
    for group in stands.remaining:
        last = stands.exits.get(group)
        if last is None:
            due[group] = 1
        elif last.settled and last.round < ROUNDS_MAX and now >= rows.later(last.at, pause_s(last)):
            due[group] = last.round + 1
    return due


def pause_s(last: Exits) -> float:
    """How long after an exit the next one may follow."""
    return float(min(FIRST_PAUSE_S * 2.0 ** (last.round - 1), MOST_PAUSE_S))


def is_done(work: Intervention, stands: Standing, age_s: float) -> bool:
    """Nothing open of what was meant, and, of a flatten, no position and no exit under way."""
    if age_s < HOLDS_EVERYWHERE_S or stands.open:
        return False
    return work.level != "flatten" or not (stands.remaining or stands.exits_open)


def is_lost(stands: Standing, now: datetime) -> bool:
    """Whether positions remain, and each of them has had all its rounds."""
    last = [stands.exits.get(group) for group in stands.remaining]
    return bool(last) and all(
        exits is not None
        and exits.settled
        and exits.round >= ROUNDS_MAX
        and now >= rows.later(exits.at, pause_s(exits))
        for exits in last
    )


def begun(work: Intervention) -> Entry:
    """That the switch was thrown, with the id that everything it stops will name."""
    what = {
        "level": work.level, "scope": work.scope, "id": str(work.object_id), "why": work.reason,
        "broker": work.broker, "symbol": work.symbol,
    }  # fmt: skip
    return msgspec.structs.replace(record(work, "intervention.begun", work.at, what), actor=work.by)


def cancels(orders: Iterable[Order], intervention: UUID, at: datetime) -> list[Entry]:
    """One record for each order that is to be cancelled; one that was only held here has ended by it."""
    made: list[Entry] = []
    for order in orders:
        made.append(evidence.cancel_wanted(order, at, intervention=str(intervention)))
        if order.state is OrdState.CANCELED:
            made.append(evidence.closed(order, at, intervention=str(intervention)))
    return made


def accepted(
    work: Intervention,
    group: Group,
    signal: SignalID,
    accounts: list[AccountID],
    round: int,
    at: datetime,
) -> Entry:
    """A signal of our own, as ingress would record a sender's."""
    payload = {
        "signal_id": str(signal), "strategy_id": str(group.strategy_id), "hook_id": rows.HOOK,
        "message_id": rows.message_id(work.intervention_id, group, round),
        "intervention": str(work.intervention_id), "symbol": group.symbol,
        "accounts": [str(account) for account in accounts],
    }  # fmt: skip
    return Entry(
        kind=Kind.SIGNAL_ACCEPTED, ts_ns=_ns(at), payload=payload, actor=KILL_SWITCH,
        cor=work.intervention_id.hex,
    )  # fmt: skip


def record(work: Intervention, event: str, at: datetime, facts: dict[str, Any]) -> Entry:
    payload = {"event": event, "intervention": str(work.intervention_id), **facts}
    if work.parent_id is not None:
        payload["of"] = str(work.parent_id)
    return Entry(
        kind=Kind.KILL_SWITCH, ts_ns=_ns(at), payload=payload, actor=KILL_SWITCH,
        cor=work.intervention_id.hex, cls="admin",
    )  # fmt: skip


def _ns(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000
