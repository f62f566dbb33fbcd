"""Is each step in the audit log, once, and is the log unbroken? Pure.

signal   one signal.accepted with its message and body; one signal.planned with the plan's digest; at most
         one signal.outcome
order    one order.intent for each attempt that could leave us, at most one for one that was
         denied; one order.close for each order that has ended, none for one that has not, and one
         more each time that its broker said more of it after that; one
         order.held for each that was held. What stands behind a position may close more than once:
         each time that the position did
drift    none is open, but for what a signal wanted and nobody has (an order's own row says why); a
         drift.found, and one record of how it ended: explained, corrected, closed
switch   no use of it that still goes on
record   a payload that fits what its leaf committed to; nothing older than 5 s in the inbox
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from loadtest.audit.facts import OPEN, SENT_ANEW, Facts, Finding, Order, Record, Verified, grouped

INTENTS = {"waiting": (0,), "denied": (0, 1)}
"""State → how many order.intent an attempt has, where that is not one. What is denied was either a second
leg that its first never released, or an intent that the kill switch stopped before it was sent."""


def trail(facts: Facts) -> Iterator[Finding]:
    """What the records leave out, or say too often."""
    yield from _readable(facts)
    yield from _signals(facts)
    yield from _orders(facts)
    yield from _drifts(facts)
    if facts.working:
        line = f"{facts.working} uses of the kill switch have not come to an end"
        yield Finding("unexplained", line)


def unbroken(facts: Facts) -> str:
    """The word on the logs' files: "unbroken", or what is wrong with which."""
    wrong = [f"log {log.log_id}: {log.verdict}" for log in facts.logs if log.verdict != "verified"]
    wrong += [
        f"log {log.log_id}: {log.size} records are signed, {_rows(log)} are in the rows"
        for log in facts.logs
        if log.verdict == "verified" and not log.rows <= log.size <= log.rows_after
    ]
    if not facts.logs:
        wrong.append("there is no log")
    return "; ".join(wrong) or "unbroken"


def _rows(log: Verified) -> str:
    return str(log.rows) if log.rows == log.rows_after else f"{log.rows} to {log.rows_after}"


def _readable(facts: Facts) -> Iterator[Finding]:
    if facts.inbox:
        yield Finding("unexplained", f"{facts.inbox} audit records are still in the inbox")
    for record in facts.records:
        if record.payload is None or not record.opens:
            line = f"record {record.index} ({record.kind}) of log {record.log_id}"
            yield Finding("unexplained", f"{line} has no payload that fits its commitment")


def _signals(facts: Facts) -> Iterator[Finding]:
    accepted = Counter(_said(r, "signal_id") for r in _of(facts, "signal.accepted"))
    digests = [(_said(r, "signal_id"), r) for r in _of(facts, "signal.planned")]
    planned = Counter(signal for signal, _ in digests)
    for signal in facts.signals:
        if accepted[signal.signal_id] != 1:
            yield _count(
                f"signal {signal.signal_id}", accepted[signal.signal_id], "signal.accepted"
            )
        if signal.state == "planned" and planned[signal.signal_id] != 1:
            yield _count(f"signal {signal.signal_id}", planned[signal.signal_id], "signal.planned")
    plans = {plan.signal_id: plan.sha256 for plan in facts.plans}
    for signal_id, record in digests:
        if signal_id not in plans:
            yield Finding("unexplained", f"record {record.index}: signal {signal_id} has no plan")
        elif _said(record, "plan_sha256") != plans[signal_id]:
            line = f"the plan of signal {signal_id} is not the one in record {record.index}"
            yield Finding("unexplained", line)
    told = Counter(_said(r, "signal_id") for r in _of(facts, "signal.outcome"))
    for signal_id, count in told.items():
        if count > 1:
            yield _count(f"signal {signal_id}", count, "signal.outcome")
    for signal_id in accepted.keys() - {signal.signal_id for signal in facts.signals}:
        yield Finding("unexplained", f"signal {signal_id} was recorded as accepted, and has no row")


def _orders(facts: Facts) -> Iterator[Finding]:
    intents = Counter(_said(r, "cl_ord_id") for r in _of(facts, "order.intent"))
    closes = _closes(facts)
    for order in facts.orders:
        allowed = INTENTS.get(order.state, (1,)) if order.sent else (0,)
        if intents[order.cl_ord_id] not in allowed:
            count = intents[order.cl_ord_id]
            yield _count(order.cl_ord_id, count, "order.intent", max(allowed))
    held = Counter(_said(r, "cl_ord_id") for r in _of(facts, "order.held"))
    past = {
        _said(r, "cl_ord_id") for r in _of(facts, "order.intent") if _said(r, "spilled") != "None"
    }
    for order in facts.orders:
        if (
            order.cl_ord_id in past
        ):  # let go while PostgreSQL was away, for a held attempt before it
            continue
        was_held = order.role != "main" or order.asked_type is not None or order.state == "held"
        if was_held and held[order.cl_ord_id] != 1 and not _follows_absent(order, facts):
            yield _count(order.cl_ord_id, held[order.cl_ord_id], "order.held")
    for order_id, attempts in grouped(facts.orders).items():
        if attempts[0].role != "main":
            closed, ended = closes[order_id], attempts[-1].state not in OPEN
            if not ended <= closes[order_id] <= len(attempts):
                yield _count(f"order {order_id}", closed, "order.close", int(ended))
            continue
        wanted = 0 if attempts[-1].state in OPEN else 1
        if closes[order_id] != wanted:
            yield _count(f"order {order_id}", closes[order_id], "order.close", wanted)
    for name in intents.keys() - {order.cl_ord_id for order in facts.orders}:
        yield Finding("unexplained", f"{name} was recorded as intended, and has no row")


def _drifts(facts: Facts) -> Iterator[Finding]:
    """What is explained may be closed afterwards, when the difference is no more."""
    found = Counter(_said(r, "drift_id") for r in _of(facts, "drift.found"))
    ends = {(_said(r, "drift_id"), r.kind.removeprefix("drift.")) for r in facts.records}
    for drift in facts.drifts:
        name = f"drift {drift.drift_id} of account {drift.account_id} in {drift.subject}"
        if drift.state == "open" and drift.kind != "shortfall":
            yield Finding("unexplained", f"{name} is open: {drift.cause}")
        elif drift.state != "open" and (drift.drift_id, drift.state) not in ends:
            yield Finding("unexplained", f"{name} has no record drift.{drift.state}")
        if not found[drift.drift_id]:
            yield _count(name, 0, "drift.found")
    for drift_id in found.keys() - {drift.drift_id for drift in facts.drifts}:
        yield Finding("unexplained", f"drift {drift_id} was recorded as found, and has no row")


def _closes(facts: Facts) -> Counter[str | None]:
    """How often each order was closed; what was told after its end, and closed once more, counts once.

    That is a late word of its broker, or a cancel that went past PostgreSQL and is recorded now.
    """
    closes: Counter[str | None] = Counter()
    reopened: set[str | None] = set()
    for record in facts.records:
        if record.kind == "order.close":
            closes[record.oid] += record.oid not in reopened
            reopened.discard(record.oid)
        elif closes[record.oid] and _tells_more(record):
            reopened.add(record.oid)
    return closes


def _tells_more(record: Record) -> bool:
    if record.kind == "order.cancel":
        return _said(record, "spilled") != "None"
    return record.kind in ("order.fill", "order.resolved")


def _follows_absent(order: Order, facts: Facts) -> bool:
    """A next attempt after a proof of absence is an intent at once."""
    before = [o for o in facts.orders if o.order_id == order.order_id]
    return any(o.attempt == order.attempt - 1 and o.state in SENT_ANEW for o in before)


def _of(facts: Facts, kind: str) -> Iterator[Record]:
    return (record for record in facts.records if record.kind == kind)


def _said(record: Record, name: str) -> str:
    return str((record.payload or {}).get(name))


def _count(what: str, count: int, kind: str, wanted: int = 1) -> Finding:
    return Finding("unexplained", f"{what} has {count} records {kind}, there must be {wanted}")
