"""Gate.io spot as a Broker (fanout/ports.py), for classic accounts: nothing is borrowed, nothing is short.

What differs from futures, and where it is said:

- sizes, and why a market order to buy is sent as a bounded limit order: wire.py;
- `reduce_only`, which Gate spot does not know: sizes.py. One more question, for the balance, goes
  before a sell that only reduces; if it is not answered, nothing was sent;
- what counts as filled, when the fee comes out of what is bought: answers.py, ADR 16;
- an order in doubt, and why its absence is proven: looking.py;
- positions are balances, in whole steps, without an entry price: state.py.

Gate's limit of orders is per user and pair, ours here per account: never more than Gate allows.

Thin: unified and margin accounts, the WebSocket channels and price-triggered orders are not spoken;
stops are the gateway's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from math import ceil
from typing import TypeVar

import msgspec
import structlog

from fanout.abilities import AmendOutcome, AmendRefused, AmendUnknown, Balance, BrokerFill
from fanout.brokers.gate.client import GateClient, NoAnswer, NotSent
from fanout.brokers.gate.reading import Unreadable, label_of, rate_hint
from fanout.brokers.gate.request import PAGE, Request
from fanout.brokers.gate.table import InstrumentTable
from fanout.brokers.gate.venue_time import exptime
from fanout.brokers.gateio_spot import answers, batches, labels, sizes, state, statement, wire
from fanout.brokers.gateio_spot.looking import PAGES_MAX, Search, Sleep, reference
from fanout.brokers.gateio_spot.proving import SpotProver
from fanout.brokers.gateio_spot.settings import GateioSpotSettings
from fanout.brokers.gateio_spot.table import PairTable
from fanout.brokers.gateio_spot.wire import Sized
from fanout.brokers.sealing import stays_inside
from fanout.budget import Budgets, Pace
from fanout.order import Order
from fanout.ports import (
    AbsentUnproven,
    AuthFailed,
    BrokerAccount,
    BrokerPosition,
    CancelOutcome,
    CancelTooLate,
    CancelUnknown,
    Caps,
    Equity,
    InDoubt,
    Instrument,
    Lookup,
    Outcome,
    RateLimited,
    Rejected,
    Report,
    RequestSigner,
    Unsent,
)
from fanout.proof import Proof
from tenancy.clock import Clock
from tenancy.errors import PortcullisError, Unavailable

log = structlog.get_logger()

T = TypeVar("T")

COUNTDOWN_LEAST_S = 5
"""Gate takes no shorter one."""


class Prepared(msgspec.Struct, frozen=True):
    """A request that may be sent until its deadline, with its headers."""

    request: Request
    headers: dict[str, str]
    deadline: datetime


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
        self._refreshers: list[asyncio.Task[None]] = []
        self._prover = SpotProver(self._client, self.instruments)
        # The balance may be asked for first; a lease must outlive both requests and their signatures.
        self.request_timeout_s = 2 * (settings.sign_timeout_s + settings.request_timeout_s)
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
            secret_stays_inside=stays_inside(self.name),
            orders_per_s=float(settings.orders_per_s),
        )

    def __repr__(self) -> str:
        return f"GateioSpotBroker({self._client!r})"

    async def open(self) -> None:
        """Warm the connections, load the pairs, keep them fresh. Raises Unavailable."""
        try:
            await self._client.open()
            await self.instruments()
        except NoAnswer as why:
            await self._client.close()
            raise Unavailable(f"Gate.io did not answer: {why}") from why
        except BaseException:
            await self._client.close()
            raise
        if not self._refreshers:
            self._refreshers = [
                asyncio.create_task(self._table.keep_fresh(), name="gateio-spot-instruments"),
                asyncio.create_task(self._client.time.keep_compared(), name="gateio-spot-time"),
            ]

    async def close(self) -> None:
        tasks, self._refreshers = self._refreshers, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    # -------------------------------------------------------------- orders

    async def turn(self, account: BrokerAccount, *, closes: bool = False) -> None:
        """Of a batch, once for each order."""
        await self._budgets.wait(account.account_id, closes=closes)

    async def submit(self, account: BrokerAccount, order: Order, *, not_after: datetime) -> Outcome:
        """One POST, never a second, with X-Gate-Exptime from after the signature, cut to `not_after`."""
        (outcome,) = await self._submitted(account, [order], not_after, batch=False)
        return outcome

    async def submit_batch(
        self, account: BrokerAccount, orders: Sequence[Order], *, not_after: datetime
    ) -> Sequence[Outcome]:
        """One POST of what can be sent (batches.py); an answer that is unclear is doubt for all of it."""
        return await self._submitted(account, orders, not_after, batch=True)

    async def _submitted(
        self,
        account: BrokerAccount,
        orders: Sequence[Order],
        not_after: datetime,
        *,
        batch: bool,
    ) -> list[Outcome]:
        if account.api_key is None or account.credential is None:
            text = f"account {account.account_id} has no credential"
            return [AuthFailed(kind="key", text=text, left=False) for _ in orders]
        try:
            departure = await self._client.time.depart(not_after)
            decided = await self._decided(account, orders)
            leaving = [one for one in decided if isinstance(one, Sized)]
            if not leaving:
                return [one for one in decided if not isinstance(one, Sized)]
            request = wire.place_batch(leaving) if batch else wire.place(leaving[0])
            headers = await self._client.sign(account, request)
            deadline = self._client.time.deadline(departure)
        except PortcullisError as why:
            # No price, no balance, no signature, or no deadline that would hold: nothing has left.
            return [Unsent(cause=str(why)) for _ in orders]
        headers["X-Gate-Exptime"] = exptime(deadline)
        prepared = Prepared(request, headers, deadline)
        told = iter(
            await self._sent(account, [one.order for one in leaving], prepared, batch=batch)
        )
        return [next(told) if isinstance(one, Sized) else one for one in decided]

    async def _decided(
        self, account: BrokerAccount, orders: Sequence[Order]
    ) -> list[Sized | Outcome]:
        """What is sent of each, or why it is not. Raises PortcullisError where that cannot be told."""
        table = await self.instruments()
        held: dict[str, Decimal] = {}
        if any(sizes.must_know_balance(order) for order in orders):
            held = {one.asset: one.available for one in await self.balances(account)}
        return batches.decided(orders, table, held, self._settings.market_slip)

    async def _sent(
        self,
        account: BrokerAccount,
        leaving: Sequence[Order],
        prepared: Prepared,
        *,
        batch: bool,
    ) -> Sequence[Outcome]:
        try:
            answer = await self._client.send(prepared.request, prepared.headers)
        except NotSent as why:
            return [Unsent(cause=str(why)) for _ in leaving]
        except Exception as why:
            # NoAnswer, or something nobody foresaw: bytes may have left either way.
            return [InDoubt(cause=f"{why}", not_after=prepared.deadline) for _ in leaving]
        now = self._client.time.now()
        hint = rate_hint(answer, now)
        if hint is not None:
            self._budgets.hint(account.account_id, remaining=hint[0], reset_in_s=hint[1])
        judge = batches.Judge(self._pairs.steps, prepared.deadline, now, self._clock_error_s)
        outcomes = judge.each(answer, leaving) if batch else [judge.one(answer, leaving[0])]
        for outcome in outcomes:
            self._noted(account, outcome)
        return outcomes

    def _noted(self, account: BrokerAccount, outcome: Outcome) -> None:
        if isinstance(outcome, RateLimited):
            self._budgets.hint(account.account_id, remaining=0, reset_in_s=outcome.retry_after_s)
        if isinstance(outcome, Rejected) and outcome.code not in labels.REJECTED:
            log.warning(
                "broker_label_unknown", broker=self.name, label=outcome.code, text=outcome.text
            )

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

    async def amend(
        self,
        account: BrokerAccount,
        order: Order,
        *,
        order_qty: Decimal | None,
        price: Decimal | None,
        not_after: datetime,
    ) -> AmendOutcome:
        """One PATCH, never a second; it carries X-Gate-Exptime as a new order does."""
        step = self._pairs.steps.get(order.symbol)
        if step is None or (order_qty is None and price is None):
            return AmendRefused(
                code="nothing_to_amend", text=f"nothing to change in {order.symbol}"
            )
        after = order if order_qty is None else msgspec.structs.replace(order, order_qty=order_qty)
        request = wire.amend(order.symbol, reference(order), order_qty, price)
        try:
            departure = await self._client.time.depart(not_after)
            headers = await self._client.sign(account, request)
            headers["X-Gate-Exptime"] = exptime(self._client.time.deadline(departure))
        except PortcullisError as why:
            return AmendRefused(code="unsent", text=str(why))
        try:
            answer = await self._client.send(request, headers)
        except NotSent as why:
            return AmendRefused(code="unsent", text=str(why))
        except Exception as why:
            return AmendUnknown(cause=f"{why}")
        return answers.amended(answer, after, step)

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

        async def read(request: Request) -> bytes:
            return await self._read(account, request)

        return await statement.fills(read, self._pairs.steps, since, until)

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
        try:
            answer = await self._client.ask(account, request)
        except NoAnswer as why:
            raise Unavailable(f"Gate.io did not answer: {why}") from why
        if answer.status == 200:
            return answer.body
        label, text = label_of(answer)
        raise Unavailable(f"Gate.io refused {request.path}: status {answer.status} {label} {text}")

    async def instruments(self) -> Mapping[str, Instrument]:
        """The pairs, never older than instruments_max_age_s. Raises Unavailable."""
        return await self._table.get()
