"""The kill switch at the last moment before an order is sent, in each worker.

Plans look at the switch when they are made. What was planned before it was thrown (an intent in a
lane, a second leg that waits, an order held for its price) is asked about here, right before its
first byte leaves. So nobody has to find and stop those orders: wherever they wait, they end here.

1. A poll reads a digest of everything that is not active, every `SWITCH_S`, and the whole only when
   the digest is another; a wake-up from Redis makes it look at once. So a switch that was thrown
   holds in every worker after `SWITCH_S` and one statement, Redis or not: no opening order begins to
   be sent by what was true more than `STALE_S` ago (3).
2. `refusal` decides from memory. Before it refuses it reads again, unless what it knows is younger
   than the order: a refusal ends the order, so it never rests on what is no longer so (a release, an
   exit of our own that it had not heard of).
3. What was not read for `STALE_S` decides nothing that opens: the order waits, until it can be read
   again or its deadline has passed. What closes goes on as last heard: leases end within seconds of
   PostgreSQL's going away, and with them all sending.

4. The clock is asked in the same place and in the same way: where the tenant or the platform wants
   that (`clock_stops`) and the host's clock is not measured to be within its tier, nothing opens
   (`clock_untrusted`). The tiers are read with the switch; how good the clock is, is asked anew for
   each order (tenancy/clock_file.py), so a step stops the next one. What closes is not asked about.

Nothing is written here; a crash leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog

from fanout import metrics
from fanout.order import Order
from fanout.reasons import SENTENCES, Reason
from tenancy.clock import Clock
from tenancy.clock_quality import TIERS_NS, Quality, unmeasured
from tenancy.database import Database
from tenancy.errors import PortcullisError
from tenancy.four_eyes import STRICTNESS
from tenancy.parameters import TradingState
from tenancy.pause import pause
from tenancy.values import TenantID

log = structlog.get_logger()

SWITCH_S = 0.25
STALE_S = 1.0
LOOK_AGAIN_S = 0.05
NEVER = datetime.min.replace(tzinfo=UTC)

_DIGEST = "SELECT stops_digest() || clock_tiers_digest()"
_TIERS = "SELECT tenant_id, platform, tier FROM find_clock_tiers() WHERE stops"
_STOPS = "SELECT what, id, broker, symbol, state, intervention_id FROM find_stops()"
_HALTED = {
    "platform": Reason.PLATFORM_HALTED,
    "tenant": Reason.TENANT_HALTED,
    "strategy": Reason.STRATEGY_HALTED,
    "group": Reason.GROUP_HALTED,
    "account": Reason.ACCOUNT_HALTED,
    "platform_instrument": Reason.INSTRUMENT_HALTED,
    "instrument": Reason.INSTRUMENT_HALTED,
}
"""In the order in which they are looked at: the outermost is named."""
_AUDIT = ("anchor", "audit")
"""A halted audit log (audit/halts.py), everybody's or the tenant's: what opens is refused, what closes goes on."""
WHATS = (*_HALTED, *_AUDIT)
"""Everything that can be stopped."""


class Refused(msgspec.Struct, frozen=True):
    """Why an order is not sent, and which act of the kill switch said so."""

    reason: Reason
    intervention_id: UUID | None = None

    @property
    def words(self) -> str:
        """For people."""
        named = f" (intervention {self.intervention_id})" if self.intervention_id else ""
        return SENTENCES[self.reason] + named


class Stop(msgspec.Struct, frozen=True):
    """One thing that is not active, as find_stops() says it."""

    what: str
    id: UUID
    broker: str | None
    symbol: str | None
    state: TradingState
    intervention_id: UUID | None


class Stops:
    """Everything that is not active, at one moment. Pure."""

    def __init__(self, stops: Iterable[Stop] = ()) -> None:
        self.exits: set[UUID] = set()
        """Signals of our own that close whatever is halted."""
        self.working: set[UUID] = set()
        """Interventions that are under way."""
        self._by_key: dict[tuple[object, ...], Stop] = {}
        for stop in stops:
            if stop.what == "exit":
                self.exits.add(stop.id)
            elif stop.what == "working":
                self.working.add(stop.id)
            else:
                self._by_key[_key(stop)] = stop

    def __len__(self) -> int:
        return len(self._by_key)

    def counted(self) -> Counter[tuple[str, str]]:
        """How many of each kind are in which state."""
        return Counter((stop.what, stop.state) for stop in self._by_key.values())

    def refusal(self, order: Order) -> Refused | None:
        """Why the order may not be sent. `halted` names the outermost layer, before any `reducing`."""
        if not self._by_key or order.signal_id in self.exits:
            return None
        found = [stop for key in _keys(order) if (stop := self._by_key.get(key)) is not None]
        for stop in found:
            if stop.state == "halted":
                return Refused(_HALTED[stop.what], stop.intervention_id)
        if opens(order):
            if any(stop.what in _AUDIT for stop in found):
                return Refused(Reason.AUDIT_HALTED)
            for stop in found:
                if STRICTNESS[stop.state] > 0:
                    return Refused(Reason.REDUCE_ONLY, stop.intervention_id)
        return None


def opens(order: Order) -> bool:
    """Whether the order may open or add to a position, as far as its row says.

    An exit on an account that several strategies share is not `reduce_only` at the broker, and
    counts as opening here: the kill switch's own exits pass all the same.
    """
    return not order.reduce_only and order.role == "main"


class ClockTiers:
    """Within what of UTC the clock must be for a tenant's orders to open. Pure."""

    def __init__(
        self, everybody_ns: int | None = None, of: Mapping[UUID, int] | None = None
    ) -> None:
        self._everybody_ns = everybody_ns
        self._of = of or {}

    def untrusted(self, tenant: UUID, quality: Callable[[], Quality]) -> bool:
        """Whether nothing of the tenant's opens by this clock; `quality` is asked where somebody minds."""
        limits = [ns for ns in (self._everybody_ns, self._of.get(tenant)) if ns is not None]
        return bool(limits) and not quality().within(min(limits))


class Switch:
    """What this worker knows of the kill switch, and of the clock that orders may be opened by."""

    def __init__(
        self, database: Database, clock: Clock, quality: Callable[[], Quality] = unmeasured
    ) -> None:
        """`quality`: how good the host's clock is at the moment of the call."""
        self._database = database
        self._clock = clock
        self._quality = quality
        self._tiers = ClockTiers()
        self._digest: str | None = None
        self._read_at_s = float("-inf")  # monotonic: when the last look that succeeded began
        self._read_at = NEVER
        self._reading: asyncio.Task[bool] | None = None
        self._told = asyncio.Event()
        self.stops = Stops()

    def __repr__(self) -> str:
        return f"Switch({len(self.stops)} stops, {self.age_s:.1f} s old)"

    @property
    def age_s(self) -> float:
        """Seconds since what we know was true."""
        return self._clock.monotonic() - self._read_at_s

    def look(self) -> None:
        """Somebody threw the switch, it is said: read now."""
        self._told.set()

    async def run(self, stop: asyncio.Event, *, every_s: float = SWITCH_S) -> None:
        """Read every `every_s` seconds and when told, until told to stop."""
        while not stop.is_set():
            self._told.clear()
            await self.read()
            await pause(self._told, every_s)

    async def refusal(self, order: Order) -> Refused | None:
        """Why the order is not sent now; None: it may be, or its deadline passed while nobody could tell."""
        while self._unsure(order):
            if self._clock.now() > order.deadline:
                return None  # whoever sends looks at the deadline next
            if not await self.read():
                await asyncio.sleep(LOOK_AGAIN_S)
        refused = self.refused_now(order)
        if refused is None:
            return None
        if self._read_at <= order.intent_at:
            # Nothing is sent meanwhile.
            while not await self.read():  # noqa: ASYNC110 - PostgreSQL says nothing when it is back
                await asyncio.sleep(LOOK_AGAIN_S)
            refused = self.refused_now(order)
        if refused is not None:
            metrics.SWITCH_DENIED.labels(refused.reason.value).inc()
        return refused

    def refused_now(self, order: Order) -> Refused | None:
        """The same by what is known at this moment, and without waiting."""
        if (refused := self.stops.refusal(order)) is not None:
            return refused
        if not opens(order) or order.signal_id in self.stops.exits:
            return None
        untrusted = self.clock_untrusted(order.tenant_id)
        return Refused(Reason.CLOCK_UNTRUSTED) if untrusted else None

    def clock_untrusted(self, tenant: TenantID) -> bool:
        """Whether nothing of the tenant's is opened by this host's clock as it is now."""
        return self._tiers.untrusted(tenant, self._quality)

    def _unsure(self, order: Order) -> bool:
        return opens(order) and self.age_s > STALE_S

    async def read(self) -> bool:
        """Look at the database now; False where it did not answer. Those who ask at once share one look.

        A look that had begun before it was asked for would not know what has happened since: who
        finds one under way waits for it, and then for the next.
        """
        under_way = self._reading
        if under_way is not None:
            await asyncio.shield(under_way)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        return await asyncio.shield(self._reading)

    async def _read(self) -> bool:
        began_s, began = self._clock.monotonic(), self._clock.now()
        try:
            async with self._database.connection() as conn:
                row = await (await conn.execute(_DIGEST)).fetchone()
                assert row is not None
                if row[0] != self._digest:
                    rows = await (await conn.execute(_STOPS)).fetchall()
                    self._tiers = tiers_of(await (await conn.execute(_TIERS)).fetchall())
                    self.stops = stops_of(rows)
                    metrics.stopped(self.stops.counted(), WHATS)
                    # Changed between the two statements: then the next look finds another digest.
                    self._digest = row[0]
                    log.info("switch_read", stops=len(self.stops))
        except PortcullisError as error:
            log.warning("switch_not_read", error=str(error), age_s=self.age_s)
            return False
        finally:
            self._reading = None
        self._read_at_s, self._read_at = began_s, began
        return True


def stops_of(rows: Sequence[Sequence[Any]]) -> Stops:
    """As find_stops() says them."""
    return Stops(Stop(*row) for row in rows)


def tiers_of(rows: Sequence[Sequence[Any]]) -> ClockTiers:
    """As find_clock_tiers() says them. A tier that this version does not know is one that no clock meets."""
    limits = [(tenant, platform, TIERS_NS.get(tier, 0)) for tenant, platform, tier in rows]
    everybody = [ns for _, platform, ns in limits if platform]
    own = {tenant: ns for tenant, platform, ns in limits if not platform}
    return ClockTiers(everybody[0] if everybody else None, own)


def _key(stop: Stop) -> tuple[object, ...]:
    if stop.what in ("platform", "anchor"):
        return (stop.what,)
    if stop.what == "platform_instrument":
        return (stop.what, stop.broker, stop.symbol)
    if stop.what == "instrument":
        return (stop.what, stop.id, stop.broker, stop.symbol)
    return (stop.what, stop.id)


def _keys(order: Order) -> list[tuple[object, ...]]:
    """Where an order's layers are found, the outermost first. A group's is found by its accounts."""
    return [
        ("platform",),
        ("tenant", order.tenant_id),
        ("strategy", order.strategy_id),
        ("group", order.account_id),
        ("account", order.account_id),
        ("platform_instrument", order.broker, order.symbol),
        ("instrument", order.tenant_id, order.broker, order.symbol),
        ("anchor",),
        ("audit", order.tenant_id),
    ]
