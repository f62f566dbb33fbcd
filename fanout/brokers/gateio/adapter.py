"""Gate.io futures as a Broker (fanout/ports.py), for classic one-way accounts.

An order in doubt (`find`), step by step:

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

Thin: hedge mode, unified accounts and price-triggered orders are not spoken; positions of a
hedge-mode account raise Unavailable instead of being netted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import structlog

from fanout.abilities import BrokerFill
from fanout.brokers.gateio import answers, labels, state, statement, wire
from fanout.brokers.gateio.answers import Missing
from fanout.brokers.gateio.client import GateioClient, NoAnswer, NotSent
from fanout.brokers.gateio.proving import GateioProver
from fanout.brokers.gateio.reading import Answer, Unreadable, label_of, rate_hint
from fanout.brokers.gateio.settings import GateioSettings
from fanout.brokers.gateio.table import ContractTable
from fanout.brokers.gateio.venue_time import exptime
from fanout.brokers.sealing import stays_inside
from fanout.budget import Budgets, Pace
from fanout.order import Order, OrdState
from fanout.ports import (
    AbsentProven,
    AbsentUnproven,
    AuthFailed,
    BrokerAccount,
    BrokerPosition,
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

PAGES_MAX = 20
SECOND_LOOK_S = 0.3

Sleep = Callable[[float], Awaitable[None]]


class GateioBroker:
    """Places, cancels, finds and reads at Gate.io futures."""

    name = "gateio"

    def __init__(
        self,
        settings: GateioSettings,
        signer: RequestSigner,
        clock: Clock,
        *,
        sleep: Sleep = asyncio.sleep,
        budgets: Pace | None = None,
    ) -> None:
        """`budgets`: shared with other workers; without it this process counts alone."""
        self._settings = settings
        self._clock = clock
        self._client = GateioClient(settings, signer, clock)
        self._budgets: Pace = budgets or Budgets(
            limit=settings.orders_per_s, window_s=1.0, burst=settings.orders_burst
        )
        self._sleep = sleep
        self._clock_error_s = settings.clock_error_ms / 1000
        self._contracts = ContractTable(self._client, settings, clock, sleep)
        self._refreshers: list[asyncio.Task[None]] = []
        self._prover = GateioProver(self._client, settings.settle, self.instruments)
        # Signing comes first and may be slow; a lease must outlive both.
        self.request_timeout_s = settings.sign_timeout_s + settings.request_timeout_s
        self.caps = Caps(
            ord_types=frozenset(wire.TIF),
            times_in_force=wire.TIF,
            reduce_only=True,
            server_deadline=True,
            unique_client_ids=False,
            equity=True,
            statement=True,
            secret_stays_inside=stays_inside(self.name),
            orders_per_s=float(settings.orders_per_s),
        )

    def __repr__(self) -> str:
        return f"GateioBroker({self._client!r})"

    async def open(self) -> None:
        """Warm the connections, load the contracts, keep them fresh. Raises Unavailable."""
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
                asyncio.create_task(self._contracts.keep_fresh(), name="gateio-instruments"),
                asyncio.create_task(self._client.time.keep_compared(), name="gateio-time"),
            ]

    async def close(self) -> None:
        tasks, self._refreshers = self._refreshers, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    # -------------------------------------------------------------- orders

    async def turn(self, account: BrokerAccount, *, closes: bool = False) -> None:
        """Gate's limit is per user id, which is one account of ours."""
        await self._budgets.wait(account.account_id, closes=closes)

    async def submit(self, account: BrokerAccount, order: Order, *, not_after: datetime) -> Outcome:
        """One POST, never a second. X-Gate-Exptime runs from after the signature.

        It is cut to `not_after`: a process that slept through its lease is refused by Gate. Unsent,
        too, while this host's clock is not known to agree with Gate's: the deadline rests on it.
        """
        if account.api_key is None or account.credential is None:
            text = f"account {account.account_id} has no credential"
            return AuthFailed(kind="key", text=text, left=False)
        try:
            request = wire.place(self._settings.settle, order)
            departure = await self._client.time.depart(not_after)
            headers = await self._client.sign(account, request)
            deadline = self._client.time.deadline(departure)
        except wire.Unsupported as why:
            # Not Gate's word but its rules': final, where Unsent would be tried again and again.
            return Rejected(code=why.code, kind="other", text=f"not sent: {why}", left=False)
        except PortcullisError as why:
            # No signature, or no deadline that would hold: the order has not left either way.
            return Unsent(cause=str(why))
        headers["X-Gate-Exptime"] = exptime(deadline)
        try:
            answer = await self._client.send(request, headers)
        except NotSent as why:
            return Unsent(cause=str(why))
        except Exception as why:
            # NoAnswer, or something nobody foresaw: bytes may have left either way.
            return InDoubt(cause=f"{why}", not_after=deadline)
        return self._judged(account, order, answer, deadline)

    def _judged(
        self, account: BrokerAccount, order: Order, answer: Answer, deadline: datetime
    ) -> Outcome:
        now = self._client.time.now()
        self._pass_hint(account, answer, now)
        outcome = answers.outcome(
            answer, order, not_after=deadline, now=now, clock_error_s=self._clock_error_s
        )
        if isinstance(outcome, RateLimited):
            self._budgets.hint(account.account_id, remaining=0, reset_in_s=outcome.retry_after_s)
        if isinstance(outcome, Rejected) and outcome.code not in labels.REJECTED:
            log.warning(
                "broker_label_unknown", broker=self.name, label=outcome.code, text=outcome.text
            )
        return outcome

    def _pass_hint(self, account: BrokerAccount, answer: Answer, now: datetime) -> None:
        hint = rate_hint(answer, now)
        if hint is not None:
            self._budgets.hint(account.account_id, remaining=hint[0], reset_in_s=hint[1])

    async def cancel(self, account: BrokerAccount, order: Order) -> CancelOutcome:
        request = wire.one_order(self._settings.settle, "DELETE", _reference(order))
        try:
            answer = await self._client.ask(account, request)
        except (NotSent, NoAnswer) as why:
            return CancelUnknown(cause=str(why))
        outcome = answers.canceled(answer, order)
        if isinstance(outcome, CancelTooLate):
            log.info(
                "cancel_too_late", broker=self.name, cl_ord_id=order.cl_ord_id, text=outcome.text
            )
        return outcome

    # -------------------------------------------------------------- doubt

    async def find(self, account: BrokerAccount, order: Order, *, sent_by: datetime) -> Lookup:
        """The numbered steps above; takes at least 300 ms, and the server's deadline, for a no."""
        # 1.
        try:
            first = await self._look(account, order, _reference(order))
        except (NotSent, NoAnswer, Unreadable) as why:
            return AbsentUnproven(why=str(why))
        if isinstance(first, Report):
            return Found(report=first)
        # 2.
        if order.broker_order_id is None:
            try:
                await self._client.time.outlast(sent_by)
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
        request = wire.one_order(self._settings.settle, "GET", reference)
        return answers.looked_up(await self._client.ask(account, request), order)

    async def _look_everywhere(self, account: BrokerAccount, order: Order) -> Report | Missing:
        seen = await self._look(account, order, _reference(order))
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
            request = wire.my_trades(self._settings.settle, order.symbol, page * wire.PAGE)
            answer = await self._client.ask(account, request)
            broker_order_id, count, oldest = answers.own_trade(answer, order)
            if broker_order_id is not None:
                return broker_order_id
            if count < wire.PAGE or oldest is None or oldest < since:
                return None
        raise Unreadable(f"more than {PAGES_MAX * wire.PAGE} trades since the intent")

    # -------------------------------------------------------------- the account

    async def prove(
        self, account: BrokerAccount, *, test_order: str | None, not_after: datetime
    ) -> Proof:
        """proving.py. A lane is not needed: only the test order trades, and it never fills."""
        return await self._prover.prove(account, test_order=test_order, not_after=not_after)

    async def open_orders(self, account: BrokerAccount) -> Sequence[Report]:
        reports: list[Report] = []
        for page in range(PAGES_MAX):
            request = wire.list_open(self._settings.settle, page * wire.PAGE)
            try:
                found = answers.open_reports(await self._read(account, request))
            except Unreadable as why:
                raise Unavailable(f"Gate.io open orders: {why}") from why
            reports += found
            if len(found) < wire.PAGE:
                return reports
        raise Unavailable(f"more than {PAGES_MAX * wire.PAGE} open orders at Gate.io")

    async def fills(
        self, account: BrokerAccount, *, since: datetime, until: datetime
    ) -> Sequence[BrokerFill]:
        """statement.py. An account that was never funded has none."""

        async def read(request: wire.Request) -> bytes:
            return await self._read(account, request, if_unfunded=b"[]")

        return await statement.fills(read, self._settings.settle, since, until)

    async def positions(self, account: BrokerAccount) -> Sequence[BrokerPosition]:
        body = await self._read(
            account, wire.list_positions(self._settings.settle), if_unfunded=b"[]"
        )
        try:
            return state.positions(body)
        except Unreadable as why:
            raise Unavailable(f"Gate.io positions: {why}") from why

    async def equity(self, account: BrokerAccount) -> Equity | None:
        body = await self._read(account, wire.account(self._settings.settle), if_unfunded=b"")
        now = self._clock.now()
        if not body:  # no futures account before the first transfer
            currency = self._settings.settle.upper()
            return Equity(equity=Decimal(0), available=Decimal(0), currency=currency, as_of=now)
        try:
            return state.equity(body, now)
        except Unreadable as why:
            raise Unavailable(f"Gate.io account: {why}") from why

    async def _read(
        self, account: BrokerAccount, request: wire.Request, *, if_unfunded: bytes | None = None
    ) -> bytes:
        try:
            answer = await self._client.ask(account, request)
        except NoAnswer as why:
            raise Unavailable(f"Gate.io did not answer: {why}") from why
        if answer.status == 200:
            return answer.body
        label, text = label_of(answer)
        if label == labels.NEVER_FUNDED and if_unfunded is not None:
            return if_unfunded
        raise Unavailable(f"Gate.io refused {request.path}: status {answer.status} {label} {text}")

    # -------------------------------------------------------------- instruments

    async def instruments(self) -> Mapping[str, Instrument]:
        """The contract table, never older than instruments_max_age_s. Raises Unavailable."""
        return await self._contracts.get()


def _reference(order: Order) -> str:
    """Gate's own id once we know it, else our text."""
    return order.broker_order_id or wire.client_text(order.cl_ord_id)
