"""What changes something at Gate.io spot: new orders and amendments, each in one request, sent once.

1. Say how long the lease lasts, before anything else is asked (gate/venue_time.py).
2. Decide what is sent of each order (batches.py, sizes.py); a sell that only reduces needs the balance.
3. Sign; reckon X-Gate-Exptime from after the signature, cut to the lease.
4. Send, once. What is not sent for certain is Unsent; what may have left is InDoubt.

A crash before 4 leaves nothing; in or after it the intent is in doubt, and looking.py asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec
import structlog

from fanout.abilities import AmendOutcome, AmendRefused, AmendUnknown, Balance
from fanout.brokers.gate.client import GateClient, NotSent
from fanout.brokers.gate.reading import rate_hint
from fanout.brokers.gate.request import Request
from fanout.brokers.gate.venue_time import exptime
from fanout.brokers.gateio_spot import answers, batches, labels, sizes, wire
from fanout.brokers.gateio_spot.looking import reference
from fanout.brokers.gateio_spot.settings import GateioSpotSettings
from fanout.brokers.gateio_spot.table import PairTable
from fanout.brokers.gateio_spot.wire import Sized
from fanout.budget import Pace
from fanout.order import Order
from fanout.ports import (
    AuthFailed,
    BrokerAccount,
    InDoubt,
    Instrument,
    Outcome,
    RateLimited,
    Rejected,
    Unsent,
)
from tenancy.errors import PortcullisError, Unavailable

log = structlog.get_logger()


class Prepared(msgspec.Struct, frozen=True):
    """A request that may be sent until its deadline, with its headers."""

    request: Request
    headers: dict[str, str]
    deadline: datetime


class Sender:
    """The numbered steps above."""

    def __init__(
        self,
        client: GateClient,
        settings: GateioSpotSettings,
        budgets: Pace,
        pairs: PairTable,
        *,
        instruments: Callable[[], Awaitable[Mapping[str, Instrument]]],
        balances: Callable[[BrokerAccount], Awaitable[Sequence[Balance]]],
    ) -> None:
        """Both questions raise Unavailable."""
        self._client = client
        self._settings = settings
        self._budgets = budgets
        self._pairs = pairs
        self._instruments = instruments
        self._balances = balances
        self._clock_error_s = settings.clock_error_ms / 1000

    async def submit(
        self,
        account: BrokerAccount,
        orders: Sequence[Order],
        not_after: datetime,
        *,
        batch: bool,
    ) -> list[Outcome]:
        """The outcome of each, in their order. Never raises for what broker or network do."""
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
        """What is sent of each, or why it is not. Raises PortcullisError where that cannot be told.

        Within `sign_timeout_s`, so that leases need not outlive a second request.
        """
        try:
            async with asyncio.timeout(self._settings.sign_timeout_s):
                return await self._decide(account, orders)
        except TimeoutError:
            within = f"within {self._settings.sign_timeout_s} s"
            raise Unavailable(f"Gate.io did not tell prices and balance {within}") from None

    async def _decide(
        self, account: BrokerAccount, orders: Sequence[Order]
    ) -> list[Sized | Outcome]:
        table = await self._instruments()
        held: dict[str, Decimal] = {}
        if any(sizes.must_know_balance(order) for order in orders):
            held = {one.asset: one.available for one in await self._balances(account)}
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
                "broker_label_unknown", broker="gateio_spot", label=outcome.code, text=outcome.text
            )

    async def amend(
        self,
        account: BrokerAccount,
        order: Order,
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
