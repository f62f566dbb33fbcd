"""May this intent leave now? Asked before each sending of it, and what it waits for meanwhile.

In this order, and each says why an order ends here: its record was durable in time; its deadline; its
account's book agrees with its broker's; the kill switch; nobody wishes it cancelled; the broker answers.
What closes a position has no deadline and passes the gate: it is tried until it is done or somebody
stops it. Nothing here has sent anything, so whatever ends an order here has certainly not arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from uuid import UUID

import msgspec
import structlog

from audit.ports import AuditUnavailable
from fanout import metrics
from fanout.breaker import Breakers
from fanout.order import Order, OrdState
from fanout.patience import TURN_MARGIN_S, Patience
from fanout.ports import Broker, BrokerAccount
from fanout.reconcile_gate import CODE, ReconcileGate
from fanout.retries import Tries, Unwanted
from fanout.switch import Switch, opens
from tenancy.clock import Clock
from tenancy.scope import TenantScope

log = structlog.get_logger()


class Ending(msgspec.Struct, frozen=True):
    """Why an intent is not sent (any more)."""

    state: OrdState
    code: str
    text: str
    intervention_id: UUID | None = None


class Clearance:
    """What is asked of an intent before it leaves."""

    def __init__(
        self,
        clock: Clock,
        patience: Patience,
        switch: Switch,
        breakers: Breakers,
        unwanted: Unwanted,
        gate: ReconcileGate | None,
    ) -> None:
        self._clock = clock
        self._patience = patience
        self._switch = switch
        self._breakers = breakers
        self._unwanted = unwanted
        self._gate = gate

    def __repr__(self) -> str:
        return f"Clearance({self._breakers!r}, {self._gate!r})"

    async def at_first(
        self, scope: TenantScope, order: Order, epoch: int, waited_s: float
    ) -> Ending | None:
        """What is asked once. Waits for the account's agreement, no longer than the order's deadline."""
        if opens(order) and waited_s > self._patience.durable_within_s:
            metrics.AUDIT_REFUSED.inc()
            text = f"its audit record was durable only after {waited_s:.1f} s"
            return Ending(OrdState.UNSENT, AuditUnavailable.code, text)
        if self.is_too_late(order):
            return _TOO_LATE
        return await self._gated(scope, order, epoch)

    async def before_sending(
        self, scope: TenantScope, order: Order, epoch: int, tries: Tries, rest_s: float
    ) -> Ending | None:
        """What is asked each time. None: nothing speaks against it. Raises LeaseLost."""
        if (stopped := await self._stopped(scope, order, epoch)) is not None:
            return stopped
        if tries.count > 0 and await self._unwanted(scope, order):
            text = f"its cancel was wished before it could be sent ({tries.because()})"
            return Ending(OrdState.UNSENT, "canceled", text)
        if self.is_too_late(order):
            return _TOO_LATE
        if rest_s > 0 and self.is_too_late(order, rest_s):
            text = "the broker does not answer, and is asked again only after the deadline"
            return Ending(OrdState.DENIED, "broker_unavailable", text)
        return None

    async def _stopped(self, scope: TenantScope, order: Order, epoch: int) -> Ending | None:
        """What the kill switch says. The gate had let through to it what it refused; where it has been released
        since, the order waits at the gate like any other."""
        while True:
            if (refused := await self._switch.refusal(order)) is not None:
                return Ending(
                    OrdState.DENIED, refused.reason.value, refused.words, refused.intervention_id
                )
            if self._gate is None or self._gate.is_open(order, epoch):
                return None
            if (ended := await self._gated(scope, order, epoch)) is not None:
                return ended

    async def _gated(self, scope: TenantScope, order: Order, epoch: int) -> Ending | None:
        """Wait for the account's agreement, no longer than the order's deadline."""
        if self._gate is None or await self._gate.passes(scope, order, epoch):
            return None
        metrics.GATED.inc()
        why = self._gate.why(order.account_id)
        text = f"the account's book was not known to agree with its broker's: {why}"
        return Ending(OrdState.UNSENT, CODE, text)

    def is_too_late(self, order: Order, in_s: float = 0.0) -> bool:
        """Whether what opens would come after its deadline. What closes has none."""
        return not order.reduce_only and (
            self._clock.now() + timedelta(seconds=in_s) > order.deadline
        )

    def rest_s(self, order: Order, tries: Tries) -> float:
        """For how long the order has to wait still: for its own pause, or for a broker that answers."""
        mono = self._clock.monotonic()
        return max(tries.rest_s(mono), self._breakers.pause_s(order, mono))

    def begin_pause(self, order: Order, tries: Tries, rest_s: float) -> float:
        """Say that it waits, where that is news; for how long, until one looks around again: a halt or a
        deadline ends the longest rest."""
        own_s = tries.rest_s(self._clock.monotonic())
        why = tries.because() if tries.last is not None and own_s >= rest_s else "breaker"
        if tries.news(why):
            log.warning(
                "order_waits", cl_ord_id=order.cl_ord_id, broker=order.broker, why=why,
                last=repr(tries.last), again_in_s=round(rest_s, 1),
            )  # fmt: skip
        return min(rest_s, self._patience.unsent_most_s)

    async def turn(self, broker: Broker, account: BrokerAccount, order: Order) -> None:
        """A place within the broker's limits; who opens waits no longer than to its deadline."""
        if order.reduce_only:
            await broker.turn(account, closes=True)
            return
        left_s = (order.deadline - self._clock.now()).total_seconds()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, left_s) + TURN_MARGIN_S):
                await broker.turn(account)


_TOO_LATE = Ending(OrdState.UNSENT, "too_late", "its deadline passed before it could be sent")
