"""What became of an order that Gate.io may or may not have: `GateioBroker.find`, step by step.

1. Ask by our `text` at once. Found: done.
2. Ask Gate's time, wait X-Gate-Exptime + clock error, ask it again (venue_time.py). It has passed the
   deadline of every request that left before step 2: Gate takes none of them any more. An order
   that Gate acknowledged (it has a broker_order_id) is on its way no more, and waits for nothing.
3. Ask by text, and look through the account's fills since the intent. Found: done.
4. Wait 300 ms, in case Gate's own copies lag, and do step 3 again.
5. Only if both rounds said 404 ORDER_NOT_FOUND and no fill: AbsentProven. Everything else,
   silence above all, is AbsentUnproven.

Why that is a proof, in Gate's time alone (G):

- Each request with this text was signed before find() began (the intent's lane or its lease was
  ours by then) and carried a deadline D ≤ G(signed) + exptime: VenueTime.deadline reckons it from
  what Gate itself said, so no step of the host's clock moves it, on this host or on another.
- Step 2 asks for G0 after that, so G(signed) ≤ G0, and D ≤ G0 + exptime.
- Steps 3 and 4 begin after Gate said G1 > G0 + exptime + clock error ≥ D + clock error.

The time of day has no part in it. It is only held against Gate's: where they differ by more than
clock_error_ms, where Gate's clock and the monotonic one went at different speeds, where `sent_by`
lies in Gate's future, or where Gate does not tell its time, the answer is AbsentUnproven.

Assumed of Gate: a request past its X-Gate-Exptime is refused when it is taken, by a clock that is
never set back and never further than clock_error_ms from the one it shows; and what was taken can be
seen within 300 ms of a question that knew nothing of it. Assumed of us: every process that sends
runs this code.

`text` is not unique at Gate: a later order hides an earlier one. Each ClOrdID is sent in one
request only, ever, so what is found by text is that request's order. Gate forgets a cancelled
order without fills after 60 s (by text). For an order never acknowledged that is as good as
absent: it did not trade and cannot. For one that was acknowledged it means *canceled*, and find()
says so.

A crash at any step leaves nothing behind here: asking changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal

from fanout.brokers.gate import labels
from fanout.brokers.gate.client import NoAnswer, NotSent
from fanout.brokers.gate.reading import Unreadable
from fanout.brokers.gateio import answers, wire
from fanout.brokers.gateio.answers import Missing
from fanout.brokers.gateio.limits import Door
from fanout.brokers.gateio.settings import GateioSettings
from fanout.order import Order, OrdState
from fanout.ports import (
    AbsentProven,
    AbsentUnproven,
    BrokerAccount,
    Found,
    Lookup,
    Report,
)
from tenancy.clock import Clock
from tenancy.errors import PortcullisError

PAGES_MAX = 20
SECOND_LOOK_S = 0.3

Sleep = Callable[[float], Awaitable[None]]


class Doubt:
    """The numbered steps above."""

    def __init__(
        self, door: Door, settings: GateioSettings, clock: Clock, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._door = door
        self._settle = settings.settle
        self._clock_error_s = settings.clock_error_ms / 1000
        self._clock = clock
        self._sleep = sleep

    async def find(self, account: BrokerAccount, order: Order, *, sent_by: datetime) -> Lookup:
        """The numbered steps above; takes at least 300 ms, and the server's deadline, for a no."""
        # 1.
        try:
            first = await self._look(account, order, wire.order_ref(order))
        except (NotSent, NoAnswer, Unreadable) as why:
            return AbsentUnproven(why=str(why))
        if isinstance(first, Report):
            return Found(report=first)
        # 2.
        if order.broker_order_id is None:
            try:
                await self._door.client.time.outlast(sent_by)
            except PortcullisError as why:
                return AbsentUnproven(why=str(why))
        # 3. to 5.
        try:
            seen = await self._look_everywhere(account, order)
            if isinstance(seen, Missing):
                await self._sleep(SECOND_LOOK_S)
                seen = await self._look_everywhere(account, order)
        except (NotSent, NoAnswer, Unreadable) as why:
            return AbsentUnproven(why=str(why))
        return Found(report=seen) if isinstance(seen, Report) else self._gone(order, seen)

    def _gone(self, order: Order, seen: Missing) -> Lookup:
        if order.cum_qty > 0:
            return AbsentUnproven(
                why=f"{order.cum_qty} were reported filled, now Gate knows nothing"
            )
        if order.broker_order_id is None:
            return AbsentProven(
                evidence=f"after the deadline, twice: {labels.GONE} by text and no own trade"
            )
        return Found(
            report=Report(
                cl_ord_id=order.cl_ord_id,
                broker_order_id=order.broker_order_id,
                ord_status=OrdState.CANCELED,
                cum_qty=Decimal(0),
                avg_px=None,
                text="gone from Gate.io without a fill: cancelled there",
                transact_time=self._clock.now(),
                raw=seen.text.encode(),
            )
        )

    async def _look(self, account: BrokerAccount, order: Order, reference: str) -> Report | Missing:
        request = wire.one_order(self._settle, "GET", reference)
        return answers.looked_up(await self._door.ask(account, request), order)

    async def _look_everywhere(self, account: BrokerAccount, order: Order) -> Report | Missing:
        seen = await self._look(account, order, wire.order_ref(order))
        if isinstance(seen, Report):
            return seen
        broker_order_id = await self._traded_as(account, order)
        if broker_order_id is None:
            return seen
        by_id = await self._look(account, order, broker_order_id)
        if isinstance(by_id, Missing):
            raise Unreadable(f"it traded as {broker_order_id}, but Gate does not show that order")
        return by_id

    async def _traded_as(self, account: BrokerAccount, order: Order) -> str | None:
        """Gate's id of our order if the account's own fills name it; None is sure, not a guess."""
        since = order.intent_at.timestamp() - self._clock_error_s
        for page in range(PAGES_MAX):
            request = wire.my_trades(self._settle, order.symbol, page * wire.PAGE)
            answer = await self._door.ask(account, request)
            broker_order_id, count, oldest = answers.own_trade(answer, order)
            if broker_order_id is not None:
                return broker_order_id
            if count < wire.PAGE or oldest is None or oldest < since:
                return None
        raise Unreadable(f"more than {PAGES_MAX * wire.PAGE} trades since the intent")
