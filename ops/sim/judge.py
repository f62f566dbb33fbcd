"""Was every signal planned once, every leg executed at most once, and is every step on record? Pure.

    planned   a signal → one plan; a plan's legs → orders with its terms, and no other orders
    left      a request left a worker only for a durable intent, never twice under one name, and as its row says
    executed  the exchange's orders ↔ attempts; one execution for each order, in its lane's turn
    second_legs  a flip opens when it has closed, and not before
    ended     how an order may stand at the end, and that nothing was given up that need not be
    folded    trades → cum_qty → positions → what is held at the exchange
    closed    what only reduces never trades more than the account holds
    gated     nothing opens before its account's book agrees, and the two are never said to differ
    in_time   nothing opens after its deadline, or a second after the kill switch
    recorded  the audit records of each signal and order: which, how often, in which order

Imports nothing of ours (import-linter says so).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal

from ops.sim.facts import Facts, Leg, Order, There

OPEN = ("held", "waiting", "intent", "new", "partially_filled", "in_doubt")
NEVER_THERE = ("held", "waiting", "denied", "unsent", "absent", "rejected")
FLIGHT_S = 1.1
"""A request is refused by the exchange so long after it was made, at the latest."""
SWITCH_S = 1.0
"""What was read of the kill switch earlier decides nothing that opens."""
ZERO = Decimal(0)

Findings = Iterator[str]


def judge(facts: Facts) -> list[str]:
    """Every finding: `lost: …`, `doubled: …` or `unexplained: …`."""
    looks: tuple[Callable[[Facts], Findings], ...] = (
        planned, left, executed, in_turn, second_legs, ended, folded, closed, gated,
        in_time, recorded,
    )  # fmt: skip
    return sorted({finding for look in looks for finding in look(facts)})


def planned(facts: Facts) -> Findings:
    plans = Counter(plan.signal for plan in facts.plans)
    for signal in facts.sent:
        state, _ = facts.signals.get(signal, ("gone", ""))
        if state not in ("planned", "refused", "canceled"):
            yield f"lost: signal {signal} is {state}"
        if plans[signal] != (state == "planned"):
            yield f"unexplained: signal {signal} is {state} and has {plans[signal]} plans"
    for signal, (_, origin) in facts.signals.items():
        if signal not in facts.sent and origin != "kill_switch":
            yield f"doubled: signal {signal} was sent by nobody"
    legs = _legs(facts)
    for attempts in _orders(facts).values():
        key = attempts[0].signal, attempts[0].account, attempts[0].leg
        if attempts[0].role != "main":
            continue
        leg = legs.pop(key, None)
        if leg is None:
            yield f"unexplained: order {attempts[0].order} is in no plan"
            continue
        for attempt in attempts:
            yield from _terms(attempt, leg)
    for signal, account, number in legs:
        yield f"lost: leg {number} of signal {signal} for account {account} has no order"


def _terms(order: Order, leg: Leg) -> Findings:
    is_now = (
        order.symbol,
        order.side,
        order.qty,
        order.asked_type or order.ord_type,
        order.reduce_only,
    )
    meant = (leg.symbol, leg.side, leg.qty, leg.ord_type, leg.reduce_only)
    if is_now != meant:
        yield f"unexplained: {order.name} is {is_now}, planned was {meant}"


def left(facts: Facts) -> Findings:
    often = Counter(request.name for request in facts.left)
    orders = {order.name: order for order in facts.orders}
    for request in facts.left:
        if request.state is None:
            yield f"unexplained: {request.name} left {request.host} without a durable intent"
        elif request.state != "intent" and not (request.expired and request.state == "absent"):
            yield f"doubled: {request.name} left {request.host} when it was {request.state}"
        order = orders.get(request.name)
        if order is not None and order.reduce_only != request.reduce_only:
            yield f"unexplained: {request.name} left with reduce_only {request.reduce_only}"
        if order is not None and order.qty != request.qty:
            yield f"unexplained: {request.name} left with {request.qty}, its row says {order.qty}"
        if often[request.name] > 1:
            yield f"doubled: {request.name} left {often[request.name]} times"


def executed(facts: Facts) -> Findings:
    orders = {order.name: order for order in facts.orders}
    times: dict[str, list[str]] = defaultdict(list)
    for there in facts.there:
        order = orders.get(there.name)
        if order is None:
            yield f"unexplained: #{there.number} {there.name} was never intended"
            continue
        times[order.order].append(there.name)
        meant = (order.account, order.symbol, order.side, order.qty)
        if (there.account, there.symbol, there.side, there.qty) != meant:
            yield f"unexplained: #{there.number} is not what {there.name} intended: {meant}"
        if order.state in NEVER_THERE:
            yield f"unexplained: {order.name} is {order.state}, but is #{there.number} there"
        if there.filled > order.cum_qty:
            yield f"lost: #{there.number} {there.name} filled {there.filled}, the book has {order.cum_qty}"
        elif there.filled < order.cum_qty:
            yield f"unexplained: {there.name} filled {there.filled}, the book has {order.cum_qty}"
        if there.open != (order.state in OPEN):
            yield f"unexplained: {order.name} is {order.state}, open there: {there.open}"
    for order in facts.orders:
        if order.role == "main" and len(times[order.order]) > 1:
            yield f"doubled: order {order.order} was executed as {', '.join(times[order.order])}"
        if order.cum_qty and order.name not in times[order.order]:
            yield f"unexplained: {order.name} has {order.cum_qty}, and the exchange never had it"


def in_turn(facts: Facts) -> Findings:
    """What a later signal wants is never executed before an earlier one's, in one lane."""
    rotation = {plan.signal: plan.rotation for plan in facts.plans}
    orders = {order.name: order for order in facts.orders}
    last: dict[tuple[str, str, str], Order] = {}
    for there in sorted(facts.there, key=lambda one: one.number):
        order = orders.get(there.name)
        if order is None or order.role != "main" or order.asked_type is not None:
            continue  # sent when the market said so
        if order.leg and order.ord_type != "market":
            continue  # sent when the first leg had filled
        lane = order.account, order.strategy, order.symbol
        before = last.setdefault(lane, order)
        if rotation.get(order.signal, 0) < rotation.get(before.signal, 0):
            yield f"unexplained: {order.name} was executed after {before.name} of a later signal"
        last[lane] = order


def second_legs(facts: Facts) -> Findings:
    """The second leg of a flip opens only when the first has closed all that it should."""
    closed: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    meant: dict[tuple[str, str], Decimal] = {}
    for order in facts.orders:
        if order.leg == 0:
            closed[order.signal, order.account] += order.cum_qty
            meant[order.signal, order.account] = order.qty
    orders = {order.name: order for order in facts.orders}
    for there in facts.there:
        second = orders.get(there.name)
        if second is None or second.role != "main" or second.leg != 1:
            continue
        key = second.signal, second.account
        if closed[key] < meant.get(key, ZERO):
            line = f"{second.name} opened, and the leg before it closed {closed[key]}"
            yield f"unexplained: {line} of {meant[key]}"


def ended(facts: Facts) -> Findings:
    open_there = {there.name for there in facts.there if there.open}
    rests = (o for o in facts.orders if o.state == "held" or o.name in open_there)
    first = {(o.signal, o.account) for o in rests if o.leg == 0}
    for attempts in _orders(facts).values():
        for earlier in attempts[:-1]:
            if earlier.state != "absent" and earlier.role == "main":
                yield f"doubled: {earlier.name} is {earlier.state}, and there is a later attempt"
        last = attempts[-1]
        waits = last.state == "waiting" and (last.signal, last.account) not in first
        if last.state in ("intent", "in_doubt") or waits:
            yield f"lost: {last.name} is still {last.state}"
        elif last.state in ("new", "partially_filled") and last.name not in open_there:
            yield f"lost: {last.name} is still {last.state}, and over there"
        elif last.state in NEVER_THERE[2:] and not last.text:
            yield f"unexplained: {last.name} is {last.state}, and nothing says why"
        given_up = last.state in ("absent", "unsent") and last.reduce_only
        if given_up and last.role == "main" and not last.cancel_wanted:
            yield f"lost: {last.name} only closes, and was given up: {last.state}, {last.text}"
        done = sum((attempt.cum_qty for attempt in attempts), ZERO)
        if last.role == "main" and done > last.qty:
            yield f"doubled: order {last.order} traded {done}, planned was {last.qty}"


def folded(facts: Facts) -> Findings:
    sums: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for order in facts.orders:
        if order.reported != order.cum_qty:
            word = "doubled" if order.reported > order.cum_qty else "lost"
            yield f"{word}: reports of {order.name} add up to {order.reported}, not {order.cum_qty}"
        sums[order.account, order.strategy, order.symbol] += _signed(order, order.cum_qty)
    for place in sorted(sums.keys() | facts.positions.keys()):
        qty, wanted = facts.positions.get(place, ZERO), sums.get(place, ZERO)
        if qty != wanted:
            word = "doubled" if abs(qty) > abs(wanted) else "lost"
            yield f"{word}: position {place} is {qty}, its orders add up to {wanted}"
    orders = {order.name: order for order in facts.orders}
    ours: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    theirs: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for (account, _, symbol), qty in facts.positions.items():
        ours[account, symbol] += qty
    for _, name, lots in facts.trades:
        if name in orders:
            theirs[orders[name].account, orders[name].symbol] += lots
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key, ZERO) != theirs.get(key, ZERO):
            yield f"lost: {key} is {theirs.get(key, ZERO)} at the exchange, {ours.get(key, ZERO)} here"


def closed(facts: Facts) -> Findings:
    orders = {order.name: order for order in facts.orders}
    held: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for _, name, lots in facts.trades:
        order = orders.get(name)
        if order is None:
            continue
        place = order.account, order.symbol
        before, held[place] = held[place], held[place] + lots
        if order.reduce_only and (abs(held[place]) > abs(before) or before * held[place] < 0):
            yield f"doubled: {name} only reduces, and took {place} from {before} to {held[place]}"


def gated(facts: Facts) -> Findings:
    """Nobody but us trades here: a difference that is believed is an error of ours.

    (A shortfall is none: the two agree there, and a leg ended without its fill.)
    """
    for drift in facts.drifts:
        if drift.kind != "shortfall":
            yield f"unexplained: {drift.kind} {drift.subject} of {drift.account} is {drift.cause}"
    for account, state in facts.disagreeing.items():
        yield f"unexplained: book and exchange are at last compared as {state}: {account}"
    agreed: dict[tuple[str, int], int] = {}
    for record in facts.records:
        if record.kind == "account.reconciled":
            key = record.payload["account_id"], record.payload["epoch"]
            agreed[key] = min(agreed.get(key, record.seq), record.seq)
    orders = {order.name: order for order in facts.orders}
    exits = {signal for signal, (_, origin) in facts.signals.items() if origin == "kill_switch"}
    for request in facts.left:
        order = orders.get(request.name)
        if order is None or order.reduce_only or order.role != "main" or order.signal in exits:
            continue
        since = agreed.get((order.account, request.epoch))
        if since is None or since > request.seq:
            yield f"unexplained: {order.name} opens, and its account's book was not known to agree"


def in_time(facts: Facts) -> Findings:
    orders = {order.name: order for order in facts.orders}
    exits = {signal for signal, (_, origin) in facts.signals.items() if origin == "kill_switch"}
    for there in facts.there:
        order = orders.get(there.name)
        if order is None or order.reduce_only:
            continue
        late_s = there.at_s - order.deadline_s - FLIGHT_S - facts.slack_s
        if late_s > 0:
            yield f"unexplained: {order.name} opened {late_s:.2f} s after its deadline"
        for stop in facts.stops:
            known_s = stop.since_s + SWITCH_S + FLIGHT_S
            covered = stop.scope == "tenant" or stop.of in (order.strategy, order.account)
            if covered and known_s < there.at_s < stop.until_s and order.signal not in exits:
                yield f"unexplained: {order.name} opened under the kill switch, {stop.scope}"


# ------------------------------------------------------------------ the records


def recorded(facts: Facts) -> Findings:
    yield from _of_signals(facts)
    yield from _of_orders(facts)


def _of_signals(facts: Facts) -> Findings:
    digests: dict[str, list[str]] = defaultdict(list)
    outcomes: Counter[str] = Counter()
    for record in facts.records:
        if record.kind == "signal.planned":
            digests[record.payload["signal_id"]].append(record.payload["plan_sha256"])
        if record.kind == "signal.outcome":
            outcomes[record.payload["signal_id"]] += 1
    for plan in facts.plans:
        if digests[plan.signal] != [plan.sha256]:
            yield f"unexplained: signal {plan.signal} has records signal.planned {digests[plan.signal]}"
    still = {order.signal for order in facts.orders if order.state in OPEN and order.role == "main"}
    for signal, (state, _) in facts.signals.items():
        wanted = (0, 1) if signal in still or state != "planned" else (1,)
        if outcomes[signal] not in wanted:
            yield f"unexplained: signal {signal} has {outcomes[signal]} records signal.outcome"


def _of_orders(facts: Facts) -> Findings:
    told: dict[str, list[str]] = defaultdict(list)
    filled: dict[str, Decimal] = defaultdict(Decimal)
    closes: Counter[str] = Counter()
    for record in facts.records:
        name = str(record.payload.get("cl_ord_id"))
        if record.kind.startswith("order."):
            told[name].append(record.kind)
        if record.kind == "order.fill":
            filled[name] += Decimal(record.payload["last_qty"])
        if record.kind == "order.close" and record.oid is not None:
            closes[record.oid] += 1
    arrived = {there.name for there in facts.there} | {request.name for request in facts.left}
    for order in facts.orders:
        kinds = told[order.name]
        intents = kinds.count("order.intent")
        if intents > 1 or (order.name in arrived and intents != 1):
            yield f"unexplained: {order.name} has {intents} records order.intent"
        said = [kind for kind in kinds if kind not in ("order.held", "order.amend", "order.cancel")]
        if intents and said[0] != "order.intent":
            yield f"unexplained: the records of {order.name} begin with {said[0]}"
        if filled[order.name] != order.cum_qty:
            yield f"unexplained: records say {filled[order.name]} of {order.name}, not {order.cum_qty}"
        if order.state == "absent" and "order.resolved" not in kinds:
            yield f"unexplained: {order.name} is absent, and no record says who proved it"
    for attempts in _orders(facts).values():
        last, count = attempts[-1], closes[attempts[-1].order]
        if last.role == "main" and count != (last.state not in OPEN):
            yield f"unexplained: order {last.order} is {last.state}, records order.close: {count}"


# ------------------------------------------------------------------ what they share


def _orders(facts: Facts) -> dict[str, list[Order]]:
    """The attempts of each order, in their order."""
    groups: dict[str, list[Order]] = defaultdict(list)
    for order in sorted(facts.orders, key=lambda one: (one.order, one.attempt)):
        groups[order.order].append(order)
    return groups


def _legs(facts: Facts) -> dict[tuple[str, str, int], Leg]:
    return {(leg.signal, leg.account, leg.leg): leg for plan in facts.plans for leg in plan.legs}


def _signed(order: Order | There, lots: Decimal) -> Decimal:
    return lots if order.side == "buy" else -lots
