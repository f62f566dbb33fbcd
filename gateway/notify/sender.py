"""One channel's or device's turn: from its place in the log to its receiver, in order, each at least once.

For each message, which is one record or several (gateway/notify/carriers.py):

1. Is the hold still ours, for longer than an attempt takes? Else stop.
2. Send. *Crash after: the next holder sends it again, under the same id; where several records are one
   message, with what came since, and its id says which records those are.*
3. Write down that it is delivered, under the fence. A hold that was lost meanwhile is noticed here:
   somebody else is at the channel, and sends it again.

An attempt that fails ends the turn; the place stays, and the next attempt comes after a pause that
grows. Nothing is skipped for it: what follows waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from audit.record import time_ns, time_text
from gateway.notify import claims, journal, metrics
from gateway.notify.addresses import Lookup, system_lookup
from gateway.notify.carriers import Carrier, Carriers, Messages, NotReady
from gateway.notify.claims import Hold, Source
from gateway.notify.device import Device
from gateway.notify.outcome import Message, Outcome, pause_s
from gateway.notify.secrets import ChannelSecrets
from gateway.notify.settings import NotifySettings
from tenancy.channel import Channel
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.ids import new_id
from tenancy.scope import TenantScope

log = structlog.get_logger()

TURN_S = 30.0


class Sender:
    """What the dispatcher and the test route send with."""

    def __init__(
        self,
        database: Database,
        secrets: ChannelSecrets,
        settings: NotifySettings,
        clock: Clock,
        *,
        chance: Callable[[], float],
        lookup: Lookup = system_lookup,
    ) -> None:
        """`chance`: a number from 0 to 1, for the jitter of pauses."""
        self._database = database
        self._clock = clock
        self._chance = chance
        self._carriers = Carriers(secrets, settings, clock, lookup)
        self.settings = settings
        self.stopping = False
        """Set when the process ends: the attempt under way is the turn's last."""

    async def turn(self, scope: TenantScope, source: Source, target_id: UUID) -> None:
        """Do what there is to do for it, for a while. Raises Unavailable, OutcomeUnknown."""
        async with self._database.tenant(scope) as conn:
            hold = await claims.take(conn, scope, source, target_id, self.settings.lease_s)
        if hold is None:
            return
        due = None
        try:
            async with self._database.tenant(scope) as conn:
                keys = await self._carriers.keys(conn, scope, target_id, hold.target)
        except NotReady as error:
            outcome = Outcome(delivered=False, ours=True, text=str(error))
            await self._settle(hold, outcome, (), 0.0)
            return
        async with self._carriers.way(hold.target, keys, hold.tenant) as carrier:
            due = await self._tell(hold, carrier)
        async with self._database.tenant(scope) as conn:
            if due is None:
                await claims.release(conn, hold)
            else:
                await claims.wait(conn, hold, due)

    async def test(
        self, conn: Connection, scope: TenantScope, target_id: UUID, target: Channel | Device
    ) -> Outcome:
        """Send a test message now, whatever the state is, and say what came of it."""
        now = time_text(self._clock.now_ns())
        name = f"test-{new_id()}"
        body = b'{"id":"%b","type":"test","timestamp":"%b","data":{}}'
        message = Message(name, "test", now, body % (name.encode(), now.encode()), 0)
        row = await (await conn.execute("SELECT name FROM tenants")).fetchone()
        assert row is not None
        try:
            keys = await self._carriers.keys(conn, scope, target_id, target)
        except NotReady as error:
            return Outcome(delivered=False, ours=True, text=str(error))
        async with self._carriers.way(target, keys, row[0]) as carrier:
            return await carrier.send((message,))

    async def _tell(self, hold: Hold, carrier: Carrier) -> datetime | None:
        """Messages, until there are no more, or one fails, or it is enough; when to come back, if known."""
        until = time.monotonic() + TURN_S
        while time.monotonic() < until:
            batch = await self._read(hold, carrier.most)
            for part in carrier.parts(batch.messages):
                if not self._is_held(hold):  # step 1
                    return None
                outcome = await carrier.send(part)  # step 2
                if not await self._settle(hold, outcome, part, carrier.pause_s):  # step 3
                    return None
            if not await self._passed(hold, batch):
                return batch.due or self._idle(carrier)
            if batch.messages and carrier.pause_s:
                return None  # a rest lets the next gather
        return None

    def _idle(self, carrier: Carrier) -> datetime | None:
        """When to look again after a look that found nothing; None: at once."""
        return self._clock.now() + timedelta(seconds=carrier.idle_s) if carrier.idle_s else None

    async def _read(self, hold: Hold, most: int) -> journal.Batch:
        async with self._database.tenant(hold.scope) as conn:
            return await journal.read(
                conn,
                hold,
                most=most,
                now=self._clock.now(),
                backlog_s=self.settings.backlog_s,
            )

    async def _passed(self, hold: Hold, batch: journal.Batch) -> bool:
        """Move the place past what was only looked at. False where the turn is over."""
        if batch.through <= hold.next_index:
            return bool(batch.messages)  # a gap: it was moved past when it was delivered
        async with self._database.tenant(hold.scope) as conn:
            return await claims.skip(conn, hold, batch.through, self.settings.lease_s)

    def _is_held(self, hold: Hold) -> bool:
        """Long enough for one attempt, and nobody asked us to end."""
        if self.stopping:
            return False
        settings = self.settings
        left = hold.held_since + settings.lease_s - time.monotonic()
        return left > settings.timeout_s + settings.connect_timeout_s

    async def _settle(self, hold: Hold, outcome: Outcome, messages: Messages, pause: float) -> bool:
        """Write down what came of an attempt. True where the turn goes on."""
        kind = hold.target.kind
        metrics.ATTEMPTS.labels(kind, _named(outcome)).inc()
        async with self._database.tenant(hold.scope) as conn:
            if outcome.delivered:
                kept = await claims.delivered(
                    conn, hold, messages[-1].after, self.settings.lease_s, pause, self._clock
                )
            else:
                await self._note_failure(conn, hold, outcome)
                kept = False
        for message in messages if outcome.delivered else ():
            late_s = (self._clock.now_ns() - time_ns(message.timestamp)) / 1e9
            metrics.DELAY_SECONDS.observe(max(0.0, late_s))
            metrics.GAPS.inc(message.type == "gap")
        return kept

    async def _note_failure(self, conn: Connection, hold: Hold, outcome: Outcome) -> None:
        state, now = hold.state, self._clock.now()
        if outcome.gone and isinstance(hold.target, Device):
            if await claims.end_device(conn, hold, outcome.text, self._clock):
                metrics.DEVICES_ENDED.inc()
            log.info("push_device_ended", device_id=str(hold.target_id), why=outcome.text)
            return
        if outcome.gone:
            state = "gone"
        elif not outcome.ours and hold.failed_since is not None:
            failed_s = (now - hold.failed_since.astimezone(UTC)).total_seconds()
            state = "failing" if failed_s >= self.settings.failing_after_s else state
        wait_s = pause_s(hold.attempts + 1, outcome, self.settings, self._chance())
        await claims.failed(
            conn, hold, state, outcome.text, pause_s=wait_s, blamed=not outcome.ours,
            clock=self._clock,
        )  # fmt: skip
        log.warning(
            "notification_failed", source=hold.source, id=str(hold.target_id), kind=hold.target.kind,
            why=outcome.text, state=state, attempts=hold.attempts + 1, again_in_s=round(wait_s, 1),
        )  # fmt: skip


def _named(outcome: Outcome) -> str:
    if outcome.delivered:
        return "delivered"
    return "gone" if outcome.gone else "ours" if outcome.ours else "failed"
