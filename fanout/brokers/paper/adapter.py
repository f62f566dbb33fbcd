"""Paper as a Broker (fanout/ports.py): the same questions and answers, and no world behind them.

The book lives in this process. What a restart, or a move of the account's lane to another
worker, means:

- Positions are remembered: on the first touch of an account, and again with the first order of a
  newer lease epoch, they are read back through `remembered` (our own database, which is the only
  world that paper has).
- An order whose intent is durable but whose report was not recorded vanishes with the book, and
  that is right: no position came of it. find() answers AbsentProven, and the lane may send the
  next attempt. No other process can hold it: the account's lane is leased by one at a time, and
  what a former owner still has to say counts only under its own lease (`caps.remembers`).
- An acknowledged resting order vanishes too. find() answers that it is *canceled*, with what our
  database says was filled, because "absent" would invite a second sending of something that the
  customer was told is placed.

Equity is the stated equity: paper profit does not compound. Without stated equity nothing that
opens or grows a position is taken (`funds`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from fanout.brokers.paper.book import ORD_TYPES, PLAIN, TIMES_IN_FORCE, PaperBook
from fanout.brokers.paper.settings import PaperSettings
from fanout.order import Order, OrdState
from fanout.ports import (
    AbsentProven,
    AbsentUnproven,
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
    Outcome,
    Report,
    Unsent,
)
from fanout.proof import NOTHING_TO_PROVE, Proof
from tenancy.clock import Clock
from tenancy.errors import PortcullisError
from tenancy.paper import PAPER
from tenancy.values import AccountID, positive

SHOWN_EVERY_S = 0.25
"""All books together; an account's own question shows its book the price in any case."""

Source = Callable[[], Awaitable[Mapping[str, Instrument]]]
Remembered = Callable[[BrokerAccount], Awaitable[Sequence[BrokerPosition]]]


class PaperBroker:
    """Fills at reference prices; one book per account, in memory."""

    request_timeout_s = (
        1.0  # nothing here waits but the two reads below, and they come before the fill
    )

    def __init__(
        self,
        settings: PaperSettings,
        clock: Clock,
        *,
        source: Source | None = None,
        remembered: Remembered | None = None,
        name: str = PAPER,
    ) -> None:
        """`source`: another broker's instruments() to imitate; their prices are followed.

        `remembered`: the account's positions as our database has them; raises Unavailable.
        `name`: what it is called among the brokers (tenancy/paper.py).
        """
        self.name = name
        self._slippage_bps = Decimal(settings.slippage_bps)
        ord_types = ORD_TYPES if settings.conditional_orders else PLAIN
        self.caps = Caps(
            ord_types=ord_types,
            times_in_force={name: TIMES_IN_FORCE[name] for name in ord_types},
            extended_hours=True,
            reduce_only=True,
            server_deadline=False,
            unique_client_ids=True,
            equity=True,
            credential=False,
            orders_per_s=100_000.0,
            remembers=False,
        )
        self._clock = clock
        self._source = source
        self._remembered = remembered
        now = clock.now()
        self._declared = {one.symbol: one for one in settings.instruments}
        self._own = {one.symbol: one.instrument(now) for one in settings.instruments}
        self._shown_at_s = float("-inf")
        self._books: dict[AccountID, PaperBook] = {}
        self._epochs: dict[AccountID, int] = {}
        self._first_touch: dict[AccountID, asyncio.Lock] = {}

    def __repr__(self) -> str:
        return f"PaperBroker({len(self._books)} books, {len(self._own)} own instruments)"

    async def open(self) -> None:
        """Nothing to connect; raises Unavailable where the source of prices does."""
        await self.instruments()

    async def close(self) -> None:
        return None

    async def prove(
        self, account: BrokerAccount, *, test_order: str | None, not_after: datetime
    ) -> Proof:
        """Paper asks for no key."""
        return NOTHING_TO_PROVE

    async def instruments(self) -> Mapping[str, Instrument]:
        """Raises Unavailable where the source does: never an old price in its place."""
        table = dict(await self._source()) if self._source is not None else {}
        now = self._clock.now()
        for symbol, own in self._own.items():
            table[symbol] = msgspec.structs.replace(own, as_of=now)
        self._show(table, now)
        return table

    def _show(self, table: dict[str, Instrument], now: datetime) -> None:
        """Conditional orders see the prices that anybody asks for, and not only their own account's."""
        at_s = self._clock.monotonic()
        if at_s - self._shown_at_s < SHOWN_EVERY_S:
            return
        self._shown_at_s = at_s
        for book in self._books.values():
            if book.waits:
                book.meet(table, now)

    def move(self, symbol: str, price: Decimal) -> None:
        """Set the price of one of our own instruments; resting orders meet it when next asked about."""
        at = positive(price, "price")
        self._own[symbol] = self._declared[symbol].at(at, self._clock.now())

    async def turn(self, account: BrokerAccount, *, closes: bool = False) -> None:
        """Paper has no rate limit."""

    async def submit(self, account: BrokerAccount, order: Order, *, not_after: datetime) -> Outcome:
        try:
            async with asyncio.timeout(self.request_timeout_s):
                self._forget_before(account, order.epoch)
                book, table = await self._today(account)
        except (PortcullisError, TimeoutError) as why:
            return Unsent(cause=f"paper: {why or 'no prices in time'}")
        if self._clock.now() >= not_after:
            return Unsent(cause="paper: the lease ended before the order was placed")
        try:
            return book.place(
                order,
                table,
                buying_power=_buying_power(account),
                slippage_bps=self._slippage_bps,
                now=self._clock.now(),
            )
        except Exception as why:
            return InDoubt(cause=f"paper: {why}", not_after=self._clock.now())

    async def cancel(self, account: BrokerAccount, order: Order) -> CancelOutcome:
        try:
            book, _ = await self._today(account)
        except PortcullisError as why:
            return CancelUnknown(cause=f"paper: {why}")
        report = book.cancel(order.cl_ord_id, self._clock.now())
        return CancelDone(report=report) if report else CancelTooLate(text="final or not there")

    async def find(self, account: BrokerAccount, order: Order, *, sent_by: datetime) -> Lookup:
        try:
            book, _ = await self._today(account)
        except PortcullisError as why:
            return AbsentUnproven(why=f"paper: {why}")
        report = book.find(order.cl_ord_id)
        if report is not None:
            return Found(report=report)
        if order.broker_order_id is None:
            return AbsentProven(evidence="not in the paper book, and there is no other")
        return Found(report=self._ended(order, order.broker_order_id))

    def _ended(self, order: Order, broker_order_id: str) -> Report:
        return Report(
            cl_ord_id=order.cl_ord_id,
            broker_order_id=broker_order_id,
            ord_status=OrdState.CANCELED,
            cum_qty=order.cum_qty,
            avg_px=order.avg_px,
            text="the paper book ended with its process",
            transact_time=self._clock.now(),
            raw=b"{}",
        )

    async def open_orders(self, account: BrokerAccount) -> Sequence[Report]:
        book, _ = await self._today(account)
        return book.resting()

    async def positions(self, account: BrokerAccount) -> Sequence[BrokerPosition]:
        book, table = await self._today(account)
        return book.positions(table)

    async def equity(self, account: BrokerAccount) -> Equity | None:
        """The stated equity; None where none is stated."""
        if account.stated_equity is None:
            return None
        book, table = await self._today(account)
        used = book.notional(table) / account.leverage
        return Equity(
            equity=account.stated_equity,
            available=max(Decimal(0), account.stated_equity - used),
            currency=account.currency,
            as_of=self._clock.now(),
        )

    async def _today(self, account: BrokerAccount) -> tuple[PaperBook, dict[str, Instrument]]:
        """The book after resting orders met today's prices. Raises what its two sources raise."""
        table = dict(await self.instruments())
        book = await self._book(account)
        book.meet(table, self._clock.now())
        return book, table

    def _forget_before(self, account: BrokerAccount, epoch: int) -> None:
        """A newer epoch of the lease: another process may have traded, so the book is read anew."""
        key = account.account_id
        if epoch > self._epochs.get(key, epoch):
            self._books.pop(key, None)
        self._epochs[key] = max(epoch, self._epochs.get(key, epoch))

    async def _book(self, account: BrokerAccount) -> PaperBook:
        """The account's book, with what it held before this process. Raises what `remembered` raises."""
        key = account.account_id
        if key not in self._books:
            async with self._first_touch.setdefault(key, asyncio.Lock()):
                if key not in self._books:
                    held = await self._remembered(account) if self._remembered is not None else ()
                    self._books[key] = PaperBook(
                        {one.symbol: (one.qty, one.avg_px) for one in held}, self.caps.ord_types
                    )
        return self._books[key]


def _buying_power(account: BrokerAccount) -> Decimal | None:
    return None if account.stated_equity is None else account.stated_equity * account.leverage
