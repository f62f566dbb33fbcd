"""Was every signal kept, planned, and traded exactly as planned, once? Pure.

Each function looks at one step of the way and yields what is wrong there:

    kept      202 → a signal row with that body, one signal for each message
    planned   a signal → a plan
    traded    a planned leg → attempts with the plan's own terms, of which the last has ended
    executed  the exchange's orders ↔ attempts: once each, none that nobody intended
    in_turn   an account's orders, in the order of the signals they came from
    folded    fills → cum_qty → positions → what the exchange says is held
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from loadtest.audit.facts import (
    NEVER_THERE,
    OPEN,
    SENT_ANEW,
    Executed,
    Facts,
    Finding,
    Kind,
    Leg,
    Order,
    grouped,
)

TERMS = ("broker", "symbol", "side", "order_qty", "ord_type", "reduce_only")


def kept(facts: Facts) -> Iterator[Finding]:
    """Nothing that was answered 202 is missing or is there twice."""
    signals = {signal.signal_id: signal for signal in facts.signals}
    answered: dict[str, set[str]] = defaultdict(set)
    for note in facts.noted:
        if note.status != 202:
            continue
        signal = signals.get(note.signal_id or "")
        if signal is None or signal.message_id != note.message_id:
            line = f"message {note.message_id} was answered 202 as signal {note.signal_id}"
            yield Finding("lost", f"{line}, which has no row")
        elif signal.body != note.body:
            yield Finding("lost", f"signal {signal.signal_id} was kept with another body")
        answered[note.message_id].add(note.signal_id or "")
    for message, ids in answered.items():
        if len(ids) > 1:
            yield Finding("doubled", f"message {message} became signals {', '.join(sorted(ids))}")


def planned(facts: Facts) -> Iterator[Finding]:
    """Every signal has its plan."""
    plans = {plan.signal_id for plan in facts.plans}
    for signal in facts.signals:
        if signal.state != "refused" and signal.signal_id not in plans:
            line = f"signal {signal.signal_id} is {signal.state} and has no plan"
            yield Finding("lost", line)


def traded(facts: Facts, *, carried_out: bool) -> Iterator[Finding]:
    """Every planned leg has attempts with its own terms, and came to an end.

    `carried_out`: nothing may have been given up by us, for want of time say. (An order that a
    later signal wants cancelled need not be sent again.) A leg about which a person was asked has
    an order if they said yes, and none otherwise.
    """
    legs = {(leg.signal_id, leg.account_id, leg.leg): leg for p in facts.plans for leg in p.legs}
    there = set()
    for attempts in grouped(facts.orders).values():
        leg_id = (attempts[0].signal_id, attempts[0].account_id, attempts[0].leg)
        there.add(leg_id)
        leg = legs.get(leg_id)
        if leg is None and attempts[0].role != "main":
            yield from _behind(attempts, facts, legs)
            continue
        if leg is None:
            line = f"order {attempts[0].order_id} of signal {leg_id[0]} is in no plan"
            yield Finding("unexplained", line)
            continue
        if leg.asked and leg_id[:2] not in facts.yeses:
            line = f"order {attempts[0].order_id} of signal {leg_id[0]} had nobody's yes"
            yield Finding("unexplained", line)
        for attempt in attempts:
            yield from _terms(attempt, leg)
        yield from _ended(attempts, carried_out=carried_out)
    for signal, account, leg_number in legs.keys() - there:
        if legs[signal, account, leg_number].asked and (signal, account) not in facts.yeses:
            continue
        line = f"leg {leg_number} of signal {signal} for account {account} was planned"
        yield Finding("lost", f"{line} and has no order")


def _terms(attempt: Order, leg: Leg) -> Iterator[Finding]:
    for name in TERMS:
        meant, is_now = getattr(leg, name), getattr(attempt, name)
        if name == "ord_type" and attempt.asked_type is not None:
            is_now = attempt.asked_type
        if meant != is_now:
            line = f"{attempt.cl_ord_id}: {name} is {is_now}, planned was {meant}"
            yield Finding("unexplained", line)


def _behind(attempts: list[Order], facts: Facts, legs: dict[Any, Leg]) -> Iterator[Finding]:
    """A stop or target: of a planned leg that asks for protection, against its side, never for more."""
    first = attempts[0]
    key = first.signal_id, first.account_id
    openings = [legs.get((*key, number)) for number in (0, 1)]
    behind = [leg for leg in openings if leg is not None and leg.protected]
    if not behind or any(a.side == behind[0].side or not a.reduce_only for a in attempts):
        yield Finding("unexplained", f"order {first.order_id} of signal {key[0]} protects nothing")
        return
    mine = [o for o in facts.orders if (o.signal_id, o.account_id) == key]
    opened = sum((o.cum_qty for o in mine if o.leg == behind[0].leg), Decimal(0))
    closed = sum((o.cum_qty for o in mine if o.role != "main"), Decimal(0))
    if closed > opened:
        line = f"stop and target of signal {key[0]} closed {closed}, its entry opened {opened}"
        yield Finding("doubled", line)


def _ended(attempts: list[Order], *, carried_out: bool) -> Iterator[Finding]:
    for earlier in attempts[:-1]:
        if earlier.state not in SENT_ANEW:
            line = f"{earlier.cl_ord_id} is {earlier.state}, and there is a later attempt"
            yield Finding("doubled", line)
    last = attempts[-1]
    rests = last.state == "held" or (last.ord_type != "market" and last.state == "new")
    if last.state in OPEN and not rests:
        yield Finding("lost", f"{last.cl_ord_id} is still {last.state}")
    elif last.state in NEVER_THERE and last.state != "held" and not last.text:
        yield Finding("lost", f"{last.cl_ord_id} is {last.state} and nothing says why")
    elif carried_out and last.state in ("unsent", "absent") and not last.cancel_wanted:
        yield Finding("lost", f"{last.cl_ord_id} was given up: {last.state}, {last.text}")
    done = sum((attempt.cum_qty for attempt in attempts), Decimal(0))
    if done > last.order_qty:
        line = f"order {last.order_id} traded {done}, planned was {last.order_qty}"
        yield Finding("doubled", line)


def executed(facts: Facts, venue: str) -> Iterator[Finding]:
    """The exchange and the book tell the same story of every order at `venue`."""
    attempts = {o.cl_ord_id: o for o in facts.orders if o.broker == venue}
    seen: dict[str, list[Executed]] = defaultdict(list)
    for there in facts.executed:
        order = attempts.get(there.cl_ord_id)
        name = f"exchange order {there.order_id} ({there.text})"
        if order is None:
            yield Finding("unexplained", f"{name} was never intended")
            continue
        seen[order.order_id].append(there)
        if facts.keys.get(order.account_id) != there.key:
            yield Finding("unexplained", f"{name} was placed with another account's key")
        size = order.order_qty if order.side == "buy" else -order.order_qty
        if (there.contract, there.size) != (order.symbol, size):
            line = f"{name} is {there.size} {there.contract}, intended was {size} {order.symbol}"
            yield Finding("unexplained", line)
        if order.state in NEVER_THERE:
            yield Finding("unexplained", f"{order.cl_ord_id} is {order.state}, but is {name}")
        if abs(there.filled) > order.cum_qty:
            line = f"{name} filled {abs(there.filled)}, the book has {order.cum_qty}"
            yield Finding("lost", line)
        elif abs(there.filled) < order.cum_qty:
            line = f"{name} filled {abs(there.filled)}, the book has {order.cum_qty}"
            yield Finding("unexplained", line)
    for order_id, several in seen.items():
        if len(several) > 1 and not _held_again(attempts, several):
            texts = ", ".join(there.text for there in several)
            yield Finding("doubled", f"order {order_id} was executed {len(several)} times: {texts}")
    arrived = {there.cl_ord_id for there in facts.executed}
    for order in attempts.values():
        if order.cl_ord_id not in arrived and (order.cum_qty or order.state == "filled"):
            line = f"{order.cl_ord_id} is {order.state} with {order.cum_qty}"
            yield Finding("unexplained", f"{line}, and the exchange never had it")


def _held_again(attempts: Mapping[str, Order], several: Sequence[Executed]) -> bool:
    """What stands behind a position waits again after an end without its fill, and then goes once more.

    All but the last are over at the exchange, and together they filled no more than one of them was for.
    """
    orders = [attempts[there.cl_ord_id] for there in several]
    if any(order.role == "main" for order in orders):
        return False
    last = max(orders, key=lambda order: order.attempt)
    over = all(there.status == "finished" for there in several if there.cl_ord_id != last.cl_ord_id)
    filled = sum(abs(there.filled) for there in several)
    return over and filled <= max(order.order_qty for order in orders)


def in_turn(facts: Facts, venue: str) -> Iterator[Finding]:
    """A lane keeps its order: what a later signal wants is never executed before an earlier one's.

    Second legs of resting orders are left out: they are sent when the first has filled. So is what
    waited for a price, and what a person was asked about: it is sent when they have said yes.
    """
    rotation = {plan.signal_id: plan.rotation for plan in facts.plans}
    attempts = {o.cl_ord_id: o for o in facts.orders if o.broker == venue}
    last: dict[tuple[str, str, str], Order] = {}
    for there in sorted(facts.executed, key=lambda one: one.order_id):
        order = attempts.get(there.cl_ord_id)
        late = (order.signal_id, order.account_id) in facts.yeses if order is not None else False
        if order is not None and (order.role != "main" or order.asked_type is not None):
            continue  # sent when the market said so
        if order is None or late or (order.leg and order.ord_type != "market"):
            continue
        lane = order.account_id, order.strategy_id, order.symbol
        before = last.setdefault(lane, order)
        if rotation.get(order.signal_id, 0) < rotation.get(before.signal_id, 0):
            line = f"{order.cl_ord_id} of signal {order.signal_id} was executed after"
            yield Finding("unexplained", f"{line} {before.cl_ord_id} of a later signal")
        last[lane] = order


def folded(facts: Facts) -> Iterator[Finding]:
    """Fills, adjustments, orders, positions and the exchange's own count are the same sum."""
    sums: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for order in facts.orders:
        if order.reported != order.cum_qty:
            kind: Kind = "doubled" if order.reported > order.cum_qty else "lost"
            line = (
                f"{order.cl_ord_id}: reports add up to {order.reported}, cum_qty is {order.cum_qty}"
            )
            yield Finding(kind, line)
        sums[order.account_id, order.strategy_id, order.symbol] += order.signed
    for said in (r.payload for r in facts.records if r.kind == "position.adjusted"):
        if said is not None:  # a person or a policy set it to what the broker has
            place = said["account_id"], said["strategy_id"], said["symbol"]
            sums[place] += Decimal(said["qty"]) - Decimal(said["was_qty"])
    at_venue: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for place in sorted(sums.keys() | facts.positions.keys()):
        qty, wanted = facts.positions.get(place, Decimal(0)), sums.get(place, Decimal(0))
        account, strategy, symbol = place
        if qty != wanted:
            kind = "doubled" if abs(qty) > abs(wanted) else "lost"
            line = f"position of account {account}, strategy {strategy} in {symbol} is {qty}"
            yield Finding(kind, f"{line}, its orders add up to {wanted}")
        if account in facts.keys:
            at_venue[facts.keys[account], symbol] += qty
    ours = set(facts.keys.values())
    held = {place: qty for place, qty in facts.held.items() if place[0] in ours}
    for key, symbol in sorted(at_venue.keys() | held.keys()):
        mine, theirs = at_venue.get((key, symbol), Decimal(0)), held.get((key, symbol), Decimal(0))
        if mine != theirs:
            line = f"key {key} holds {theirs} {symbol} at the exchange, our positions say {mine}"
            yield Finding("unexplained", line)
