"""Is an order there? What find() asks Gate.io spot, and why its no is a proof.

Spot's look-up is weaker than futures': `text` finds an order only while it is open (and for cancels
only half an hour after it was made). A round therefore asks three lists, in this order:

    a. the pair's open orders, all pages;
    b. the account's fills in the pair since the intent;
    c. the pair's orders that ended since the intent, filled or not.

An order that Gate took is open, or it has ended. If it was open when a. was answered, a. shows it. If
not, it had ended by then, so c., asked later, shows it, and b. does if it traded. A round that shows
nothing has therefore seen all that Gate had taken when the round began.

An order in doubt, step by step:

1. Ask by Gate's id, or by our `text` and then by a round, at once: what was filled is not found by
   text, and a yes needs no waiting. Found: done.
2. Ask Gate's time, wait X-Gate-Exptime + clock error, ask it again (gate/venue_time.py). It has passed
   the deadline of every request that left before step 2: Gate takes none of them any more. An order
   that Gate acknowledged (it has a broker_order_id) is on its way no more, and waits for nothing.
3. A round. Found: done.
4. Wait 300 ms, in case Gate's own copies lag, and do another round.
5. Only if both rounds were answered in full and showed nothing: AbsentProven. Everything else,
   silence above all, is AbsentUnproven.

Why that is a proof, in Gate's time: every request with this text was signed before find() began and
carried a deadline D ≤ G(signed) + exptime. Step 2 asks for G0 after that, so D ≤ G0 + exptime; the
rounds begin once Gate said more than G0 + exptime + clock error. What was not taken by then is never
taken, and what was taken is shown. Assumed of Gate: as in gate/venue_time.py; that what was taken is in
one of the lists within 300 ms of a round that did not show it; and that `from` counts by the time at
which an order ended, so that what ended after the intent is answered (Gate's page says so).

Should Gate leave an order out of c. that was cancelled without a fill, the proof still holds for what it
is used for: an order that was never acknowledged, is not open and has no fill cannot trade any more,
whether it ever was or not.

Gate answers for fills of seven days only: an older intent that is not found is AbsentUnproven.

One that Gate acknowledged and shows nowhere was cancelled without a fill: that is Found, *canceled*.
Each ClOrdID is sent in one request only, ever, so what is found by text is that request's order.

A crash at any step leaves nothing behind: asking changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal

from fanout.brokers.gate.client import GateClient, NoAnswer, NotSent
from fanout.brokers.gate.reading import Unreadable
from fanout.brokers.gate.request import PAGE, Request, client_text
from fanout.brokers.gateio_spot import answers, wire
from fanout.brokers.gateio_spot.answers import Missing
from fanout.order import Order, OrdState
from fanout.ports import AbsentProven, AbsentUnproven, BrokerAccount, Found, Lookup, Report
from tenancy.clock import Clock
from tenancy.errors import PortcullisError

PAGES_MAX = 20
SECOND_LOOK_S = 0.3
REMEMBERED = timedelta(days=6, hours=23)
"""Gate's seven days, less an hour for whoever asks while they end."""

Sleep = Callable[[float], Awaitable[None]]


def reference(order: Order) -> str:
    """Gate's own id once we know it, else our text."""
    return order.broker_order_id or client_text(order.cl_ord_id)


class Search:
    """For one order of one account."""

    def __init__(
        self,
        client: GateClient,
        clock: Clock,
        sleep: Sleep,
        account: BrokerAccount,
        order: Order,
        step: Decimal,
        clock_error_s: float,
    ) -> None:
        self._client = client
        self._clock = clock
        self._sleep = sleep
        self._account = account
        self._order = order
        self._step = step
        self._since_s = int(order.intent_at.timestamp() - clock_error_s) - 1

    async def find(self, wait: Callable[[], Awaitable[None]]) -> Lookup:
        """The numbered steps above. `wait`: step 2; raises PortcullisError."""
        try:
            seen = await self._by_reference()  # 1.
            if isinstance(seen, Missing):
                if self._order.broker_order_id is None:
                    seen = await self._waited_for(wait)
                else:
                    seen = await self._round()  # 3.
            if isinstance(seen, Missing):
                await self._sleep(SECOND_LOOK_S)
                seen = await self._round()  # 4.
        except (PortcullisError, NotSent, NoAnswer, Unreadable) as why:
            return AbsentUnproven(why=str(why))
        return Found(report=seen) if isinstance(seen, Report) else self._gone(seen)  # 5.

    async def _waited_for(self, wait: Callable[[], Awaitable[None]]) -> Report | Missing:
        seen = await self._round()
        if isinstance(seen, Missing):
            await wait()  # 2.
            seen = await self._round()  # 3.
        return seen

    def _gone(self, seen: Missing) -> Lookup:
        order = self._order
        if self._clock.now() - order.intent_at > REMEMBERED:
            return AbsentUnproven(
                why="Gate tells of fills for seven days only, the intent is older"
            )
        if order.cum_qty > 0:
            return AbsentUnproven(
                why=f"{order.cum_qty} were reported filled, now Gate knows nothing"
            )
        if order.broker_order_id is None:
            return AbsentProven(
                evidence="after the deadline, twice: neither open, nor ended, and no own trade"
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

    async def _by_reference(self) -> Report | Missing:
        return await self._by(reference(self._order))

    async def _by(self, order_ref: str) -> Report | Missing:
        request = wire.one_order("GET", self._order.symbol, order_ref)
        answer = await self._client.ask(self._account, request)
        return answers.looked_up(answer, self._order, self._step)

    async def _round(self) -> Report | Missing:
        pair, since_s = self._order.symbol, self._since_s
        seen = await self._in_list(lambda page: wire.open_in(pair, page))  # a.
        if seen is None:
            traded_as = await self._traded_as()  # b.
            if traded_as is not None:
                return await self._must_show(traded_as)
            seen = await self._in_list(lambda page: wire.finished_in(pair, since_s, page))  # c.
        return seen or Missing(text="neither open, nor ended, and no own trade")

    async def _must_show(self, broker_order_id: str) -> Report:
        seen = await self._by(broker_order_id)
        if isinstance(seen, Missing):
            raise Unreadable(f"it traded as {broker_order_id}, but Gate does not show that order")
        return seen

    async def _in_list(self, of: Callable[[int], Request]) -> Report | None:
        for page in range(1, PAGES_MAX + 1):
            answer = await self._client.ask(self._account, of(page))
            seen, count = answers.listed(answer, self._order, self._step)
            if seen is not None or count < PAGE:
                return seen
        raise Unreadable(f"more than {PAGES_MAX * PAGE} orders in {self._order.symbol}")

    async def _traded_as(self) -> str | None:
        """Gate's id of our order if the account's own fills name it; None is sure, not a guess."""
        for page in range(1, PAGES_MAX + 1):
            request = wire.my_trades(self._order.symbol, self._since_s, page)
            answer = await self._client.ask(self._account, request)
            broker_order_id, count = answers.own_trade(answer, self._order)
            if broker_order_id is not None or count < PAGE:
                return broker_order_id
        raise Unreadable(f"more than {PAGES_MAX * PAGE} trades since the intent")
