"""What goes wrong with hosts, connections and servers: when, drawn from the seed.

A thing happens at a moment, or when some host comes to a point of its work for the nth time ("after
commit", "sent"), where it hurts most.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ops.sim.loop import Host
from tenancy.errors import PortcullisError
from tenancy.store.accounts import put_credential

if TYPE_CHECKING:
    from ops.sim.world import World

IDLE_S = 10.0
"""PostgreSQL ends a transaction in which nothing was said for so long (tenancy.database.IDLE_S)."""


@dataclass
class Trap:
    """What happens when a host comes to a point for the `countdown`th time."""

    point: str
    countdown: int
    act: str


class Trouble:
    """Everything that is planned to go wrong in one seed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.traps: list[Trap] = []

    def plan(self) -> None:
        """One thing, some time: at a moment, or at a point of somebody's work."""
        random, mood = self._world.random, self._world.mood
        act = random.choice(mood.moments_of)
        host_s = act in ("crash", "freeze", "connection_lost")
        if host_s and random.random() < mood.by_point:
            countdown = random.randint(1, mood.countdown_most)
            self.traps.append(Trap(random.choice(mood.points), countdown, act))
            return
        at_s = self._world.random.uniform(0.2, self._world.mood.lasts_s)
        self._world.loop.outside(at_s, self._do, act)

    async def renew(self) -> None:
        """In some moods: every account's key is replaced again and again. The exchange proves each."""
        world = self._world
        while world.mood.renews_s is not None:
            await asyncio.sleep(world.mood.renews_s)
            with contextlib.suppress(PortcullisError):
                async with world.admin.tenant(world.scope) as conn:
                    for account in world.accounts:
                        await put_credential(
                            conn, world.scope, account, broker="gateio",
                            api_key=f"key {world.loop.time():.3f}", sealed=b"sealed",
                        )  # fmt: skip
                world.line.faults["renewal"] += 1

    def point(self, name: str, host: Host, conn: Any = None) -> bool:
        """Something of this host's comes by; True where something happened to it."""
        for trap in self.traps:
            if trap.point != name:
                continue
            trap.countdown -= 1
            if trap.countdown == 0:
                self.traps.remove(trap)
                return self._befall(trap.act, host, conn)
        return False

    def _do(self, act: str) -> None:
        if self._world.quiet:
            return
        alive = [each for each in self._world.running if not each.host.frozen]
        if act in ("crash", "freeze", "connection_lost", "clock_step"):
            if alive:
                self._befall(act, self._world.random.choice(alive).host, None)
            return
        self._world.line.faults[act] += 1
        lasts_s = self._world.random.uniform(0.3, self._world.mood.away_most_s)
        self._world.note(f"{act} for {lasts_s:.2f} s")
        if act == "postgres_away":
            self._world.store.go_away()
            self._world.loop.outside(lasts_s, self._world.store.come_back)
        elif act == "redis_away":
            self._world.redis.away = True
            self._world.loop.outside(lasts_s, lambda: setattr(self._world.redis, "away", False))
        elif act == "venue_away":
            self._world.venue.away = True
            self._world.loop.outside(lasts_s, lambda: setattr(self._world.venue, "away", False))
        elif act == "halt":
            Context().run(self._world.loop.create_task, self._world.kill_switch.throw(lasts_s))

    def _befall(self, act: str, host: Host, conn: Any) -> bool:
        if self._world.quiet or host.dead:
            return False
        self._world.line.faults[act] += 1
        self._world.note(f"{host.name}: {act}")
        running = next((each for each in self._world.running if each.host is host), None)
        if act == "crash":
            if running is not None:
                self._world.running.remove(running)
                self._world.ended.append(running)
                self._world.kill(running)
                self._world.loop.outside(
                    self._world.random.choice((0.1, 2.0, 5.0)), self._start_unless_over
                )
        elif act == "freeze":
            host.frozen = True
            lasts_s = self._world.random.choice((0.3, 1.5, 6.0, 8.0, 12.0))
            if lasts_s > IDLE_S:
                self._world.loop.outside(IDLE_S, self._end_idle, host)
            self._world.loop.outside(lasts_s, self._world.thaw, host)
        elif act == "connection_lost":
            for lost in [conn] if conn is not None else self._world.store.sessions(host):
                self._world.store.lose(lost, "cut")
        elif act == "clock_step":
            step_s = self._world.random.choice((-6.0, -2.0, -0.5, 0.5, 2.0, 6.0))
            host.step_s += step_s
            self._world.stepped_s += abs(step_s)
        return True

    def _end_idle(self, host: Host) -> None:
        if host.frozen:
            for conn in self._world.store.sessions(host):
                self._world.store.lose(conn, "idle in transaction")

    def _start_unless_over(self) -> None:
        if not self._world.quiet:
            self._world.start()
