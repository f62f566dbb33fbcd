"""The kill switch in a simulation: thrown and released at random, and when, for the auditor."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fanout import intervention_rows
from fanout.intervention_rows import STATE_OF, Intervention
from tenancy.errors import PortcullisError
from tenancy.ids import new_id
from tenancy.scope import Actor
from tenancy.values import partition

if TYPE_CHECKING:
    from ops.sim.world import World

SOMEBODY = Actor(kind="human", id="simulation")


@dataclass
class Halt:
    """An act of the kill switch: from when to when nothing of it may open."""

    level: str
    scope: str
    of: str
    since_s: float = float("inf")
    until_s: float = float("inf")


class KillSwitch:
    """A person with a hand on it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.halts: list[Halt] = []

    async def throw(self, lasts_s: float) -> None:
        """The kill switch, as the admin API throws it, and its release."""
        level = self._world.random.choice(("no_open", "block_all", "cancel_open", "flatten"))
        scope = self._world.random.choice(("tenant", "strategy", "account"))
        of = {
            "tenant": self._world.scope.tenant_id,
            "strategy": self._world.random.choice(self._world.strategies)[0],
            "account": self._world.random.choice(self._world.accounts),
        }[scope]
        if any(halt.of == str(of) and halt.until_s == float("inf") for halt in self.halts):
            return
        carried = level in ("cancel_open", "flatten")
        identity = new_id()
        made = Intervention(
            intervention_id=identity, tenant_id=self._world.scope.tenant_id, by=SOMEBODY,
            part=partition(identity), level=level, scope=scope, object_id=of,  # type: ignore[arg-type]
            broker=None, symbol=None, reason="simulated", at=self._world.loop.utc(),
            state="working" if carried else "done",
        )  # fmt: skip
        halt = Halt(level, scope, str(of))
        self.halts.append(halt)
        try:
            async with self._world.admin.tenant(self._world.scope) as conn:
                await _set_state(conn, scope, of, STATE_OF[level])  # type: ignore[index]
                await intervention_rows.insert(conn, made)
        except PortcullisError as error:
            self._world.note(f"the switch was not thrown, or nobody knows: {error}")
            halt.until_s = 0.0
            await self._release(scope, of)
            return
        halt.since_s = self._world.loop.time()
        self._world.note(f"halt {level} {scope} {of}")
        await asyncio.sleep(lasts_s)
        halt.until_s = self._world.loop.time()
        await self._release(scope, of)

    async def _release(self, scope: str, of: UUID) -> None:
        while True:
            try:
                async with self._world.admin.tenant(self._world.scope) as conn:
                    await _set_state(conn, scope, of, "active")
                break
            except PortcullisError:
                await asyncio.sleep(0.5)
        self._world.note(f"released {scope} {of}")


async def _set_state(conn: Any, scope: str, of: UUID, state: str) -> None:
    table, key = {
        "tenant": ("tenants", "tenant_id"),
        "strategy": ("strategies", "strategy_id"),
        "account": ("accounts", "account_id"),
    }[scope]
    statement = f"UPDATE {table} SET state = %s WHERE {key} = %s"  # noqa: S608 - names of ours
    await conn.execute(statement.encode(), (state, of))
