"""Carry one order to its broker, at most once.

1. The intent is durable before this begins (fanout/intend.py); the lease covers the request.
2. Place the order: one request, one outcome.
3. Record what was learned. Only then is the next order of the lane looked at.
4. In doubt: the lane stands still here and asks, until the broker has said. Never sent blindly:
   a new attempt, with a new ClOrdID, only after ABSENT_PROVEN and inside the deadline.

A crash after step 1 leaves an intent without an outcome. That is doubt, whichever step it fell
in: whoever takes the partition begins at step 4 (`resolve`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

import msgspec
import structlog
from opentelemetry.trace import SpanKind

from fanout import metrics
from fanout.asking import Asking
from fanout.breaker import Breakers, BreakerSettings
from fanout.clearance import Clearance, Ending
from fanout.crowd import Crowd
from fanout.doubt_rows import UNSETTLED, Decision
from fanout.doubts import Doubting, Unseen
from fanout.learner import Learner
from fanout.leases import LeaseLost, Leases
from fanout.lesson import Consequence, Lesson
from fanout.order import Order, OrdState, cl_ord_id
from fanout.patience import LEASE_MARGIN_S as LEASE_MARGIN_S
from fanout.patience import Patience as Patience
from fanout.ports import (
    AbsentProven,
    Acked,
    AuthFailed,
    Broker,
    BrokerAccount,
    CancelDone,
    Found,
    InDoubt,
    Outcome,
    Rejected,
    Report,
)
from fanout.reconcile_gate import ReconcileGate
from fanout.retries import Tries, Unwanted, nobody_wishes, refusal, until_s
from fanout.switch import Switch
from fanout.trace import ASKS_TRACED, inside, now_ns, say, told, unseen
from tenancy.clock import Clock
from tenancy.pause import pause
from tenancy.scope import TenantScope

log = structlog.get_logger()


class Carrier:
    """Sends orders and settles doubt. Knows lanes' rules, but not their queues."""

    def __init__(
        self,
        brokers: Mapping[str, Broker],
        leases: Leases,
        learner: Learner,
        clock: Clock,
        patience: Patience,
        switch: Switch,
        current: Callable[[BrokerAccount], BrokerAccount] = lambda account: account,
        breakers: Breakers | None = None,
        unwanted: Unwanted = nobody_wishes,
        gate: ReconcileGate | None = None,
        doubts: Doubting = Unseen(),  # noqa: B008 - it holds nothing
        crowd: Crowd | None = None,
    ) -> None:
        """`current`: the account as it is now, each time that its broker is spoken to: a credential
        may be replaced while an order rests or is in doubt. `unwanted`: whether somebody wishes an
        order cancelled; asked before it is sent again. `gate`: nothing opens on an account before its
        book agrees with its broker's. `doubts`: who shows people what is in doubt, and knows what they decided.
        `crowd` is told of each request while it is under way.
        """
        self._crowd = crowd or Crowd()
        self._breakers = breakers or Breakers(BreakerSettings())
        self._doubts = doubts
        self.asking = Asking(brokers, current)
        self._current = current
        self._brokers = brokers
        self._leases = leases
        self._learner = learner
        self._clock = clock
        self._patience = patience
        self._clearance = Clearance(clock, patience, switch, self._breakers, unwanted, gate)

    def waited_s(self, order: Order) -> float:
        """How long ago the order's intent was begun to be written: asked when it is durable."""
        return (self._clock.now() - order.intent_at).total_seconds()

    async def send(
        self, scope: TenantScope, account: BrokerAccount, order: Order, *, epoch: int,
        waited_s: float = 0.0,
    ) -> Consequence:  # fmt: skip
        """Place an intent of ours that has not been sent. Raises LeaseLost before any byte leaves.

        `waited_s`: how long its record took to be durable. Too long, and an order that opens is not
        sent (`audit_unavailable`); one that closes goes on.
        """
        broker, clear = self._brokers[order.broker], self._clearance
        if (ended := await clear.at_first(scope, order, epoch, waited_s)) is not None:
            return await self._end(scope, order, ended)
        tries = Tries(self._patience.unsent_first_s, self._patience.unsent_most_s)
        while True:
            rest_s = clear.rest_s(order, tries)
            if rest_s <= 0:
                await clear.turn(broker, account, order)
            if (
                ended := await clear.before_sending(scope, order, epoch, tries, rest_s)
            ) is not None:
                return await self._end(scope, order, ended)
            not_after = self._leases.require(
                order.part, epoch, broker.request_timeout_s + LEASE_MARGIN_S
            )
            if (rest_s := clear.rest_s(order, tries)) > 0:
                pause_s = clear.begin_pause(order, tries, rest_s)
                with metrics.ORDERS_WAITING.labels(order.broker, tries.why).track_inprogress():
                    await asyncio.sleep(pause_s)
                continue
            sent_at = self._clock.now()
            self._breakers.enter(order, self._clock.monotonic())
            outcome = await self._submit(broker, account, order, not_after)
            mono, now = self._clock.monotonic(), self._clock.now()
            self._breakers.heard(order, outcome, mono, until_s(outcome, now))
            again_in_s = tries.sent(outcome, mono, now)
            if again_in_s is None or clear.is_too_late(order, again_in_s):
                break
            if order.reduce_only:  # tried without end, but for a person's word
                self._doubts.begin(scope, order, "stuck")
                self._doubts.tried(order, refusal(outcome)[1])
                if (decision := self._doubts.decision(order)) is not None:
                    return await self._learn(
                        scope, order, state=OrdState.UNSENT, code="stopped", text=decision.words,
                        decision=decision, epoch=epoch,
                    )  # fmt: skip
        return await self._record(scope, account, order, outcome, sent_at, epoch)

    async def _end(self, scope: TenantScope, order: Order, ending: Ending) -> Consequence:
        return await self._learn(
            scope, order, state=ending.state, code=ending.code, text=ending.text,
            intervention_id=ending.intervention_id,
        )  # fmt: skip

    async def resolve(
        self,
        scope: TenantScope,
        account: BrokerAccount,
        order: Order,
        *,
        sent_by: datetime,
        epoch: int,
    ) -> Consequence:
        """Ask the broker about an order that may or may not exist, until it is known.

        Raises LeaseLost when the partition is not ours any more: its new owner asks then.
        """
        broker = self._brokers[order.broker]
        wait = self._patience.doubt_first_s
        asked = 0
        with metrics.IN_DOUBT.track_inprogress(), self.asking.doubted(order, account) as hurried:
            self._doubts.begin(scope, order, "in_doubt", hurried.set)
            while True:
                self._leases.require(order.part, epoch)
                decision = self._doubts.decision(order)  # the broker is asked once more behind it
                with inside("order.find") if asked < ASKS_TRACED else unseen(order.traceparent):
                    answer = await self.asking.find(
                        account, order, sent_by=sent_by, anew=decision is not None
                    )
                asked += 1
                if isinstance(answer, Found):
                    return await self._learn(
                        scope, order, report=answer.report, epoch=self._fence(broker, epoch)
                    )
                if isinstance(answer, AbsentProven):
                    return await self._absent(scope, order, answer, epoch)
                if decision is not None and decision.verdict != "stop":
                    return await self._decided(scope, order, decision, epoch)
                self._doubts.tried(order, answer.why)
                log.warning(
                    "order_in_doubt",
                    cl_ord_id=order.cl_ord_id,
                    broker=order.broker,
                    asked=asked,
                    why=answer.why,
                )
                await pause(hurried, wait)
                hurried.clear()
                wait = min(wait * 2, self._patience.doubt_most_s)

    def ask_ahead(
        self, account: BrokerAccount, order: Order, *, sent_by: datetime, epoch: int
    ) -> None:
        """Its turn to be resolved comes soon: begin to ask (`asking.forget` where it does not come).

        Without the lease nothing is asked: `resolve` says why.
        """
        with contextlib.suppress(LeaseLost):
            self._leases.require(order.part, epoch)
            self.asking.ahead(account, order, sent_by)

    async def cancel(
        self, scope: TenantScope, account: BrokerAccount, order: Order, *, epoch: int
    ) -> Consequence | None:
        """Cancel an open order; None where the answer says nothing clear.

        Cancelling twice does no harm: who follows the order repeats it until the order is final.
        """
        broker = self._brokers[order.broker]
        outcome = await broker.cancel(self._current(account), order)
        if isinstance(outcome, CancelDone):
            fence = self._fence(broker, epoch)
            return await self._learn(scope, order, report=outcome.report, epoch=fence)
        log.info("cancel_without_effect", cl_ord_id=order.cl_ord_id, outcome=repr(outcome))
        return None

    async def look(
        self, scope: TenantScope, account: BrokerAccount, order: Order, *, epoch: int
    ) -> Consequence | None:
        """Ask for news of an acknowledged order; None where there is no answer or no news."""
        broker = self._brokers[order.broker]
        answer = await broker.find(self._current(account), order, sent_by=order.intent_at)
        if isinstance(answer, Found):
            fence = self._fence(broker, epoch)
            return await self._learn(scope, order, report=answer.report, epoch=fence)
        if isinstance(answer, AbsentProven) and order.cum_qty == 0:
            return await self._learn(
                scope, order, state=OrdState.CANCELED, text="no longer at the broker, unfilled"
            )
        return None

    async def _submit(
        self, broker: Broker, account: BrokerAccount, order: Order, not_after: datetime
    ) -> Outcome:
        said = {"cl_ord_id": order.cl_ord_id, "broker": order.broker}
        begun_ns = now_ns()
        with (
            inside("order.submit", said, kind=SpanKind.CLIENT) as span,
            metrics.SUBMIT_SECONDS.labels(order.broker).time(),
            self._crowd.one(),
        ):
            try:
                outcome = await broker.submit(self._current(account), order, not_after=not_after)
            except Exception as error:  # an adapter's mistake: what cannot be classified is doubt
                log.exception("adapter_raised", broker=order.broker, cl_ord_id=order.cl_ord_id)
                outcome = InDoubt(cause=f"{type(error).__name__} in the adapter", not_after=None)
            what, recorded = type(outcome).__name__, span.is_recording()
            say(span, {"outcome": what})
        if not recorded and not isinstance(outcome, Acked):  # one of many, and worth its span
            told(
                order.traceparent, "order.submit", said, begun_ns=begun_ns, kind=SpanKind.CLIENT,
                error=what,
            )  # fmt: skip
        metrics.ORDERS.labels(order.broker, what).inc()
        return outcome

    async def _record(
        self,
        scope: TenantScope,
        account: BrokerAccount,
        order: Order,
        outcome: Outcome,
        sent_at: datetime,
        epoch: int,
    ) -> Consequence:
        now = self._clock.now()
        if isinstance(outcome, Acked):
            fence = self._fence(self._brokers[order.broker], epoch)
            return await self._learn(
                scope, order, report=outcome.report, sent_at=sent_at, acked_at=now, epoch=fence,
                left=True,
            )  # fmt: skip
        if isinstance(outcome, InDoubt):
            doubtful = await self._learn(
                scope,
                order,
                state=OrdState.IN_DOUBT,
                text=outcome.cause,
                raw=outcome.raw,
                sent_at=sent_at,
                left=True,
            )
            return await self.resolve(scope, account, doubtful.order, sent_by=now, epoch=epoch)
        code, text, state = refusal(outcome)
        return await self._learn(
            scope, order, state=state, code=code, text=text, sent_at=sent_at, acked_at=now,
            credential_failed=isinstance(outcome, AuthFailed),
            left=isinstance(outcome, Rejected | AuthFailed) and outcome.left,
        )  # fmt: skip

    async def _absent(
        self, scope: TenantScope, order: Order, proof: AbsentProven, epoch: int,
        decision: Decision | None = None,
    ) -> Consequence:  # fmt: skip
        now = self._clock.now()
        again = order.reduce_only or now < order.deadline
        successor = None
        if again and order.attempt < self._patience.attempts_max:
            attempt = order.attempt + 1
            successor = msgspec.structs.replace(
                order,
                attempt=attempt,
                cl_ord_id=cl_ord_id(order.order_id, attempt),
                state=OrdState.INTENT,
                intent_at=now,
                epoch=epoch,
            )
        return await self._learn(
            scope,
            order,
            state=OrdState.ABSENT,
            text=proof.evidence,
            successor=successor,
            decision=decision,
            epoch=epoch,  # what was heard is a fact; another attempt is for the lane's owner to make
        )

    async def _decided(
        self, scope: TenantScope, order: Order, decision: Decision, epoch: int
    ) -> Consequence:
        """What a person has said in their broker's place, who has just once more said nothing."""
        if decision.verdict == "absent":
            proof = AbsentProven(evidence=decision.words)
            return await self._absent(scope, order, proof, epoch, decision)
        return await self._learn(
            scope, order, report=decision.report(), decision=decision, epoch=epoch
        )

    async def _learn(
        self,
        scope: TenantScope,
        order: Order,
        *,
        report: Report | None = None,
        state: OrdState | None = None,
        code: str = "",
        text: str = "",
        raw: bytes = b"",
        sent_at: datetime | None = None,
        acked_at: datetime | None = None,
        successor: Order | None = None,
        epoch: int | None = None,
        credential_failed: bool = False,
        intervention_id: UUID | None = None,
        left: bool = False,
        decision: Decision | None = None,
    ) -> Consequence:
        consequence = await self._learner.learn(
            scope,
            Lesson(
                order=order,
                learned_at=self._clock.now(),
                report=report,
                state=state,
                code=code,
                text=text,
                raw=raw,
                sent_at=sent_at,
                acked_at=acked_at,
                successor=successor,
                epoch=epoch,
                credential_failed=credential_failed,
                intervention_id=intervention_id,
                left=left,
                in_doubt=self._doubts.knows(order),
                decision=decision,
            ),
        )
        if consequence.order.state not in UNSETTLED:
            self._doubts.forget(order)
        return consequence

    @staticmethod
    def _fence(broker: Broker, epoch: int) -> int | None:
        """A broker that lives in our process: the next owner found nothing of this and sent again."""
        return None if broker.caps.remembers else epoch
