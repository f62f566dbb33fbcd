"""One channel's turn: from its place in the log to its receiver, in order, each at least once.

For each record that the channel asked for:

1. Is the hold still ours, for longer than an attempt takes? Else stop.
2. Send. *Crash after: the next holder sends it again, under the same id.*
3. Write down that it is delivered, under the fence. A hold that was lost meanwhile is noticed here:
   somebody else is at the channel, and sends it again under the same id.

An attempt that fails ends the turn; the place stays, and the next attempt comes after a pause that
grows. Nothing is skipped for it: what follows waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from uuid import UUID

import structlog

from audit.record import time_ns, time_text
from gateway.notify import claims, journal, metrics
from gateway.notify.addresses import Lookup, system_lookup
from gateway.notify.claims import Hold
from gateway.notify.mail import LINES_MOST, Letter, Mailer
from gateway.notify.outcome import Message, Outcome, pause_s
from gateway.notify.secrets import ChannelSecrets
from gateway.notify.settings import NotifySettings
from gateway.notify.webhook import Webhook, opened
from tenancy.channel import Channel
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.ids import new_id
from tenancy.scope import TenantScope

log = structlog.get_logger()

BATCH = 50
TURN_S = 30.0
UNSIGNED = "the channel has no secret: POST …/secrets makes one"


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
        self._secrets = secrets
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._lookup = lookup
        self._mailer = Mailer(settings, clock)
        self.stopping = False
        """Set when the process ends: the attempt under way is the turn's last."""

    async def turn(self, scope: TenantScope, channel_id: UUID) -> None:
        """Do what there is to do for the channel, for a while. Raises Unavailable, OutcomeUnknown."""
        lease_s = self._settings.lease_s
        async with self._database.tenant(scope) as conn:
            hold = await claims.take(conn, scope, channel_id, lease_s)
        if hold is None:
            return
        if hold.channel.kind == "webhook":
            await self._webhooks(hold)
        else:
            await self._mail(hold)
        async with self._database.tenant(scope) as conn:
            await claims.release(conn, hold)

    async def test(
        self, conn: Connection, scope: TenantScope, channel_id: UUID, channel: Channel
    ) -> Outcome:
        """Send a test message now, whatever the channel's state is, and say what came of it."""
        now = time_text(self._clock.now_ns())
        name = f"test-{new_id()}"
        body = b'{"id":"%b","type":"test","timestamp":"%b","data":{}}'
        message = Message(name, "test", now, body % (name.encode(), now.encode()), 0)
        if channel.kind == "email":
            row = await (await conn.execute("SELECT name FROM tenants")).fetchone()
            assert row is not None
            return await self._mailer.send(
                Letter(
                    tenant=row[0],
                    channel=channel.name,
                    recipients=channel.recipients,
                    messages=(message,),
                )
            )
        assert channel.url is not None
        secrets = await self._secrets.live(conn, scope, channel_id)
        if not secrets:
            return Outcome(delivered=False, ours=True, text=UNSIGNED)
        async with opened(channel.url, self._settings, self._clock, self._lookup) as webhook:
            return await webhook.send(message, secrets)

    async def _webhooks(self, hold: Hold) -> None:
        secrets = await self._open_secrets(hold)
        if secrets is None:
            return
        assert hold.channel.url is not None
        until = time.monotonic() + TURN_S
        async with opened(hold.channel.url, self._settings, self._clock, self._lookup) as webhook:
            while time.monotonic() < until:
                batch = await self._read(hold, BATCH)
                for message in batch.messages:
                    if not await self._sent(hold, webhook, message, secrets):
                        return
                if not await self._passed(hold, batch):
                    return

    async def _sent(
        self, hold: Hold, webhook: Webhook, message: Message, secrets: list[bytes]
    ) -> bool:
        """Steps 1 to 3. False where the turn is over."""
        if not self._is_held(hold):
            return False
        outcome = await webhook.send(message, secrets)
        return await self._settle(hold, outcome, (message,), 0.0)

    async def _mail(self, hold: Hold) -> None:
        """One digest of all that there is by now. Its pause lets the next gather."""
        batch = await self._read(hold, LINES_MOST)
        while not batch.messages:
            if not await self._passed(hold, batch):
                return
            batch = await self._read(hold, LINES_MOST)
        if not self._is_held(hold):
            return
        letter = Letter(
            tenant=hold.tenant,
            channel=hold.channel.name,
            recipients=hold.channel.recipients,
            messages=batch.messages,
        )
        outcome = await self._mailer.send(letter)
        if await self._settle(hold, outcome, batch.messages, self._settings.mail_pause_s):
            await self._passed(hold, batch)

    async def _open_secrets(self, hold: Hold) -> list[bytes] | None:
        try:
            async with self._database.tenant(hold.scope) as conn:
                secrets = await self._secrets.live(conn, hold.scope, hold.channel_id)
            text = "" if secrets else UNSIGNED
        except Exception as error:  # a library's own text is not trusted with a secret nearby
            secrets, text = [], f"the secret could not be opened: {type(error).__name__}"
        if text:
            await self._settle(hold, Outcome(delivered=False, ours=True, text=text), (), 0.0)
            return None
        return secrets

    async def _read(self, hold: Hold, most: int) -> journal.Batch:
        async with self._database.tenant(hold.scope) as conn:
            return await journal.read(
                conn,
                hold,
                most=most,
                now=self._clock.now(),
                backlog_s=self._settings.backlog_s,
            )

    async def _passed(self, hold: Hold, batch: journal.Batch) -> bool:
        """Move the place past what was only looked at. False where the turn is over."""
        if batch.through <= hold.next_index:
            return bool(batch.messages)  # a gap: it was moved past when it was delivered
        async with self._database.tenant(hold.scope) as conn:
            return await claims.skip(conn, hold, batch.through, self._settings.lease_s)

    def _is_held(self, hold: Hold) -> bool:
        """Long enough for one attempt, and nobody asked us to end."""
        if self.stopping:
            return False
        settings = self._settings
        left = hold.held_since + settings.lease_s - time.monotonic()
        return left > settings.timeout_s + settings.connect_timeout_s

    async def _settle(
        self, hold: Hold, outcome: Outcome, messages: tuple[Message, ...], pause: float
    ) -> bool:
        """Write down what came of an attempt. True where the turn goes on."""
        kind = hold.channel.kind
        metrics.ATTEMPTS.labels(kind, _named(outcome)).inc()
        async with self._database.tenant(hold.scope) as conn:
            if outcome.delivered:
                kept = await claims.delivered(
                    conn, hold, messages[-1].after, self._settings.lease_s, pause, self._clock
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
        if outcome.gone:
            state = "gone"
        elif not outcome.ours and hold.failed_since is not None:
            failed_s = (now - hold.failed_since.astimezone(UTC)).total_seconds()
            state = "failing" if failed_s >= self._settings.failing_after_s else state
        wait_s = pause_s(hold.attempts + 1, outcome, self._settings, self._chance())
        await claims.failed(
            conn, hold, state, outcome.text, pause_s=wait_s, blamed=not outcome.ours,
            clock=self._clock,
        )  # fmt: skip
        log.warning(
            "notification_failed", channel_id=str(hold.channel_id), kind=hold.channel.kind,
            why=outcome.text, state=state, attempts=hold.attempts + 1, again_in_s=round(wait_s, 1),
        )  # fmt: skip


def _named(outcome: Outcome) -> str:
    if outcome.delivered:
        return "delivered"
    return "gone" if outcome.gone else "ours" if outcome.ours else "failed"
