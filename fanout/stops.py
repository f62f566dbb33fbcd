"""The gateway's own stop engine: holds orders that wait for a price, and lets them go.

What it holds are rows of `orders` in state `held`, of the partitions that this worker leases; memory
is only a picture of them. One loop, one thing after the other:

1. Read the rows that somebody has just written or changed (told by intender and learner), and by
   the sweep all that nobody told of: after a start, or of another worker that is gone.
2. Look: the price of each, as its broker says it now. A trailing stop follows; breakeven moves.
   A price that is missing or too old moves and lets go nothing, which the row, a metric and the
   log say.
3. What is reached, and what can stand at the broker itself, becomes an intent (stops_release.py)
   and goes to its lane.
4. Orders whose time is over (`cancelAfter`) end, or are wished cancelled.
5. How far trailing stops have come is written at most once a second.

A crash anywhere leaves held rows, which the next owner of the partition watches, or intents, which
are doubt as always. Lost is at most the second that a trailing stop moved and had not written.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from decimal import Decimal

import msgspec
import structlog

from fanout import metrics, stops_store
from fanout.accounts import Accounts
from fanout.lanes import Job, Lanes
from fanout.leases import LeaseLost, Leases
from fanout.order import Order
from fanout.ports import Broker, Instrument
from fanout.stops_book import FamilyKey, family_of
from fanout.stops_held import Held as Held
from fanout.stops_held import StopSettings as StopSettings
from fanout.stops_release import CHANGED, Released, Wanted, release
from fanout.stops_rules import fresh_price, see, watch_of
from fanout.stops_venues import Venues
from fanout.writing import Batch, Writer
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import PortcullisError, Unavailable
from tenancy.pause import pause
from tenancy.scope import Actor, TenantScope
from tenancy.values import TenantID

log = structlog.get_logger()

ENGINE = Actor(kind="algo", id="stop-engine")
A_TRANSACTION = 64
AT_A_STRETCH = 256
BLIND = "no fresh price of the broker's: nothing is let go meanwhile"
PAUSE_S, PAUSE_MOST_S = 0.5, 60.0
"""Before a kept order is tried again; and, doubling, before each further attempt is let go."""


class StopEngine:
    """The held orders of this worker."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        accounts: Accounts,
        writer: Writer,
        lanes: Lanes,
        brokers: Mapping[str, Broker],
        venues: Venues,
        clock: Clock,
        settings: StopSettings,
        refusal: Callable[[Order], str] = lambda order: "",
    ) -> None:
        """`refusal`: why the kill switch lets an order not go, as far as it is known here."""
        self._refusal = refusal
        self._database = database
        self._leases = leases
        self._accounts = accounts
        self._writer = writer
        self._lanes = lanes
        self._brokers = brokers
        self._venues = venues
        self._clock = clock
        self._settings = settings
        self._held: dict[str, Held] = {}
        self._told: dict[TenantScope, set[str]] = defaultdict(set)
        self._woken = asyncio.Event()
        self._due = dict.fromkeys(("sweep", "save", "again"), 0.0)
        self.elsewhere: set[str] = set()
        """Let go past the database (fanout/spill.py): not ours until that is in the book."""
        self._in_hand: set[str] = set()  # about to be intents, or nobody knows whether they are

    def __repr__(self) -> str:
        return f"StopEngine({len(self._held)} held)"

    def watch(self, scope: TenantScope, names: Iterable[str]) -> None:
        """These rows were written or have changed: read them before the next look."""
        self._told[TenantScope(tenant_id=scope.tenant_id, actor=ENGINE)].update(names)
        self._woken.set()

    def wake(self) -> None:
        """Prices have moved: look now. For a broker's feed."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop. An error costs one round, never the loop."""
        while not stop.is_set():
            try:
                await self.round()
            except LeaseLost as error:
                log.info("stops_lost_a_lease", why=str(error))
            except PortcullisError as error:
                log.warning("stops_wait", error=str(error))
            except Exception:
                log.exception("stops_failed")
            await pause(self._woken, self._settings.poll_s)
            self._woken.clear()
        with contextlib.suppress(PortcullisError):
            await self._save()

    async def round(self) -> None:
        """Each step once. Raises PortcullisError where PostgreSQL is away: prices are not looked at then."""
        if self._is_due("sweep", self._settings.sweep_s):
            await self._sweep()
            await self._end_timed()
        await self._read_told()
        with metrics.LOOK_SECONDS.time():
            wanted = await self._look()
        for scope, some in wanted.items():
            await self._let_go(scope, some)
        if self._is_due("save", self._settings.save_s):
            await self._save()

    def all_held(self) -> list[Held]:
        """What it watches, as last read."""
        return list(self._held.values())

    async def reached_stops(self, stale_s: float) -> list[tuple[Held, Decimal, Instrument | None]]:
        """The held stops whose price is reached now, of which nobody has anything in hand."""
        tables, out = await self._tables(), []
        now, mono = self._clock.now(), self._clock.monotonic()
        for name, held in list(self._held.items()):
            free = held.order.role == "stop" and name not in self.elsewhere | self._in_hand
            if not free or mono < held.not_before or not self._current(held):
                continue
            instrument = tables.get(held.order.broker, {}).get(held.order.symbol)
            price, _ = fresh_price(instrument, held.order.side, now, stale_s)
            if price is not None and self._seen(held, price, instrument):
                out.append((held, price, instrument))
        return out

    def _is_due(self, what: str, every_s: float) -> bool:
        now = self._clock.monotonic()
        if now < self._due[what]:
            return False
        self._due[what] = now + every_s
        return True

    # -------------------------------------------------------------- what there is

    async def _sweep(self) -> None:
        """Find what nobody told of, and forget what is not ours or not held any more."""
        found = await stops_store.find_held(self._database, self._leases.parts())
        for name in set(self._held) - set(found):
            del self._held[name]
        again = self._is_due("again", self._settings.read_again_s)
        for name, tenant in found.items():
            known = self._held.get(name)
            if known is None or again or not self._current(known):
                self._told[_scope(tenant)].add(name)

    def _current(self, held: Held) -> bool:
        return self._leases.holds(held.order.part) and (
            self._leases.epoch(held.order.part) == held.epoch
        )

    async def _read_told(self) -> None:
        if self._told:
            await self._save()  # what is read must not be behind what was seen
        while self._told:
            scope, names = self._told.popitem()
            try:
                rows = await stops_store.read_held(self._database, scope, sorted(names))
            except BaseException:
                self._told[scope] |= names
                raise
            self._in_hand -= names
            for name in names - set(rows):
                self._held.pop(name, None)
            for name, order in rows.items():
                if self._leases.holds(order.part):
                    self._held[name] = self._taken(scope, order)
        metrics.HELD.set(len(self._held))

    def _taken(self, scope: TenantScope, order: Order) -> Held:
        held = Held(
            scope=scope, order=order, watch=watch_of(order), epoch=self._leases.epoch(order.part)
        )
        known = self._held.get(order.cl_ord_id)
        if known is not None:
            held.not_before, held.why = known.not_before, known.why
        elif order.attempt > 1:
            # Counted from now: a price that stays beyond its level must not send one after the other.
            pause_s = min(PAUSE_S * 2.0 ** min(order.attempt - 2, 10), PAUSE_MOST_S)
            held.not_before = self._clock.monotonic() + pause_s
        return held

    # -------------------------------------------------------------- prices

    async def _look(self) -> dict[TenantScope, list[Wanted]]:
        """Every held order at its price of now; those that are to go, stops first."""
        tables = await self._tables()
        now, mono = self._clock.now(), self._clock.monotonic()
        wanted: dict[TenantScope, list[Wanted]] = defaultdict(list)
        blind: dict[TenantScope, dict[str, str]] = defaultdict(dict)
        oldest, unseen, may_stand = 0.0, 0, self._may_stand()
        ordered = sorted(self._held.items(), key=lambda item: item[1].order.leg)
        for index, (name, held) in enumerate(ordered):
            if index % AT_A_STRETCH == AT_A_STRETCH - 1:
                await asyncio.sleep(0)  # orders on the wire do not wait for a long look
            if name in self.elsewhere or not self._current(held):
                continue
            instrument = tables.get(held.order.broker, {}).get(held.order.symbol)
            price, age_s = fresh_price(instrument, held.order.side, now, self._settings.stale_s)
            oldest = max(oldest, age_s)
            unseen += price is None
            reached = price is not None and self._seen(held, price, instrument)
            if (price is None) != (held.why == BLIND):
                held.why = BLIND if price is None else ""
                blind[held.scope][name] = held.why
            if mono < held.not_before:
                continue
            if reached or (held.order.role != "main" and family_of(held.order) in may_stand):
                wanted[held.scope].append(
                    Wanted(
                        order=held.seen(),
                        price=price if reached else None,
                        instrument=instrument,
                    )
                )
        metrics.HELD_BLIND.set(unseen)
        metrics.HELD_PRICE_AGE.set(oldest)
        await self._say(blind)
        return wanted

    async def _tables(self) -> dict[str, Mapping[str, Instrument]]:
        """The instruments of every broker for which something is held, as it says them now."""
        tables: dict[str, Mapping[str, Instrument]] = {}
        for name in {held.order.broker for held in self._held.values()} & set(self._brokers):
            try:
                tables[name] = await self._brokers[name].instruments()
            except Unavailable as error:
                log.warning("stops_without_prices", broker=name, error=str(error))
        return tables

    @staticmethod
    def _seen(held: Held, price: Decimal, instrument: Instrument | None) -> bool:
        watch, reached = see(held.watch, price, instrument)
        held.unsaved |= watch != held.watch
        held.watch = watch
        return reached

    def _may_stand(self) -> set[FamilyKey]:
        """The families of which all that is held can stand at its broker instead."""
        here: set[FamilyKey] = set()
        there: set[FamilyKey] = set()
        for held in self._held.values():
            if held.order.role != "main":
                stands = self._venues.stands_at_broker(held.order)
                (there if stands else here).add(family_of(held.order))
        return there - here

    async def _say(self, why: dict[TenantScope, dict[str, str]]) -> None:
        for scope, texts in why.items():
            for name, text in texts.items():
                if text:
                    log.error("held_order_without_price", cl_ord_id=name)
            await stops_store.say(self._database, scope, texts)

    # -------------------------------------------------------------- letting go

    async def _let_go(self, scope: TenantScope, wanted: list[Wanted]) -> None:
        for start in range(0, len(wanted), A_TRANSACTION):
            await self._release(scope, wanted[start : start + A_TRANSACTION])

    async def _release(self, scope: TenantScope, wanted: list[Wanted]) -> None:
        """One transaction, then the lanes. Raises LeaseLost, Unavailable, OutcomeUnknown."""
        now = self._clock.now()
        wanted = [one for one in wanted if one.order.cl_ord_id not in self.elsewhere]
        if not wanted:
            return
        epochs = {one.order.part: self._leases.epoch(one.order.part) for one in wanted}
        batch = Batch(
            strategy_id=wanted[0].order.strategy_id,
            at=now,
            epochs=epochs,
            orders=[],
            wishes=set(),
            released=tuple(one.order for one in wanted),
        )
        out = Released()

        async def decide(conn: Connection) -> Batch:
            nonlocal out
            await self._leases.fence(conn, epochs)
            out = await release(
                conn, scope, wanted, self._venues, at=now,
                open_for=timedelta(seconds=self._settings.open_window_s), epochs=epochs,
                refusal=self._refusal,
            )  # fmt: skip
            return msgspec.structs.replace(batch, released=tuple(out.sent))

        names = {one.order.cl_ord_id for one in wanted}
        self._in_hand |= names
        try:
            await self._writer.write(scope, batch, decide)
        except (LeaseLost, Unavailable):
            self._in_hand -= names  # rolled back; after anything else their rows are read first
            raise
        self._in_hand -= names
        self._learn(out)

    def _learn(self, out: Released) -> None:
        for order in out.sent:
            held = self._held.pop(order.cl_ord_id, None)
            to = "broker" if order.asked_type is None else order.ord_type
            kind = order.role if order.role != "main" else (order.asked_type or order.ord_type)
            metrics.TRIGGERS.labels(kind, to).inc()
            log.info(
                "held_order_released", cl_ord_id=order.cl_ord_id, kind=kind, to=to,
                price=str(order.trigger_px), held=held is not None,
            )  # fmt: skip
        for name in out.gone:
            self._held.pop(name, None)
        for name, why in out.kept.items():
            held = self._held.get(name)
            if held is None:
                continue
            if why != held.why:
                log.warning("held_order_kept", cl_ord_id=name, why=why)
            held.why, held.not_before = why, self._clock.monotonic() + PAUSE_S
            if why == CHANGED:
                self._told[held.scope].add(name)

    # -------------------------------------------------------------- what is written

    async def _save(self) -> None:
        """Where the trailing stops stand now."""
        by_scope: dict[TenantScope, list[Held]] = defaultdict(list)
        for held in self._held.values():
            if held.unsaved and self._current(held):
                by_scope[held.scope].append(held)
        for scope, some in by_scope.items():
            epochs = {held.order.part: held.epoch for held in some}
            async with self._database.tenant(scope) as conn:
                await self._leases.fence(conn, epochs)
                await stops_store.move(conn, [held.seen() for held in some])
            for held in some:
                held.order, held.unsaved = held.seen(), False

    async def _end_timed(self) -> None:
        """`cancelAfter`: what is held ends, what is at the broker is wished cancelled."""
        now = self._clock.now()
        found = await stops_store.find_timed(self._database, self._leases.parts(), now)
        for tenant, names in found.items():
            scope = _scope(tenant)
            async with self._database.tenant(scope) as conn:
                resting = await stops_store.end_timed(conn, scope, names, now)
            accounts = await self._accounts.get(scope, {order.account_id for order in resting})
            for order in resting:
                if order.account_id in accounts and self._leases.holds(order.part):
                    self._lanes.put(
                        Job(
                            kind="cancel",
                            scope=scope,
                            account=accounts[order.account_id],
                            order=order,
                            epoch=self._leases.epoch(order.part),
                        )
                    )


def _scope(tenant: TenantID) -> TenantScope:
    return TenantScope(tenant_id=tenant, actor=ENGINE)
