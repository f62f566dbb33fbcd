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

Equity is the stated equity: paper profit does not compound. Where a broker is imitated (`imitates`) it is
reckoned as there, from the stated equity on, and begins anew with the book. Without stated equity nothing
that opens or grows a position is taken (`funds`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from fanout.brokers.paper.book import PLAIN, PaperBook
from fanout.brokers.paper.entry import Filling
from fanout.brokers.paper.money import Means
from fanout.brokers.paper.rules import RULES
from fanout.brokers.paper.settings import PaperSettings
from fanout.brokers.paper.tape import PriceTape
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

READS_S = 1.0
"""Nothing waits but the latency and the two reads, and they come before the fill."""

Sleep = Callable[[float], Awaitable[None]]
Source = Callable[[], Awaitable[Mapping[str, Instrument]]]
Remembered = Callable[[BrokerAccount], Awaitable[Sequence[BrokerPosition]]]


class PaperBroker:
    """Fills at reference prices, or as the broker it imitates; one book per account, in memory."""

    def __init__(
        self,
        settings: PaperSettings,
        clock: Clock,
        *,
        source: Source | None = None,
        remembered: Remembered | None = None,
        name: str = PAPER,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`source`: another broker's instruments() to imitate; their prices are followed.

        `remembered`: the account's positions as our database has them; raises Unavailable.
        `name`: what it is called among the brokers (tenancy/paper.py).
        Raises ConfigurationError for a file of prices that cannot be read.
        """
        self.name = name
        self._settings = settings
        self._sleep = sleep
        self._rules = RULES[settings.imitates]
        most_ms = settings.latency_ms + settings.latency_jitter_ms
        self.request_timeout_s = READS_S + most_ms / 1000
        self._chance = random.Random(settings.latency_seed)  # noqa: S311 (a simulation's, no secret's)
        known = frozenset(self._rules.times_in_force)
        ord_types = known if settings.conditional_orders else known & PLAIN
        self.caps = Caps(
            ord_types=ord_types,
            times_in_force={name: self._rules.times_in_force[name] for name in ord_types},
            extended_hours=settings.imitates is None,
            reduce_only=True,
            server_deadline=False,
            unique_client_ids=self._rules.unique_client_ids,
            one_in_flight=self._rules.one_in_flight,
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
        self._tape = (
            PriceTape.read(settings.prices_file, frozenset(self._own), settings.prices_from, now)
            if settings.prices_file is not None
            else None
        )
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
        for symbol, price in self._tape.due(now) if self._tape is not None else ():
            self._own[symbol] = self._declared[symbol].at(price, now)
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
                await self._travel()
                self._forget_before(account, order.epoch)
                book, table = await self._today(account)
        except (PortcullisError, TimeoutError) as why:
            return Unsent(cause=f"paper: {why or 'no prices in time'}")
        if self._clock.now() >= not_after:
            return Unsent(cause="paper: the lease ended before the order was placed")
        try:
            return book.place(
                order,
                self._as_signalled(order, table),
                means=_means(account),
                now=self._clock.now(),
            )
        except Exception as why:
            return InDoubt(cause=f"paper: {why}", not_after=self._clock.now())

    async def _travel(self) -> None:
        """The latency, before the price is looked at and before the last look at the lease."""
        settings = self._settings
        ms = settings.latency_ms + self._chance.uniform(0, settings.latency_jitter_ms)
        if ms:
            await self._sleep(ms / 1000)

    def _as_signalled(self, order: Order, table: dict[str, Instrument]) -> dict[str, Instrument]:
        """The table, with the signal's own price for its instrument where the settings say so."""
        seen, price = table.get(order.symbol), order.signal_px
        if self._settings.prices != "signal" or seen is None or price is None or price <= 0:
            return table
        said = msgspec.structs.replace(seen, last_price=price, mark_price=price, bid=None, ask=None)
        return table | {order.symbol: said}

    async def cancel(self, account: BrokerAccount, order: Order) -> CancelOutcome:
        try:
            book, _ = await self._today(account)
        except PortcullisError as why:
            return CancelUnknown(cause=f"paper: {why}")
        report = book.cancel(order, self._clock.now())
        return CancelDone(report=report) if report else CancelTooLate(text="final or not there")

    async def find(self, account: BrokerAccount, order: Order, *, sent_by: datetime) -> Lookup:
        try:
            book, _ = await self._today(account)
        except PortcullisError as why:
            return AbsentUnproven(why=f"paper: {why}")
        report = book.find(order)
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
        """From the stated equity on; None where none is stated."""
        if account.stated_equity is None:
            return None
        book, table = await self._today(account)
        equity, available = book.worth(table, _means(account))
        return Equity(
            equity=equity,
            available=available,
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
                    self._books[key] = self._empty_book(held)
        return self._books[key]

    def _empty_book(self, held: Sequence[BrokerPosition]) -> PaperBook:
        settings = self._settings
        maker_fee, taker_fee = settings.fees()
        filling = Filling(
            slippage_bps=Decimal(settings.slippage_bps),
            share=Decimal(settings.fill_share),
            liquidity=None if settings.liquidity is None else Decimal(settings.liquidity),
            maker_fee=maker_fee,
            taker_fee=taker_fee,
        )
        return PaperBook(
            {one.symbol: (one.qty, one.avg_px) for one in held},
            self.caps.ord_types,
            rules=self._rules,
            filling=filling,
            margins={symbol: Decimal(margin) for symbol, margin in settings.margins.items()},
        )


def _means(account: BrokerAccount) -> Means:
    return Means(stated=account.stated_equity, leverage=account.leverage)
