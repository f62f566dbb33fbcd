"""A broker in memory that keeps the port's promises, and misbehaves by order.

`executed` is the exchange's own truth: what arrived, in order. Tests compare it with the book.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

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
    Caps,
    Equity,
    Found,
    InDoubt,
    Instrument,
    Lookup,
    Outcome,
    Rejected,
    Report,
    Unsent,
)
from fanout.proof import Proof, Proven
from tenancy.errors import Unavailable
from tests.builders import instrument

PRICE = Decimal(50_000)


class FakeBroker:
    """Market orders fill whole at once; limit orders rest."""

    name = "gateio"
    caps = Caps(
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
        orders_per_s=1000.0,
    )
    request_timeout_s = 0.5

    def __init__(self) -> None:
        self.executed: list[Order] = []
        self.reports: dict[str, Report] = {}
        self.faults: deque[str] = deque()
        """For the next submissions: ok, lost_before, lost_after, reject, unsent, raise, hang,
        hang_unsent."""
        self.finds: deque[str] = deque()
        """For the next look-ups: ok, unproven."""
        self.hung = asyncio.Semaphore(0)
        """One to acquire for each submission that does not come back."""
        self.price: Decimal | None = PRICE
        self.ioc_fills: Decimal | None = None
        """Of a limit order that must fill at once: so many lots; None: all."""
        self.as_of: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.most_at_once: dict[object, int] = {}
        self.delay_s = 0.0
        self.proofs: deque[Proof | Exception] = deque()
        """What prove() says or raises next; with none left it is proven."""
        self.proved: list[BrokerAccount] = []
        self.sought_with: list[BrokerAccount] = []
        """With which account find() was asked, each time."""
        self.on_submit: Callable[[Order], None] = lambda order: None
        self.by_hand: dict[object, dict[str, Decimal]] = {}
        """Lots by account and symbol that somebody else traded there."""
        self.strangers: dict[object, list[Report]] = {}
        """By account: orders that rest there and are not ours."""
        self.away = False
        """Whether it answers no question about positions and open orders."""
        self.asked = 0

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def instruments(self) -> Mapping[str, Instrument]:
        known = instrument(mark_price=self.price, last_price=self.price, as_of=self.as_of())
        other = instrument("ETH_USDT", as_of=self.as_of())
        return {known.symbol: known, other.symbol: other}

    async def turn(self, account: BrokerAccount, *, closes: bool = False) -> None: ...

    async def submit(self, account: BrokerAccount, order: Order, *, not_after: datetime) -> Outcome:
        assert not_after > datetime.now(UTC)
        self.on_submit(order)
        key = account.account_id, order.symbol
        self.most_at_once[key] = self.most_at_once.get(key, 0) + 1
        assert self.most_at_once[key] == 1, "two orders of one lane under way at once"
        try:
            await asyncio.sleep(self.delay_s)
            return await self._answer(order)
        finally:
            self.most_at_once[key] -= 1

    async def _answer(self, order: Order) -> Outcome:
        fault = self.faults.popleft() if self.faults else "ok"
        if fault == "unsent":
            return Unsent(cause="connection refused")
        if fault == "reject":
            return Rejected(code="INSUFFICIENT_AVAILABLE", kind="funds", text="not enough")
        if fault == "lost_before":
            return InDoubt(cause="reset before execution", not_after=None)
        if fault == "hang_unsent":
            await self._hang()
        self._execute(order)
        if fault == "raise":
            raise RuntimeError("the adapter has a bug")
        if fault == "lost_after":
            return InDoubt(cause="answer lost", not_after=None)
        if fault == "hang":
            await self._hang()
        return Acked(report=self.reports[order.cl_ord_id])

    async def _hang(self) -> None:
        self.hung.release()
        await asyncio.Event().wait()

    def _execute(self, order: Order) -> None:
        self.executed.append(order)
        filled = order.ord_type == "market" or order.time_in_force == "ioc"
        lots = order.order_qty
        if order.ord_type == "limit" and self.ioc_fills is not None:
            lots = min(lots, self.ioc_fills)
        ended = OrdState.FILLED if lots == order.order_qty else OrdState.CANCELED
        self.reports[order.cl_ord_id] = Report(
            cl_ord_id=order.cl_ord_id,
            broker_order_id=f"b{len(self.executed)}",
            ord_status=ended if filled else OrdState.NEW,
            cum_qty=lots if filled else Decimal(0),
            avg_px=self.price if filled else None,
            text="",
            transact_time=datetime.now(UTC),
            raw=b'{"fake": true}',
        )

    def fill(self, order: Order, cum_qty: Decimal) -> None:
        """A resting order has filled so far."""
        whole = cum_qty == order.order_qty
        self.reports[order.cl_ord_id] = msgspec.structs.replace(
            self.reports[order.cl_ord_id],
            ord_status=OrdState.FILLED if whole else OrdState.PARTIALLY_FILLED,
            cum_qty=cum_qty,
            avg_px=order.price,
        )

    async def find(self, account: BrokerAccount, order: Order, *, sent_by: datetime) -> Lookup:
        self.sought_with.append(account)
        if (self.finds.popleft() if self.finds else "ok") == "unproven":
            return AbsentUnproven(why="no answer")
        report = self.reports.get(order.cl_ord_id)
        return Found(report=report) if report else AbsentProven(evidence="asked twice")

    async def cancel(self, account: BrokerAccount, order: Order) -> CancelOutcome:
        report = self.reports.get(order.cl_ord_id)
        if report is None or report.ord_status is not OrdState.NEW:
            return CancelTooLate(text="ORDER_NOT_FOUND")
        canceled = Report(
            cl_ord_id=report.cl_ord_id,
            broker_order_id=report.broker_order_id,
            ord_status=OrdState.CANCELED,
            cum_qty=Decimal(0),
            avg_px=None,
            text="cancelled",
            transact_time=datetime.now(UTC),
            raw=b"{}",
        )
        self.reports[order.cl_ord_id] = canceled
        return CancelDone(report=canceled)

    async def open_orders(self, account: BrokerAccount) -> Sequence[Report]:
        await self._heard()
        ours = {o.cl_ord_id for o in self.executed if o.account_id == account.account_id}
        resting = (OrdState.NEW, OrdState.PARTIALLY_FILLED)
        foreign = self.strangers.get(account.account_id, [])
        return [
            *(r for name, r in self.reports.items() if name in ours and r.ord_status in resting),
            *foreign,
        ]

    async def positions(self, account: BrokerAccount) -> Sequence[BrokerPosition]:
        await self._heard()
        held: dict[str, Decimal] = dict(self.by_hand.get(account.account_id, {}))
        for order in self.executed:
            if order.account_id == account.account_id:
                filled = self.reports[order.cl_ord_id].cum_qty
                signed = filled if order.side == "buy" else -filled
                held[order.symbol] = held.get(order.symbol, Decimal(0)) + signed
        return [
            BrokerPosition(symbol=symbol, qty=qty, avg_px=self.price, unrealised_pnl=None)
            for symbol, qty in held.items()
            if qty
        ]

    async def _heard(self) -> None:
        self.asked += 1
        if self.away:
            raise Unavailable("the broker does not answer")

    async def prove(
        self, account: BrokerAccount, *, test_order: str | None, not_after: datetime
    ) -> Proof:
        assert not_after > datetime.now(UTC)
        self.proved.append(account)
        said = self.proofs.popleft() if self.proofs else Proven(scopes=("futures:write",))
        if isinstance(said, Exception):
            raise said
        return said

    async def equity(self, account: BrokerAccount) -> Equity | None:
        return Equity(
            equity=Decimal(20_000),
            unrealised=Decimal(-50),
            available=Decimal(20_000),
            currency="USDT",
            as_of=datetime.now(UTC),
        )
