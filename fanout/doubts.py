"""What is in doubt in this worker's lanes: written down for people, and decided by them where they must.

A lane that stands still says here what it tried, is woken from here once a person has decided, and
looks here what. Nothing of it is on the way of an order that goes well.

1. *Tried.* Kept in memory; `run` writes it down for all at once, each attempt at most every
   `WRITE_EVERY` looks. PostgreSQL away: it is written later, and no lane waits for that.
2. *Decided.* `run` reads what people decided about the attempts in hand, wakes their lanes, and no
   more: the lane asks its broker once more first, carries the decision out under its lease, and
   writes it as any lesson. *Crash before: the decision waits, and who takes the lane finds it.*
3. *Told.* What is in doubt for longer than `OLD_S` is a record that people can be told of, once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from audit.inbox import append
from fanout import doubt_rows, metrics
from fanout.doubt_rows import Decision, DoubtKind, Tried
from fanout.leases import Leases
from fanout.order import Order
from tenancy.clock import Clock
from tenancy.database import Database
from tenancy.errors import PortcullisError
from tenancy.pause import pause
from tenancy.scope import TenantScope
from tenancy.values import TenantID

log = structlog.get_logger()

LOOK_S = 0.5
WRITE_EVERY = 4
"""Looks between two writes of one attempt."""
STUCK_S = 5.0
"""An order that closes and cannot be sent is shown to people after so long."""
OLD_S = 60.0
"""Doubt that is older is told to people."""
LONGEST_ANSWER = 2000


Wake = Callable[[], None]


def nobody_waits() -> None:
    """The `Wake` of who looks by itself, and often enough."""


class Doubting(Protocol):
    """What a lane needs of whoever keeps its doubt."""

    def begin(
        self, scope: TenantScope, order: Order, kind: DoubtKind, wake: Wake = nobody_waits
    ) -> None:
        """From now on a person may be shown this attempt. `wake` is called once one has decided."""

    def knows(self, order: Order) -> bool:
        """Whether it began and was not forgotten."""

    def tried(self, order: Order, answer: str) -> None:
        """One question, or one try to send, that settled nothing. Never waits."""

    def decision(self, order: Order) -> Decision | None:
        """What a person has decided, as far as it is known here."""

    def forget(self, order: Order) -> None:
        """It is settled, or not ours any more."""


class Unseen:
    """Nobody looks: lanes in tests, and wherever no person could decide."""

    def begin(
        self, scope: TenantScope, order: Order, kind: DoubtKind, wake: Wake = nobody_waits
    ) -> None:
        return None

    def knows(self, order: Order) -> bool:
        return False

    def tried(self, order: Order, answer: str) -> None:
        return None

    def decision(self, order: Order) -> Decision | None:
        return None

    def forget(self, order: Order) -> None:
        return None


class _InHand:
    """One attempt that some lane of ours asks about, or tries to send."""

    def __init__(
        self, scope: TenantScope, order: Order, kind: DoubtKind, since: datetime, wake: Wake
    ) -> None:
        self.scope, self.order, self.kind, self.since, self.wake = scope, order, kind, since, wake
        self.asked = 0
        self.asked_at = since
        self.answer = ""
        self.written_at: datetime | None = None
        self.decision: Decision | None = None


class Doubts:
    """The attempts of this worker that are in doubt, or stuck."""

    def __init__(
        self, database: Database, leases: Leases, clock: Clock, *, look_s: float = LOOK_S,
        stuck_s: float = STUCK_S, old_s: float = OLD_S,
    ) -> None:  # fmt: skip
        self._database = database
        self._leases = leases
        self._clock = clock
        self._look_s = look_s
        self._between = timedelta(seconds=look_s * WRITE_EVERY)
        self._stuck = timedelta(seconds=stuck_s)
        self._old = timedelta(seconds=old_s)
        self._hand: dict[str, _InHand] = {}

    def __repr__(self) -> str:
        return f"Doubts({len(self._hand)} in hand)"

    def begin(
        self, scope: TenantScope, order: Order, kind: DoubtKind, wake: Wake = nobody_waits
    ) -> None:
        if (there := self._hand.get(order.cl_ord_id)) is not None:
            there.order, there.kind, there.wake = order, kind, wake
            return
        self._hand[order.cl_ord_id] = _InHand(scope, order, kind, self._clock.now(), wake)

    def knows(self, order: Order) -> bool:
        return order.cl_ord_id in self._hand

    def tried(self, order: Order, answer: str) -> None:
        if (one := self._hand.get(order.cl_ord_id)) is not None:
            one.asked += 1
            one.asked_at, one.answer = self._clock.now(), answer[:LONGEST_ANSWER]

    def decision(self, order: Order) -> Decision | None:
        one = self._hand.get(order.cl_ord_id)
        return None if one is None else one.decision

    def forget(self, order: Order) -> None:
        self._hand.pop(order.cl_ord_id, None)

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop. While nothing is in doubt it costs no statement."""
        while not stop.is_set():
            await self.look()
            await pause(stop, self._look_s)

    async def look(self) -> None:
        """Write what was tried, and read what was decided. An error costs this one look."""
        for one in [o for o in self._hand.values() if not self._leases.holds(o.order.part)]:
            self.forget(one.order)  # its new owner asks, writes and looks
        now = self._clock.now()
        ages = [(now - one.since).total_seconds() for one in self._hand.values() if self._seen(one)]
        metrics.DOUBT_OLDEST.set(max(ages, default=0.0))
        by_tenant: dict[TenantID, list[_InHand]] = defaultdict(list)
        for one in self._hand.values():
            if self._seen(one):
                by_tenant[one.scope.tenant_id].append(one)
        for several in by_tenant.values():
            try:
                await self._of_tenant(several, now)
            except PortcullisError as error:
                log.warning("doubts_wait", error=str(error))
            except Exception:  # what is shown to people must not end a worker
                log.exception("doubts_not_written")

    def _seen(self, one: _InHand) -> bool:
        """In doubt at once after its first answer; stuck after a while."""
        if one.asked == 0 and one.written_at is None:
            return False
        return one.kind == "in_doubt" or self._clock.now() - one.since >= self._stuck

    async def _of_tenant(self, several: list[_InHand], now: datetime) -> None:
        due = [
            (one, one.asked)
            for one in several
            if one.asked and (one.written_at is None or now - one.written_at >= self._between)
        ]
        scope = several[0].scope
        names = {one.order.cl_ord_id: one.order for one in several}
        async with self._database.tenant(scope) as conn:
            await doubt_rows.write_tried(conn, [_row(one, asked) for one, asked in due])
            if due:
                tried = {one.order.cl_ord_id: one.order for one, _ in due}
                old = await doubt_rows.tell_old(conn, tried, now, now - self._old)
                await append(conn, [(scope.tenant_id, entry) for entry in old])
            decided = await doubt_rows.pending(conn, sorted(names))
        for one, asked in due:
            one.asked -= asked
            one.written_at = now
        for one in several:
            decision = decided.get(one.order.cl_ord_id)
            if decision is not None and one.decision is None:
                one.decision = decision
                one.wake()


def _row(one: _InHand, asked: int) -> Tried:
    return Tried(
        cl_ord_id=one.order.cl_ord_id, kind=one.kind, since=one.since, asked=asked,
        asked_at=one.asked_at, answer=one.answer,
    )  # fmt: skip
