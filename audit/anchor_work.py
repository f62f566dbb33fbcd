"""The recorder's third task: one anchor after the other, beside sequencing and integration.

What may happen to it: no signer → this anchor is published with the next; no witness → an alarm and no more;
a witness that refuses → the halt's row and record first (what stops trading must not be lost with this
process), then the log is left alone; database or disk → the session ends, as for everything in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from audit import halts, metrics
from audit.anchoring import Anchoring, AnchorSettings
from audit.integrator import Integrator, SignerUnavailable
from audit.logs import Log, Signed, read_tail
from audit.malformed import Malformed
from audit.ports import LogHalted
from tenancy.clock import Clock
from tenancy.clock_quality import Quality
from tenancy.database import Connection, Database
from tenancy.pause import pause

LOOK_EVERY_S = 0.25
"""For an anchor log that was just made, or that two people let go on."""

log_event = structlog.get_logger()

Keep = Callable[[Log, Signed], Awaitable[None]]


class AnchorWork:
    """Lives as long as one database session of the recorder, and writes its rows in it."""

    def __init__(
        self,
        conn: Connection,
        one_at_a_time: asyncio.Lock,
        settings: AnchorSettings | None,
        clock: Clock,
        quality: Callable[[], Quality],
    ) -> None:
        """`conn` holds the recorder's lock; `one_at_a_time`: its one transaction at a time."""
        self._conn = conn
        self._one_at_a_time = one_at_a_time
        self._settings = settings
        self._clock = clock
        self._quality = quality
        self._anchoring: Anchoring | None = None

    @property
    def asked_for(self) -> bool:
        return self._settings is not None

    async def take(self, integrator: Integrator) -> None:
        """Begin to write this anchor log; it was just opened. The caller holds the lock."""
        assert self._settings is not None
        tail = await read_tail(self._conn, integrator.log)
        anchoring = Anchoring(integrator, tail, self._settings, self._clock, self._quality)
        await anchoring.load(self._conn)
        self._anchoring = anchoring

    def leave(self) -> None:
        """It is halted."""
        self._anchoring = None

    async def run(
        self,
        stop: asyncio.Event,
        database: Database,
        logs: Callable[[], Sequence[Integrator]],
        keep: Keep,
        drop: Callable[[Log, str], None],
    ) -> None:
        """Until `stop`. `logs`: what is anchored, as it is then; `drop`: the recorder halts the log."""
        while not stop.is_set():
            anchoring = self._anchoring
            if anchoring is None:
                await pause(stop, LOOK_EVERY_S)
                continue
            log = anchoring.integrator.log
            try:
                await self._once(anchoring, database, logs(), keep)
            except SignerUnavailable as error:
                metrics.SIGNER_FAILURES.inc()
                log_event.warning("audit_anchor_not_signed", why=str(error))
            except halts.Refused as error:
                await self._refuse(log, error)
                drop(log, str(error))
                continue
            except (LogHalted, Malformed) as error:
                drop(log, str(error))
                continue
            await anchoring.rest(stop)

    async def _once(
        self, anchoring: Anchoring, database: Database, logs: Sequence[Integrator], keep: Keep
    ) -> None:
        """audit/anchoring.py, steps 1 to 5."""
        heads = [(each.log, each.head) for each in logs if each.size]
        async with self._one_at_a_time:
            made = await anchoring.write(self._conn, heads)
        integrator = anchoring.integrator
        while integrator.size < anchoring.tail.size:
            async with database.connection() as reading:
                await integrator.publish(reading, keep, anchoring.cosign)
            async with self._one_at_a_time:
                await anchoring.keep_lines(self._conn)
        await anchoring.show(made, {each.log.log_id: each.store for each in logs})

    async def _refuse(self, log: Log, error: halts.Refused) -> None:
        async with self._one_at_a_time, self._conn.transaction():
            await halts.halt(
                self._conn, log, "witness", str(error), evidence=error.evidence,
                now_ns=self._clock.now_ns(),
            )  # fmt: skip
