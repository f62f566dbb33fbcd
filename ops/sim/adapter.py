"""A worker's way to the exchange (fanout/ports.py), and all that can happen on it.

It keeps the rules of an honest adapter, those of Gate.io (fanout/brokers/gateio/adapter.py): what is
unclear is InDoubt, a request carries a deadline in the exchange's own time, and absence is proven only
after that deadline, by two looks. What goes wrong is drawn for each request.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from fanout.abilities import BrokerFill
from fanout.order import Order, OrdState
from fanout.ports import (
    AbsentProven,
    AbsentUnproven,
    Acked,
    BrokerAccount,
    BrokerPosition,
    CancelDone,
    CancelOutcome,
    CancelTooLate,
    CancelUnknown,
    Caps,
    Equity,
    Found,
    InDoubt,
    Instrument,
    Lookup,
    Maintenance,
    Outcome,
    RateLimited,
    Rejected,
    Report,
    Unsent,
)
from fanout.proof import Proof, Proven
from ops.sim.chance import WHEN_ASKED, WHEN_CANCELLED, Mood
from ops.sim.loop import BEGIN, Host, SimulatedLoop
from ops.sim.venue import Placed, Request, Trade, Venue
from tenancy.errors import Unavailable

DEADLINE_S = 1.0
"""A request is worth nothing at the exchange so long after it was made."""
SECOND_LOOK_S = 0.3
BEHIND_S = 0.2
"""So far a look-up's copy may be behind."""
CAPS = Caps(
    ord_types=frozenset({"market", "limit"}),
    times_in_force={
        "market": {"day": "ioc", "gtc": "ioc", "ioc": "ioc"},
        "limit": {"day": "gtc", "gtc": "gtc", "ioc": "ioc", "fok": "fok"},
    },
    reduce_only=True,
    server_deadline=True,
    unique_client_ids=False,
    equity=True,
    credential=False,
    statement=True,
    orders_per_s=1000.0,
)


class Line:
    """What goes wrong between workers and exchange, until `quiet`; counted by kind."""

    def __init__(self, loop: SimulatedLoop, random: Random, mood: Mood) -> None:
        self.loop, self.random, self.mood = loop, random, mood
        self.quiet = False
        self.faults: Counter[str] = Counter()
        self.leaves: Callable[[Request], None] = lambda request: None
        """Told of each request at the moment that it leaves."""
        self.point: Callable[[str, Host], bool] = lambda name, host: False

    def draw(self, kinds: Sequence[str], share: float, what: str) -> str:
        """A fault for this request, or ""."""
        roll = self.random.random()
        kind = self.random.choice(kinds)
        if self.quiet or roll >= share:
            return ""
        self.faults[f"{what}:{kind}"] += 1
        return kind

    def way_s(self) -> float:
        """One way over the wire."""
        return 0.001 + self.random.random() * 0.02


class SimulatedBroker:
    """One worker's adapter."""

    name = "gateio"
    caps = CAPS
    request_timeout_s = 0.6

    def __init__(self, venue: Venue, line: Line, host: Host, note: Any) -> None:
        self._venue, self._line, self._host, self._note = venue, line, host, note
        self._loop = line.loop

    async def open(self) -> None:
        if self._venue.away:
            raise Unavailable("the exchange is away")

    async def close(self) -> None: ...

    async def instruments(self) -> Mapping[str, Instrument]:
        await self._asked()
        return {symbol: self._instrument(symbol) for symbol in self._venue.prices}

    def _instrument(self, symbol: str) -> Instrument:
        price = self._venue.prices[symbol]
        return Instrument(
            symbol=symbol, multiplier=Decimal("0.0001"), lot_step=Decimal(1), min_qty=Decimal(1),
            max_qty=Decimal(1_000_000), tick=Decimal("0.1"), currency="USDT", last_price=price,
            mark_price=price, as_of=self._host.now(),
        )  # fmt: skip

    async def turn(self, account: BrokerAccount, *, closes: bool = False) -> None:
        await self._point("turn")  # whoever slept here must look at its lease again

    async def equity(self, account: BrokerAccount) -> Equity | None:
        await self._asked()
        return Equity(
            equity=Decimal(20_000),
            available=Decimal(20_000),
            currency="USDT",
            as_of=self._host.now(),
        )

    async def open_orders(self, account: BrokerAccount) -> Sequence[Report]:
        await self._asked()
        mine = [p for p in self._venue.resting() if p.request.account == str(account.account_id)]
        return [_report(placed) for placed in mine]

    async def positions(self, account: BrokerAccount) -> Sequence[BrokerPosition]:
        await self._asked()
        return [
            BrokerPosition(symbol=symbol, qty=lots, avg_px=None, unrealised_pnl=None)
            for (name, symbol), lots in sorted(self._venue.held.items())
            if name == str(account.account_id) and lots
        ]

    async def fills(
        self, account: BrokerAccount, *, since: datetime, until: datetime
    ) -> Sequence[BrokerFill]:
        await self._asked()
        orders = {placed.number: placed.request for placed in self._venue.orders}
        made = (
            _trade(number, orders[trade.number], trade)
            for number, trade in enumerate(self._venue.trades)
            if orders[trade.number].account == str(account.account_id)
        )
        return [fill for fill in made if since <= fill.at < until]

    async def prove(
        self, account: BrokerAccount, *, test_order: str | None, not_after: datetime
    ) -> Proof:
        return Proven()

    # -------------------------------------------------------------- orders

    async def submit(self, account: BrokerAccount, order: Order, *, not_after: datetime) -> Outcome:
        left_s = (not_after - self._host.now()).total_seconds()
        request = Request(
            account=str(account.account_id), text=order.cl_ord_id, symbol=order.symbol,
            side=order.side, qty=order.order_qty, price=order.price,
            ioc=order.ord_type == "market" or order.time_in_force in ("ioc", "fok"),
            reduce_only=order.reduce_only, deadline_s=self._loop.time() + min(left_s, DEADLINE_S),
            host=self._host.name,
        )  # fmt: skip
        await self._point("before send")
        await asyncio.sleep(self._line.random.random() * 0.01)  # the signature
        if self._venue.away:
            return Unsent(cause="connection refused")
        fault = self._line.draw(self._line.mood.kinds, self._line.mood.way, "submit")
        outcome = await self._sent(request, fault)
        await self._point("answered")
        self._note(f"{self._host.name} submit {order.cl_ord_id} {fault or 'ok'}: {outcome!r}"[:160])
        return outcome

    async def _sent(self, request: Request, fault: str) -> Outcome:
        if fault == "unsent":
            return Unsent(cause="connection refused")
        if fault == "rate_limited":
            await asyncio.sleep(self._line.way_s())
            return RateLimited(retry_after_s=0.1 + self._line.random.random())
        if fault == "maintenance":
            return Maintenance(until=None, text="closed for a moment")
        if fault == "rejected":
            await asyncio.sleep(self._line.way_s())
            return Rejected(code="INSUFFICIENT_AVAILABLE", kind="funds", text="not enough")
        if fault == "garbled":
            self._arrives(request, self._line.way_s(), None)
            raise RuntimeError("the adapter has a bug")
        if fault in ("lost_before", "error_before"):
            self._line.leaves(request)
            if fault == "error_before":
                await asyncio.sleep(self._line.way_s())
                return InDoubt(cause="HTTP 502", not_after=None)
            await asyncio.sleep(self.request_timeout_s)
            return InDoubt(cause="no answer", not_after=None)
        answer: asyncio.Future[Placed | str] = self._loop.create_future()
        way_s = self._line.way_s()
        if fault == "late":
            way_s = 0.3 + self._line.random.random() * 2.5
        most = None
        if fault == "partial":
            most = Decimal(self._line.random.randint(0, int(request.qty)))
        back_s = self._line.way_s() + (0.6 if fault == "slow_answer" else 0.0)
        deaf = fault in ("lost_after", "error_after")
        self._arrives(request, way_s, None if deaf else answer, most, back_s)
        await self._point("sent")
        try:
            async with asyncio.timeout(
                way_s + 0.05 if fault == "error_after" else self.request_timeout_s
            ):
                said = await answer
        except TimeoutError:
            return InDoubt(
                cause="HTTP 504" if fault == "error_after" else "no answer", not_after=None
            )
        if isinstance(said, str):
            return Rejected(code=said, kind="other", text=said)
        return Acked(report=_report(said))

    def _arrives(
        self,
        request: Request,
        way_s: float,
        answer: asyncio.Future[Placed | str] | None,
        most: Decimal | None = None,
        back_s: float = 0.0,
    ) -> None:
        """The request is under way, whatever becomes of its sender."""

        def arrived() -> None:
            said = self._venue.place(request, most)
            what = said if isinstance(said, str) else f"#{said.number} {said.status} {said.filled}"
            self._note(f"venue takes {request.text} {request.side} {request.qty}: {what}")
            if answer is not None:
                seen = said if isinstance(said, str) else said.pictures[-1][1]
                self._loop.outside(back_s, _tell, answer, seen)

        self._line.leaves(request)
        self._loop.outside(way_s, arrived)

    # -------------------------------------------------------------- look-ups

    async def find(self, account: BrokerAccount, order: Order, *, sent_by: datetime) -> Lookup:
        begun_s = self._loop.time()
        await self._point("find")
        try:
            seen = await self._look(account, order)
            if seen is not None:
                return Found(report=_report(seen))
            if order.broker_order_id is None:
                await asyncio.sleep(max(0.0, begun_s + DEADLINE_S + 0.05 - self._loop.time()))
            for pause_s in (SECOND_LOOK_S, 0.0):
                seen = await self._look(account, order)
                if seen is not None:
                    return Found(report=_report(seen))
                await asyncio.sleep(pause_s)
        except Unavailable as error:
            return AbsentUnproven(why=str(error))
        if order.cum_qty > 0:
            return AbsentUnproven(why="it was filled in part, and is not there")
        if order.broker_order_id is None:
            return AbsentProven(evidence="after its deadline, twice")
        gone = Report(
            cl_ord_id=order.cl_ord_id, broker_order_id=order.broker_order_id, cum_qty=Decimal(0),
            ord_status=OrdState.CANCELED, avg_px=None, text="gone without a fill",
            transact_time=self._host.now(), raw=b"{}",
        )  # fmt: skip
        return Found(report=gone)

    async def _look(self, account: BrokerAccount, order: Order) -> Placed | None:
        """Raises Unavailable where there is no answer."""
        fault = self._line.draw(WHEN_ASKED, self._line.mood.asked, "find")
        await self._asked()
        if fault == "no_answer":
            await asyncio.sleep(0.2)
            raise Unavailable("no answer")
        if fault == "slow":
            await asyncio.sleep(0.5)
        behind_s = BEHIND_S if fault == "old_picture" else 0.0
        seen = self._venue.seen(str(account.account_id), order.cl_ord_id, behind_s=behind_s)
        await asyncio.sleep(self._line.way_s())
        return seen

    async def cancel(self, account: BrokerAccount, order: Order) -> CancelOutcome:
        fault = self._line.draw(WHEN_CANCELLED, self._line.mood.asked, "cancel")
        try:
            await self._asked()
        except Unavailable as error:
            return CancelUnknown(cause=str(error))
        if fault == "lost_before":
            return CancelUnknown(cause="no answer")
        done = self._venue.cancel(str(account.account_id), order.cl_ord_id)
        self._note(f"venue cancels {order.cl_ord_id}: {done is not None}")
        seen = None if done is None else done.pictures[-1][1]
        await asyncio.sleep(self._line.way_s())
        if fault:
            return CancelUnknown(cause="no answer")
        if seen is None:
            return CancelTooLate(text="ORDER_NOT_FOUND")
        return CancelDone(report=_report(seen))

    async def _point(self, name: str) -> None:
        """Where something may be waiting to happen to the host."""
        if self._line.point(name, self._host):
            await asyncio.sleep(0)  # a dead host comes no further, a frozen one stays here

    async def _asked(self) -> None:
        await asyncio.sleep(self._line.way_s())
        if self._venue.away:
            raise Unavailable("the exchange is away")


def _tell(answer: asyncio.Future[Placed | str], said: Placed | str) -> None:
    if not answer.done():
        answer.set_result(said)


def _trade(number: int, request: Request, trade: Trade) -> BrokerFill:
    return BrokerFill(
        trade_id=str(number),
        broker_order_id=str(trade.number),
        cl_ord_id=request.text,
        symbol=request.symbol,
        side="buy" if trade.lots > 0 else "sell",
        qty=abs(trade.lots),
        price=trade.price,
        at=BEGIN + timedelta(seconds=trade.at_s),
    )


def _report(placed: Placed) -> Report:
    ended_s = placed.ended_s if placed.ended_s is not None else placed.at_s
    return Report(
        cl_ord_id=placed.request.text,
        broker_order_id=str(placed.number),
        ord_status=OrdState(placed.status),
        cum_qty=placed.filled,
        avg_px=placed.avg_px,
        text="",
        transact_time=BEGIN + timedelta(seconds=ended_s),
        raw=b'{"simulated": true}',
    )
