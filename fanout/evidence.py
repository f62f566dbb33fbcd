"""The audit records of planning and trading: which facts, in whose words. Pure.

`oid` is the order (all attempts of one leg tell one story); `acct` is the account's id, which
is a pseudonym: names live in the tenant's rows, not in the log.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import msgspec

from audit.inbox import Entry
from audit.record import Kind
from fanout.lesson import Lesson
from fanout.lifecycle import Progress
from fanout.order import FINAL, Order, OrdState
from fanout.outcome import Outcome, facts
from fanout.plan import Plan, PlanEntry
from fanout.reasons import LIMITS, Reason
from fanout.trace import trace_id
from tenancy.scope import Actor
from tenancy.values import SignalID, plain

WORKER = Actor(kind="algo", id="fanout")
_CONDITIONS = (
    "stop_px", "trail_amount", "trail_percent", "best_px", "entry_px", "breakeven_px",
)  # fmt: skip


def planned(plan: Plan, encoded: bytes, traceparent: str) -> Entry:
    """The plan's digest and counts; the plan itself is one row, byte for byte as hashed here."""
    return _entry(
        Kind.SIGNAL_PLANNED,
        plan.planned_at,
        traceparent,
        {
            "signal_id": str(plan.signal_id),
            "strategy_id": str(plan.strategy_id),
            "settings_version": plan.version,
            "platform_revision": plan.platform_revision,
            "seed": str(plan.seed),
            "rotation": plan.rotation,
            "plan_sha256": hashlib.sha256(encoded).hexdigest(),
            "accounts": plan.reasons.total(),
            "reasons": {reason.value: count for reason, count in plan.reasons.items()},
        },
    )


def passed(plan: Plan, traceparent: str) -> list[Entry]:
    """That every limit was looked at and lets these orders go; the plan's row says each one's numbers.

    One record for a plan, not one for each account: a plan of ten thousand accounts is one decision, and
    its digest (`planned`) binds every number of it. None where nothing is to be sent.
    """
    counted = plan.reasons
    goes, asked = counted[Reason.ORDER], counted[Reason.AWAITS_APPROVAL]
    if not goes and not asked:
        return []
    said = {
        "signal_id": str(plan.signal_id),
        "strategy_id": str(plan.strategy_id),
        "settings_version": plan.version,
        "limits": sorted(LIMITS),
        "orders": goes,
        "asked": asked,
        "blocked": sum(counted[reason] for reason in LIMITS),
    }
    return [_entry(Kind.LIMIT_PASSED, plan.planned_at, traceparent, said)]


def blocked(plan: Plan, traceparent: str) -> list[Entry]:
    """One record for each account whose order a limit stopped; one that was only cut has an order."""
    return [
        msgspec.structs.replace(
            _entry(
                Kind.LIMIT_BLOCKED,
                plan.planned_at,
                traceparent,
                {
                    "signal_id": str(plan.signal_id),
                    "strategy_id": str(plan.strategy_id),
                    "symbol": entry.symbol,
                    "limit": entry.reason.value,
                    "words": entry.words,
                },
            ),
            acct=str(entry.account_id),
        )
        for entry in plan.with_reasons(LIMITS)
    ]


def refused(signal: SignalID, why: Exception, at: datetime, traceparent: str) -> Entry:
    """An accepted signal that this version cannot read."""
    return _entry(Kind.SIGNAL_REFUSED, at, traceparent, {"signal_id": str(signal), "why": str(why)})


def outcome(made: Outcome, traceparent: str, at: datetime) -> Entry:
    """What became of a signal, told once: when it was noticed; the outcome says when it was done."""
    return _entry(Kind.SIGNAL_OUTCOME, at, traceparent, facts(made))


def approval(
    kind: Kind,
    signal: SignalID,
    entry: PlanEntry,
    at: datetime,
    traceparent: str,
    said: dict[str, Any],
    actor: Actor = WORKER,
) -> Entry:
    """A question to a person, or what became of it: the legs in question, to the letter."""
    payload = {"signal_id": str(signal), "symbol": entry.symbol, "position": plain(entry.position)}
    payload["legs"] = msgspec.to_builtins(entry.legs)
    made = _entry(kind, at, traceparent, payload | said)
    return msgspec.structs.replace(made, acct=str(entry.account_id), actor=actor)


def intent(order: Order, at: datetime) -> Entry:
    """What will be sent, before the first byte; of one that was held, at which price it was let go."""
    said = _terms(order)
    if order.role != "main" or order.asked_type is not None:
        said |= _conditions(order)
    if order.trigger_px is not None:
        said["trigger_px"] = plain(order.trigger_px)
    if order.asked_type is not None:
        said["asked_type"] = order.asked_type
    return _entry(Kind.ORDER_INTENT, at, order.traceparent, said, order)


def held(order: Order, at: datetime) -> Entry:
    """What the gateway watches the market for; nothing is sent before its price is reached."""
    return _entry(Kind.ORDER_HELD, at, order.traceparent, _terms(order) | _conditions(order), order)


def amended(order: Order, at: datetime) -> Entry:
    """A held order's new quantity and levels: the position that it stands behind has changed."""
    said: dict[str, Any] = {"cl_ord_id": order.cl_ord_id, "order_qty": plain(order.order_qty)}
    said["price"] = None if order.price is None else plain(order.price)
    return _entry(Kind.ORDER_AMEND, at, order.traceparent, said | _conditions(order), order)


def cancel_wanted(order: Order, at: datetime, **more: Any) -> Entry:
    said = {"cl_ord_id": order.cl_ord_id, **more}
    return _entry(Kind.ORDER_CANCEL, at, order.traceparent, said, order)


def learned(
    lesson: Lesson, before: OrdState, state: OrdState, progress: Progress | None
) -> list[Entry]:
    """The records of one lesson: what left, the answer, the fill, the end; each only where it is news.

    An order's story ends with its close. A broker may still say more of one that has ended (a fill
    that crossed our cancel, an order that we had ruled out): that is told, and closed once more.
    """
    order, at = lesson.order, lesson.learned_at
    said: dict[str, Any] = {"cl_ord_id": order.cl_ord_id, "state": state.value}
    if lesson.code or lesson.text:
        said |= {"code": lesson.code, "text": lesson.text}
    if lesson.intervention_id is not None:
        said |= {"intervention": str(lesson.intervention_id)}
    if lesson.decision is not None:
        said |= {"decision": str(lesson.decision.decision_id), "by": lesson.decision.by.id}
    entries: list[Entry] = []

    def add(kind: Kind, more: dict[str, Any]) -> None:
        entries.append(_entry(kind, at, order.traceparent, said | more, order))

    if lesson.left and lesson.sent_at is not None and before is OrdState.INTENT:
        told = {"cl_ord_id": order.cl_ord_id, "broker": order.broker}
        entries.append(_entry(Kind.ORDER_SENT, lesson.sent_at, order.traceparent, told, order))
    raw = lesson.report.raw if lesson.report is not None else lesson.raw
    heard = {"broker": raw.decode("utf-8", "replace")} if raw else {}
    settled = before is OrdState.IN_DOUBT and state is not OrdState.IN_DOUBT
    if settled or state is OrdState.ABSENT:  # a proof of absence is why another attempt may follow
        add(Kind.ORDER_RESOLVED, heard)
    elif state is OrdState.IN_DOUBT:
        add(Kind.ORDER_IN_DOUBT, heard)
    elif before is OrdState.INTENT and lesson.report is not None:
        add(Kind.ORDER_ACKNOWLEDGED, {"broker_order_id": lesson.report.broker_order_id, **heard})
    elif before in FINAL and state is not before:
        add(Kind.ORDER_RESOLVED, {"was": before.value, **heard})
    elif state is OrdState.REJECTED:
        add(Kind.ORDER_REJECTED, heard)
    if lesson.credential_failed:
        entries.append(_credential_failed(lesson))
    if progress is not None and progress.last_qty > 0:
        price = plain(progress.last_px) if progress.last_px is not None else None
        add(Kind.ORDER_FILL, {"last_qty": plain(progress.last_qty), "last_px": price})
    ended_before = before in FINAL and not entries
    if state in FINAL and not ended_before and lesson.successor is None:
        cum = progress.cum_qty if progress is not None else order.cum_qty
        add(Kind.ORDER_CLOSE, {"cum_qty": plain(cum)})
    return entries


def _credential_failed(lesson: Lesson) -> Entry:
    """Of the account, not of the order's story: the next order will fare no better."""
    order = lesson.order
    said = {"event": "failed", "operation": "order.submit", "broker": order.broker}
    said |= {"code": lesson.code, "text": lesson.text}
    made = _entry(Kind.KEY_USE, lesson.learned_at, order.traceparent, said)
    return msgspec.structs.replace(made, acct=str(order.account_id))


def ended(order: Order, at: datetime, text: str) -> Entry:
    """An order that was never sent and now never will be: our own word, with the reason."""
    said = {"cl_ord_id": order.cl_ord_id, "state": order.state.value, "text": text}
    return _entry(Kind.ORDER_CLOSE, at, order.traceparent, said, order)


def closed(order: Order, at: datetime, **more: Any) -> Entry:
    """An order that ended here, without its broker."""
    said = {"cl_ord_id": order.cl_ord_id, "state": order.state.value, **more}
    return _entry(Kind.ORDER_CLOSE, at, order.traceparent, said, order)


def _conditions(order: Order) -> dict[str, Any]:
    numbers = {name: getattr(order, name) for name in _CONDITIONS}
    said: dict[str, Any] = {n: plain(value) for n, value in numbers.items() if value is not None}
    return said | {"role": order.role}


def _terms(order: Order) -> dict[str, Any]:
    return {
        "cl_ord_id": order.cl_ord_id,
        "signal_id": str(order.signal_id),
        "broker": order.broker,
        "symbol": order.symbol,
        "side": order.side,
        "order_qty": plain(order.order_qty),
        "ord_type": order.ord_type,
        "price": None if order.price is None else plain(order.price),
        "time_in_force": order.time_in_force,
        "reduce_only": order.reduce_only,
        "place": order.place,
        "leg": order.leg,
        "attempt": order.attempt,
    }


def _entry(
    kind: Kind, at: datetime, traceparent: str, payload: dict[str, Any], order: Order | None = None
) -> Entry:
    return Entry(
        kind=kind,
        ts_ns=int(at.timestamp() * 1_000_000) * 1000,
        payload=payload,
        oid=order.order_id if order else None,
        acct=str(order.account_id) if order else None,
        actor=WORKER,
        cor=trace_id(traceparent),
    )
