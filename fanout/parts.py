"""Parts of plans whose intents nobody has written yet: looked for, and each signal's written in a task.

A plan lists its parts when it is committed, and each is struck off with its intents (fanout/intend.py).
A crash leaves them listed: the next owner of the partition finds them here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from fanout.adopting import ADOPTER
from fanout.intend import Intender
from fanout.intend_approved import ApprovedIntender
from fanout.leases import LeaseLost, Leases
from tenancy.database import Database
from tenancy.errors import PortcullisError
from tenancy.scope import TenantScope
from tenancy.values import SignalID

log = structlog.get_logger()

INTENDING_AT_ONCE = 4
"""Signals of which parts are written at the same time, each with a database connection."""

_LISTED = """
SELECT signal_id, approved, tenant_id, array_agg(part ORDER BY part) FROM plan_parts
WHERE part = ANY(%s) GROUP BY signal_id, approved, tenant_id ORDER BY min(planned_at)"""


class Parts:
    """What is listed in this worker's partitions."""

    def __init__(
        self, database: Database, leases: Leases, intender: Intender, approved: ApprovedIntender
    ) -> None:
        self._database = database
        self._leases = leases
        self._intender = intender
        self._approved = approved
        self._tasks: dict[tuple[SignalID, bool], asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(INTENDING_AT_ONCE)

    def __repr__(self) -> str:
        return f"Parts({len(self._tasks)} signals)"

    async def look(self) -> int:
        """Begin to write what is listed and not begun; how many signals that are. Raises Unavailable."""
        async with self._database.connection() as conn:
            rows = await (await conn.execute(_LISTED, (self._leases.parts(),))).fetchall()
        found = [row for row in rows if (row[0], row[1]) not in self._tasks]
        for signal, approved, tenant, parts in found:
            scope = TenantScope(tenant_id=tenant, actor=ADOPTER)
            self._tasks[signal, approved] = asyncio.create_task(
                self._intend(scope, signal, parts, approved=approved)
            )
        return len(found)

    async def idle(self) -> None:
        """Until nothing is being written."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def _intend(
        self, scope: TenantScope, signal: SignalID, parts: Sequence[int], *, approved: bool
    ) -> None:
        """Parts of one signal. An error ends it here: the parts are still listed for the sweep.

        Two signals at once never belong to one strategy: its second is planned when the first
        has no parts left. What was approved later takes its turn on the strategy.
        """
        intender = self._approved if approved else self._intender
        try:
            async with self._gate:
                await intender.intend(scope, signal, parts)
        except LeaseLost as error:
            log.info("intents_left_to_the_next_owner", signal=str(signal), why=str(error))
        except PortcullisError as error:
            log.warning("intents_wait", signal=str(signal), error=str(error))
        except Exception:
            log.exception("intents_failed", signal=str(signal))
        finally:
            del self._tasks[signal, approved]
