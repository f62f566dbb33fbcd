"""Gate.io spot as a Broker (fanout/ports.py), for classic accounts: nothing is borrowed, nothing is short.

What differs from futures, and where it is said:

- sizes, and why a market order to buy is sent as a bounded limit order: wire.py;
- `reduce_only`, which Gate spot does not know: sizes.py. One more question, for the balance, goes
  before a sell that only reduces; if it is not answered, nothing was sent;
- what counts as filled, when the fee comes out of what is bought: answers.py, ADR 16;
- an order in doubt, and why its absence is proven: looking.py;
- positions are balances, in whole steps, without an entry price: state.py.

Gate's limit of orders is per user and pair, ours here per account: never more than Gate allows.

Thin: unified and margin accounts and price-triggered orders are not spoken; stops are the gateway's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from math import ceil
from typing import TypeVar

import structlog

from fanout.abilities import AmendOutcome, Balance, BrokerFill, Hint
from fanout.brokers.gate.client import GateClient, NoAnswer, NotSent
from fanout.brokers.gate.connected import Connected, read
from fanout.brokers.gate.reading import Unreadable
from fanout.brokers.gate.request import PAGE, Request
from fanout.brokers.gate.stream import Channel, GateStream
from fanout.brokers.gate.table import InstrumentTable
from fanout.brokers.gateio_spot import answers, batches, state, statement, wire
from fanout.brokers.gateio_spot.looking import PAGES_MAX, Search, Sleep, reference
from fanout.brokers.gateio_spot.proving import SpotProver
from fanout.brokers.gateio_spot.sending import Sender
from fanout.brokers.gateio_spot.settings import GateioSpotSettings
from fanout.brokers.gateio_spot.table import PairTable
from fanout.brokers.sealing import stays_inside
from fanout.budget import Budgets, Pace
from fanout.order import Order
from fanout.ports import (
    AbsentUnproven,
    BrokerAccount,
    BrokerPosition,
    CancelOutcome,
    CancelTooLate,
    CancelUnknown,
    Caps,
    Equity,
    Instrument,
    Lookup,
    Outcome,
    Report,
    RequestSigner,
)
from fanout.proof import Proof
from tenancy.clock import Clock
from tenancy.errors import Unavailable

log = structlog.get_logger()

T = TypeVar("T")

ALL = "!all"
CHANNELS = (
    Channel("spot.orders", "order", (ALL,)),
    Channel("spot.usertrades", "fill", (ALL,)),
    Channel("spot.balances", "balance"),
)
COUNTDOWN_LEAST_S = 5
"""Gate takes no shorter one."""


class GateioSpotBroker:
    """Places, amends, cancels, finds and reads at Gate.io spot."""

    name = "gateio_spot"

    def __init__(
        self,
        settings: GateioSpotSettings,
        signer: RequestSigner,
        clock: Clock,
        *,
        sleep: Sleep = asyncio.sleep,
        budgets: Pace | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._client = GateClient(settings, signer, clock)
        self._budgets: Pace = budgets or Budgets(
            limit=settings.orders_per_s, window_s=1.0, burst=settings.orders_burst
        )
        self._sleep = sleep
        self._clock_error_s = settings.clock_error_ms / 1000
        self._pairs = PairTable(self._client, settings.quote)
        self._table = InstrumentTable(self.name, self._pairs.read, settings, clock, sleep)
        self._stream = GateStream(
            self.name,
            settings.stream_url,
            settings.stream,
            CHANNELS,
            ping="spot.ping",
            sign=self._client.sign_subscription,
            user_of=None,
            clock=clock,
            sleep=sleep,
        )
        self._sender = Sender(
            self._client,
            settings,
            self._budgets,
            self._pairs,
            instruments=self.instruments,
            balances=self.balances,
        )
        self._connected = Connected(self.name, self._client, self._table)
        self._prover = SpotProver(self._client, self.instruments)
        # The balance may be asked for first (sending.py), then it is signed; a lease must outlive all.
        self.request_timeout_s = 2 * settings.sign_timeout_s + settings.request_timeout_s
        self.caps = Caps(
            ord_types=frozenset(wire.TIF),
            times_in_force=wire.TIF,
            reduce_only=True,
            server_deadline=True,
            unique_client_ids=False,
            equity=True,
            statement=True,
            balances=True,
            amend=True,
            batch_max=batches.MOST,
            cancel_all=True,
            dead_man=True,
            tells=True,
            secret_stays_inside=stays_inside(self.name),
            orders_per_s=float(settings.orders_per_s),
        )

    def __repr__(self) -> str:
        return f"GateioSpotBroker({self._client!r})"

    async def open(self) -> None:
        await self._connected.open()

    async def close(self) -> None:
        await self._connected.close()

    # -------------------------------------------------------------- orders

    async def turn(self, account: BrokerAccount, *, closes: bool = False) -> None:
        """Of a batch, once for each order."""
        await self._budgets.wait(account.account_id, closes=closes)

    async def submit(self, account: BrokerAccount, order: Order, *, not_after: datetime) -> Outcome:
        """One POST, never a second (sending.py)."""
        (outcome,) = await self._sender.submit(account, [order], not_after, batch=False)
        return outcome

    async def submit_batch(
        self, account: BrokerAccount, orders: Sequence[Order], *, not_after: datetime
    ) -> Sequence[Outcome]:
        """One POST of what can be sent (batches.py); an answer that is unclear is doubt for all of it."""
        return await self._sender.submit(account, orders, not_after, batch=True)

    async def amend(
        self,
        account: BrokerAccount,
        order: Order,
        *,
        order_qty: Decimal | None,
        price: Decimal | None,
        not_after: datetime,
    ) -> AmendOutcome:
        """One PATCH, never a second (sending.py)."""
        return await self._sender.amend(account, order, order_qty, price, not_after)

    async def cancel(self, account: BrokerAccount, order: Order) -> CancelOutcome:
        step = self._pairs.steps.get(order.symbol)
        if step is None:
            return CancelUnknown(cause=f"{order.symbol} is no pair of Gate's")
        request = wire.one_order("DELETE", order.symbol, reference(order))
        try:
            answer = await self._client.ask(account, request)
        except (NotSent, NoAnswer) as why:
            return CancelUnknown(cause=str(why))
        outcome = answers.canceled(answer, order, step)
        if isinstance(outcome, CancelTooLate):
            log.info(
                "cancel_too_late", broker=self.name, cl_ord_id=order.cl_ord_id, text=outcome.text
            )
        return outcome

    async def cancel_all(self, account: BrokerAccount, symbol: str | None) -> bool:
        try:
            return answers.all_canceled(await self._client.ask(account, wire.cancel_all(symbol)))
        except (NotSent, NoAnswer):
            return False

    async def dead_man(self, account: BrokerAccount, seconds: float) -> bool:
        """Gate's countdown is 5 s at least: a shorter one is not promised, so it is False."""
        if 0 < seconds < COUNTDOWN_LEAST_S:
            return False
        try:
            answer = await self._client.ask(account, wire.countdown(ceil(seconds)))
        except (NotSent, NoAnswer):
            return False
        return answer.status == 200

    async def find(self, account: BrokerAccount, order: Order, *, sent_by: datetime) -> Lookup:
        """looking.py; takes at least 300 ms, and the server's deadline, for a no."""
        step = self._pairs.steps.get(order.symbol)
        if step is None:
            return AbsentUnproven(why=f"{order.symbol} is no pair of Gate's")
        search = Search(
            self._client, self._clock, self._sleep, account, order, step, self._clock_error_s
        )
        return await search.find(lambda: self._client.time.outlast(sent_by))

    def hints(self, account: BrokerAccount) -> AsyncIterator[Hint]:
        return self._stream.hints(account)

    # -------------------------------------------------------------- the account

    async def prove(
        self, account: BrokerAccount, *, test_order: str | None, not_after: datetime
    ) -> Proof:
        """proving.py. A lane is not needed: only the test order trades, and it never fills."""
        return await self._prover.prove(account, test_order=test_order, not_after=not_after)

    async def open_orders(self, account: BrokerAccount) -> Sequence[Report]:
        reports: list[Report] = []
        for page in range(1, PAGES_MAX + 1):
            body = await self._read(account, wire.open_everywhere(page))
            found, most = self._readable(partial(answers.open_reports, body, self._pairs.steps))
            reports += found
            if most < PAGE:
                return reports
        raise Unavailable(f"more than {PAGES_MAX * PAGE} open orders in a pair at Gate.io")

    async def fills(
        self, account: BrokerAccount, *, since: datetime, until: datetime
    ) -> Sequence[BrokerFill]:
        """statement.py."""

        async def ask(request: Request) -> bytes:
            return await self._read(account, request)

        return await statement.fills(ask, self._pairs.steps, since, until)

    async def balances(self, account: BrokerAccount) -> Sequence[Balance]:
        body = await self._read(account, wire.balances())
        return self._readable(partial(state.balances, body))

    async def positions(self, account: BrokerAccount) -> Sequence[BrokerPosition]:
        """Balances of what the pairs trade; without entry price or profit, which Gate does not keep."""
        return state.positions(await self.balances(account), await self.instruments())

    async def equity(self, account: BrokerAccount) -> Equity | None:
        held, table = await self.balances(account), await self.instruments()
        return state.equity(held, table, self._settings.quote, self._clock.now())

    @staticmethod
    def _readable(read: Callable[[], T]) -> T:
        try:
            return read()
        except Unreadable as why:
            raise Unavailable(f"Gate.io spot: {why}") from why

    async def _read(self, account: BrokerAccount, request: Request) -> bytes:
        return await read(self._client.ask, account, request)

    async def instruments(self) -> Mapping[str, Instrument]:
        """The pairs, never older than instruments_max_age_s. Raises Unavailable."""
        return await self._table.get()
