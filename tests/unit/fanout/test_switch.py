"""The switch decides from memory, reads again before it refuses, and opens nothing that it cannot tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import msgspec
import pytest

from fanout.order import Order
from fanout.reasons import Reason
from fanout.switch import STALE_S, Stop, Stops, Switch, opens
from tenancy.clock_quality import Quality, unmeasured
from tenancy.database import Database
from tenancy.errors import Unavailable
from tests.builders import order as an_order

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
ACT = UUID(int=99)


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.s = 100.0

    def monotonic(self) -> float:
        return self.s

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.s - 100)

    def now_ns(self) -> int:
        return int(self.now().timestamp() * 1e9)


class Rows:
    """A database that answers the switch's two questions, or not."""

    def __init__(self) -> None:
        self.stops: list[tuple[Any, ...]] = []
        self.tiers: list[tuple[Any, ...]] = []
        self.away = False
        self.digests = self.reads = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        if self.away:
            raise Unavailable("away")
        yield self

    async def execute(self, query: str) -> Any:
        await asyncio.sleep(0)
        if "digest" in query:
            self.digests += 1
            found: list[Any] = [(repr((self.stops, self.tiers)),)]
        elif "find_clock_tiers" in query:
            found = list(self.tiers)
        else:
            self.reads += 1
            found = list(self.stops)

        async def one() -> Any:
            return found[0]

        async def everything() -> Any:
            return found

        return SimpleNamespace(fetchone=one, fetchall=everything)


def order(**changed: Any) -> Order:
    base = {"intent_at": NOW, "deadline": NOW + timedelta(seconds=20), "reduce_only": False}
    return msgspec.structs.replace(an_order(), **(base | changed))


def made(quality: Callable[[], Quality] = unmeasured) -> tuple[Switch, Rows, Time]:
    rows, time = Rows(), Time()
    return Switch(cast(Database, rows), time, quality), rows, time


def stop(what: str, state: str = "halted", **named: Any) -> tuple[Any, ...]:
    return (
        what,
        named.get("id", UUID(int=0)),
        named.get("broker"),
        named.get("symbol"),
        state,
        ACT,
    )


def of(layer: str, wanted: Order) -> dict[str, Any]:
    """How find_stops() names the layer of that order."""
    return {
        "platform": {},
        "tenant": {"id": wanted.tenant_id},
        "strategy": {"id": wanted.strategy_id},
        "group": {"id": wanted.account_id},
        "account": {"id": wanted.account_id},
        "platform_instrument": {"broker": wanted.broker, "symbol": wanted.symbol},
        "instrument": {
            "id": wanted.tenant_id, "broker": wanted.broker, "symbol": wanted.symbol,
        },
    }[layer]  # fmt: skip


LAYERS = {
    "platform": Reason.PLATFORM_HALTED,
    "tenant": Reason.TENANT_HALTED,
    "strategy": Reason.STRATEGY_HALTED,
    "group": Reason.GROUP_HALTED,
    "account": Reason.ACCOUNT_HALTED,
    "platform_instrument": Reason.INSTRUMENT_HALTED,
    "instrument": Reason.INSTRUMENT_HALTED,
}


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_that_is_halted_stops_opening_and_closing(layer):
    for wanted in (order(), order(reduce_only=True)):
        refused = Stops([Stop(*stop(layer, **of(layer, wanted)))]).refusal(wanted)
        assert refused is not None
        assert (refused.reason, refused.intervention_id) == (LAYERS[layer], ACT)
        assert str(ACT) in refused.words


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_that_reduces_stops_opening_alone(layer):
    wanted = order()
    stops = Stops([Stop(*stop(layer, "reducing", **of(layer, wanted)))])
    refused = stops.refusal(wanted)
    assert refused is not None
    assert refused.reason is Reason.REDUCE_ONLY
    assert stops.refusal(order(reduce_only=True)) is None
    assert stops.refusal(order(role="stop")) is None


@pytest.mark.parametrize("layer", [name for name in LAYERS if name != "platform"])
def test_what_is_somebody_elses_stops_nothing(layer):
    other = {key: UUID(int=5) if key == "id" else "X" for key in of(layer, order())}
    assert Stops([Stop(*stop(layer, **other))]).refusal(order()) is None


def test_halted_within_is_named_before_reducing_without():
    wanted = order()
    stops = Stops([
        Stop(*stop("tenant", "reducing", **of("tenant", wanted))),
        Stop(*stop("account", **of("account", wanted))),
    ])  # fmt: skip
    refused = stops.refusal(wanted)
    assert refused is not None
    assert refused.reason is Reason.ACCOUNT_HALTED


def test_an_exit_of_our_own_passes_whatever_is_halted():
    wanted = order()
    halted = Stop(*stop("platform"))
    exit_ = Stop("exit", wanted.signal_id, None, None, "active", ACT)
    assert Stops([halted]).refusal(wanted) is not None
    assert Stops([halted, exit_]).refusal(wanted) is None


async def test_the_digest_alone_is_read_while_nothing_changes():
    switch, rows, _ = made()
    for _ in range(5):
        assert await switch.read()
    assert (rows.digests, rows.reads) == (5, 1)
    rows.stops = [stop("platform")]
    await switch.read()
    assert rows.reads == 2
    assert len(switch.stops) == 1


async def test_an_order_is_not_refused_by_what_is_released_meanwhile():
    switch, rows, time = made()
    rows.stops = [stop("platform")]
    await switch.read()
    rows.stops = []
    time.s += 0.2
    assert await switch.refusal(order(intent_at=time.now())) is None


async def test_an_exit_that_the_switch_has_not_heard_of_is_not_refused():
    """Its signal was kept after the last look; its intent is younger than that look."""
    switch, rows, time = made()
    rows.stops = [stop("platform")]
    await switch.read()
    time.s += 0.1
    wanted = order(intent_at=time.now(), reduce_only=True)
    rows.stops = [stop("platform"), ("exit", wanted.signal_id, None, None, "active", ACT)]
    assert await switch.refusal(wanted) is None


async def test_a_refusal_of_an_older_order_needs_no_other_look():
    switch, rows, time = made()
    rows.stops = [stop("platform")]
    time.s += 1
    await switch.read()
    looks = rows.digests
    assert await switch.refusal(order()) is not None
    assert rows.digests == looks


async def test_what_opens_waits_while_nobody_can_tell_and_goes_on_when_somebody_can():
    switch, rows, time = made()
    await switch.read()
    rows.away = True
    time.s += STALE_S + 0.1
    asking = asyncio.create_task(switch.refusal(order()))
    await asyncio.sleep(0.2)
    assert not asking.done()
    rows.away = False
    rows.stops = [stop("platform")]
    refused = await asyncio.wait_for(asking, 1)
    assert refused is not None


async def test_what_opens_waits_no_longer_than_to_its_deadline():
    """Whoever sends looks at the deadline next, and says `too_late`."""
    switch, rows, time = made()
    rows.away = True
    asking = asyncio.create_task(switch.refusal(order()))
    await asyncio.sleep(0.1)
    assert not asking.done()
    time.s += 30
    assert await asyncio.wait_for(asking, 1) is None


async def test_what_closes_does_not_wait_for_a_database_that_is_away():
    switch, rows, time = made()
    await switch.read()
    rows.away = True
    time.s += STALE_S + 0.1
    assert await asyncio.wait_for(switch.refusal(order(reduce_only=True)), 1) is None


async def test_nothing_opens_before_the_first_look():
    switch, rows, _ = made()
    rows.stops = [stop("platform")]
    assert await switch.refusal(order()) is not None


async def test_who_asks_while_a_look_is_under_way_gets_a_later_one():
    """The look under way may have begun before what the caller must know."""
    switch, rows, _ = made()
    first = asyncio.create_task(switch.read())
    await asyncio.sleep(0)
    rest = [asyncio.create_task(switch.read()) for _ in range(5)]
    await asyncio.gather(first, *rest)
    assert rows.digests == 2


def test_what_stands_behind_a_position_does_not_open():
    assert opens(order())
    assert not opens(order(reduce_only=True))
    assert not opens(order(role="target"))


class Clock50:
    """A host's clock whose quality a test says."""

    def __init__(self, err_ns: int | None = 40_000_000) -> None:
        self.err_ns = err_ns

    def quality(self) -> Quality:
        if self.err_ns is None:
            return unmeasured()
        return Quality("ok", "chrony", self.err_ns)


async def clocked(err_ns: int | None, *tiers: tuple[Any, ...]) -> tuple[Switch, Rows, Clock50]:
    clock = Clock50(err_ns)
    switch, rows, _ = made(clock.quality)
    rows.tiers = list(tiers)
    assert await switch.read()
    return switch, rows, clock


def finra(wanted: Order) -> tuple[Any, ...]:
    return (wanted.tenant_id, False, "finra_50ms")


@pytest.mark.parametrize("err_ns", [50_000_001, None])
async def test_nothing_opens_by_a_clock_that_is_over_the_tenants_tier_or_not_measured(err_ns):
    wanted = order()
    switch, _, _ = await clocked(err_ns, finra(wanted))
    refused = await switch.refusal(wanted)
    assert refused is not None
    assert refused.reason is Reason.CLOCK_UNTRUSTED


async def test_what_closes_goes_on_whatever_the_clock_is():
    switch, _, _ = await clocked(None, finra(order()))
    assert await switch.refusal(order(reduce_only=True)) is None
    assert await switch.refusal(order(role="stop")) is None


async def test_an_exit_of_our_own_passes_whatever_the_clock_is():
    wanted = order()
    switch, rows, _ = await clocked(None, finra(wanted))
    rows.stops = [("exit", wanted.signal_id, None, None, "active", ACT)]
    assert await switch.refusal(wanted) is None  # known only once it has read again


async def test_orders_open_by_a_clock_within_the_tier_until_it_is_stepped():
    wanted = order()
    switch, _, clock = await clocked(40_000_000, finra(wanted))
    assert await switch.refusal(wanted) is None
    clock.err_ns = 40_000_000 + 3_600_000_000_000
    assert await switch.refusal(wanted) is not None


async def test_a_tenant_without_a_tier_trades_by_any_clock():
    switch, _, _ = await clocked(None, (UUID(int=5), False, "finra_50ms"))
    assert await switch.refusal(order()) is None


async def test_the_platforms_tier_is_everybodys_and_the_tighter_of_two_holds():
    wanted = order()
    switch, _, clock = await clocked(40_000_000, (UUID(int=5), True, "mifid_1ms"), finra(wanted))
    assert await switch.refusal(wanted) is not None
    clock.err_ns = 1_000_000
    assert await switch.refusal(wanted) is None


async def test_a_tier_that_this_version_does_not_know_is_one_that_no_clock_meets():
    wanted = order()
    switch, _, _ = await clocked(1, (wanted.tenant_id, False, "next_years_rule"))
    assert await switch.refusal(wanted) is not None


async def test_a_tier_that_was_just_taken_back_refuses_nothing():
    wanted = order()
    switch, rows, _ = await clocked(None, finra(wanted))
    rows.tiers = []
    assert await switch.refusal(wanted) is None


async def test_the_kernels_word_meets_no_tier():
    """systemd-timesyncd writes an error of 0 there."""
    assert not Quality("degraded", "kernel", 0).within(50_000_000)


@pytest.mark.parametrize(("what", "id"), [("anchor", UUID(int=1)), ("audit", None)])
def test_a_halted_audit_log_stops_what_opens_and_lets_go_on_what_closes(what, id):
    """The anchor log's halt is everybody's; a tenant's own is its own."""
    wanted = order()
    stops = Stops([Stop(what, id or wanted.tenant_id, None, None, "reducing", None)])
    refused = stops.refusal(wanted)
    assert refused is not None
    assert refused.reason is Reason.AUDIT_HALTED
    assert "two people" in refused.words
    assert stops.refusal(order(reduce_only=True)) is None
    if what == "audit":
        assert stops.refusal(msgspec.structs.replace(wanted, tenant_id=UUID(int=77))) is None
