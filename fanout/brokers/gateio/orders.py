"""What changes orders at Gate.io futures: place, amend, cancel, one or several, and the countdown.

Every request that could place or change something goes the same way:

1. The lease is reckoned by the clock that nobody sets, and what can be refused here is refused: no
   credential, an order that Gate has not, an account that cannot be made what its settings say
   (arranging.py). Nothing has left.
2. The request is signed, and its X-Gate-Exptime is reckoned after that: the earlier of Gate's time plus
   exptime and the end of the lease (venue_time.py). A failure up to here is Unsent.
3. It is sent once. A connection that could not be made is Unsent, everything else without an answer
   is InDoubt, for a batch all of it.
4. The answer is judged (answers.py, answers_many.py), and its rate headers are passed on.

A crash after 3 leaves the intent's row, and `find` asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import structlog

from fanout.abilities import AmendOutcome, AmendRefused, AmendUnknown
from fanout.brokers.gate import labels
from fanout.brokers.gate.client import NoAnswer, NotSent
from fanout.brokers.gate.reading import Answer
from fanout.brokers.gate.request import Request, Unsupported
from fanout.brokers.gate.venue_time import Departure, exptime
from fanout.brokers.gateio import answers, answers_many, wire
from fanout.brokers.gateio.arranging import Arranger
from fanout.brokers.gateio.limits import Door, learn
from fanout.brokers.gateio.settings import GateioSettings
from fanout.order import Order
from fanout.ports import (
    AuthFailed,
    BrokerAccount,
    CancelOutcome,
    CancelTooLate,
    CancelUnknown,
    InDoubt,
    Outcome,
    RateLimited,
    Rejected,
    Unsent,
)
from tenancy.errors import PortcullisError

log = structlog.get_logger()

BROKER = "gateio"


class Answered(NamedTuple):
    """Gate answered a request that carried this deadline."""

    answer: Answer
    deadline: datetime


def no_credential(account: BrokerAccount) -> AuthFailed | None:
    if account.api_key is not None and account.credential is not None:
        return None
    text = f"account {account.account_id} has no credential"
    return AuthFailed(kind="key", text=text, left=False)


def not_gates(why: Unsupported) -> Rejected:
    """Not Gate's word but its rules': final, where Unsent would be tried again and again."""
    return Rejected(code=why.code, kind=why.kind, text=f"not sent: {why}", left=False)


class Orders:
    """The numbered steps above."""

    def __init__(self, door: Door, settings: GateioSettings, arranger: Arranger) -> None:
        self._door = door
        self._client = door.client
        self._settle = settings.settle
        self._clock_error_s = settings.clock_error_ms / 1000
        self._arranger = arranger

    async def submit(self, account: BrokerAccount, order: Order, *, not_after: datetime) -> Outcome:
        """One POST, never a second."""
        missing = no_credential(account)
        if missing is not None:
            return missing
        try:
            request = wire.place(self._settle, order)
        except Unsupported as why:
            return not_gates(why)
        departure = await self.depart(not_after)
        if isinstance(departure, Unsent):
            return departure
        stopped = await self._arranger.ready(account, order)
        if stopped is not None:
            return stopped
        left = await self.leave(account, request, departure)
        if not isinstance(left, Answered):
            return left
        return self._judged(account, order, left)

    async def submit_batch(
        self, account: BrokerAccount, orders: Sequence[Order], *, not_after: datetime
    ) -> list[Outcome]:
        """One POST of them all. Raises ValueError for none, too many, or a name twice."""
        names = {order.cl_ord_id for order in orders}
        if not 1 <= len(orders) <= wire.BATCH_MAX or len(names) != len(orders):
            raise ValueError(
                f"a batch is 1 to {wire.BATCH_MAX} orders with a name each, got {len(orders)}"
                f" with {len(names)} names"
            )
        missing = no_credential(account)
        if missing is not None:
            return [missing] * len(orders)
        departure = await self.depart(not_after)
        if isinstance(departure, Unsent):
            return [departure] * len(orders)
        stopped = await self._stopped_before(account, orders)
        if stopped is not None:
            return stopped
        request = wire.place_batch(self._settle, orders)
        left = await self.leave(account, request, departure)
        if not isinstance(left, Answered):
            return [left] * len(orders)
        return self._all_judged(account, orders, left)

    async def _stopped_before(
        self, account: BrokerAccount, orders: Sequence[Order]
    ) -> list[Outcome] | None:
        """Gate would refuse all for one that is malformed: so nothing leaves, and each learns why."""
        causes: list[Outcome | None] = []
        for order in orders:
            try:
                wire.place(self._settle, order)
            except Unsupported as why:
                causes.append(not_gates(why))
            else:
                causes.append(await self._arranger.ready(account, order))
        if not any(causes):
            return None
        return [cause or Unsent(cause="another order of its batch cannot go") for cause in causes]

    async def amend(
        self,
        account: BrokerAccount,
        order: Order,
        *,
        order_qty: Decimal | None,
        price: Decimal | None,
        not_after: datetime,
    ) -> AmendOutcome:
        """One PUT, never a second from here; what the change is to leave is what is believed."""
        if (missing := no_credential(account)) is not None:
            return AmendRefused(code="no_credential", text=missing.text)
        try:
            request = wire.amend(self._settle, order, order_qty=order_qty, price=price)
        except Unsupported as why:
            return AmendRefused(code=why.code, text=f"not sent: {why}")
        left: Answered | Unsent | InDoubt | Departure = await self.depart(not_after)
        if isinstance(left, Departure):
            await self._door.limits.placing.wait(account.account_id)
            left = await self.leave(account, request, left)
        if isinstance(left, Unsent):
            return AmendRefused(code="unsent", text=left.cause)
        if isinstance(left, InDoubt):
            return AmendUnknown(cause=left.cause)
        self._learn(account, left.answer)
        wanted = wire.amended(order, order_qty=order_qty, price=price)
        return answers_many.amended(left.answer, wanted)

    # -------------------------------------------------------------- 2. and 3.

    async def depart(self, not_after: datetime) -> Departure | Unsent:
        """The lease's end by a clock that nobody sets: to be reckoned before anything that takes time."""
        try:
            return await self._client.time.depart(not_after)
        except PortcullisError as why:
            return Unsent(cause=str(why))

    async def leave(
        self,
        account: BrokerAccount,
        request: Request,
        departure: Departure,
        *,
        bounded: bool = True,
    ) -> Answered | Unsent | InDoubt:
        """Sign and send once. `bounded`: whether Gate knows a deadline for this kind of request."""
        try:
            headers = await self._client.sign(account, request)
            deadline = self._client.time.deadline(departure)
        except PortcullisError as why:
            # No signature, or no deadline that would hold: the request has not left either way.
            return Unsent(cause=str(why))
        if bounded:
            headers["X-Gate-Exptime"] = exptime(deadline)
        try:
            return Answered(await self._client.send(request, headers), deadline)
        except NotSent as why:
            return Unsent(cause=str(why))
        except Exception as why:
            # NoAnswer, or something nobody foresaw: bytes may have left either way.
            return InDoubt(cause=f"{why}", not_after=deadline if bounded else None)

    # -------------------------------------------------------------- 4.

    def _judged(self, account: BrokerAccount, order: Order, left: Answered) -> Outcome:
        now = self._learn(account, left.answer)
        outcome = answers.outcome(
            left.answer,
            order,
            not_after=left.deadline,
            now=now,
            clock_error_s=self._clock_error_s,
        )
        self._noted(account, outcome)
        return outcome

    def _all_judged(
        self, account: BrokerAccount, orders: Sequence[Order], left: Answered
    ) -> list[Outcome]:
        now = self._learn(account, left.answer)
        outcomes = answers_many.outcomes(
            left.answer,
            orders,
            not_after=left.deadline,
            now=now,
            clock_error_s=self._clock_error_s,
        )
        for outcome in outcomes:
            self._noted(account, outcome)
        return outcomes

    def _learn(self, account: BrokerAccount, answer: Answer) -> datetime:
        now = self._client.time.now()
        learn(self._door.limits.placing, account, answer, now)
        return now

    def _noted(self, account: BrokerAccount, outcome: Outcome) -> None:
        if isinstance(outcome, RateLimited):
            self._door.limits.placing.hint(
                account.account_id, remaining=0, reset_in_s=outcome.retry_after_s
            )
        if isinstance(outcome, Rejected) and outcome.code not in labels.REJECTED:
            log.warning(
                "broker_label_unknown", broker=BROKER, label=outcome.code, text=outcome.text
            )

    # -------------------------------------------------------------- cancelling

    async def cancel(self, account: BrokerAccount, order: Order) -> CancelOutcome:
        request = wire.one_order(self._settle, "DELETE", wire.order_ref(order))
        try:
            answer = await self._door.ask(account, request)
        except (NotSent, NoAnswer) as why:
            return CancelUnknown(cause=str(why))
        outcome = answers.canceled(answer, order)
        if isinstance(outcome, CancelTooLate):
            log.info("cancel_too_late", broker=BROKER, cl_ord_id=order.cl_ord_id, text=outcome.text)
        return outcome

    async def cancel_batch(
        self, account: BrokerAccount, orders: Sequence[Order]
    ) -> list[CancelOutcome]:
        """Up to CANCEL_BATCH_MAX by Gate's own ids; one that Gate never acknowledged has none to cancel by."""
        if not 1 <= len(orders) <= wire.CANCEL_BATCH_MAX:
            raise ValueError(f"1 to {wire.CANCEL_BATCH_MAX} orders, got {len(orders)}")
        ids = [order.broker_order_id for order in orders if order.broker_order_id]
        known: dict[str, CancelOutcome] = {}
        if ids:
            try:
                answer = await self._door.ask(account, wire.cancel_batch(self._settle, ids))
                known = answers_many.canceled(answer, ids)
            except (NotSent, NoAnswer) as why:
                known = {one: CancelUnknown(cause=str(why)) for one in ids}
        unnamed = CancelUnknown(cause="Gate.io gave it no id yet: cancel it by itself")
        return [known.get(order.broker_order_id or "", unnamed) for order in orders]

    async def cancel_all(self, account: BrokerAccount, symbol: str | None) -> bool:
        """Price-triggered and trailing orders stay: they stand behind positions."""
        try:
            answer = await self._door.ask(account, wire.cancel_all(self._settle, symbol))
        except (NotSent, NoAnswer) as why:
            log.warning("cancel_all_unclear", broker=BROKER, error=str(why))
            return False
        return answers_many.all_canceled(answer)

    async def dead_man(self, account: BrokerAccount, seconds: float) -> bool:
        """Whole seconds, rounded down; fewer than COUNTDOWN_LEAST_S Gate has not."""
        whole = int(seconds)
        if seconds and whole < wire.COUNTDOWN_LEAST_S:
            log.warning("countdown_too_short", broker=BROKER, seconds=seconds)
            return False
        try:
            answer = await self._door.ask(account, wire.countdown(self._settle, whole))
        except (NotSent, NoAnswer) as why:
            log.warning("countdown_unclear", broker=BROKER, error=str(why))
            return False
        return answers_many.armed(answer, whole)
