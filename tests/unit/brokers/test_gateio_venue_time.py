"""Gate.io's time as this process may know it: what leaves, and what a wait proves."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from fanout.brokers.gate import venue_time
from fanout.brokers.gate.venue_time import ClockError, TimeUnknown, VenueTime
from fanout.ports import AbsentUnproven, Unsent
from tenancy.errors import PortcullisError, Unavailable
from tests.fakes.orders import submitted
from tests.fakes.scripted_http import CUT, HANG, Seen, reply
from tests.unit.brokers.scripted_gate import ACCOUNT, ACK, GONE, ORDER, at_gate, shown_time

EXPTIME_MS, ERROR_MS = 1500, 100
BEGAN = datetime(2026, 1, 5, tzinfo=UTC)


class World:
    """True time, in which nothing runs by itself: Gate's clock, and a host's two."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.true_s = 1000.0
        self.wall_error_s = 0.0
        self.drift = self.chance.uniform(-1, 1) * venue_time.DRIFT * 0.9
        self.gate_error_s = 0.0

    # The host, as tenancy.clock.Clock.
    def monotonic(self) -> float:
        return self.true_s * (1 + self.drift)

    def now_ns(self) -> int:
        return int(BEGAN.timestamp() * 1e9 + (self.true_s + self.wall_error_s) * 1e9)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_ns() / 1e9, UTC)

    # Gate.
    def gate_ms(self) -> float:
        return BEGAN.timestamp() * 1e3 + (self.true_s + self.gate_error_s) * 1e3

    async def ask(self) -> int | None:
        await self.sleep(self.chance.uniform(0, 0.2))
        shown = int(self.gate_ms())
        await self.sleep(self.chance.uniform(0, 0.2))
        return shown if self.chance.random() > 0.05 else None

    async def sleep(self, seconds: float) -> None:
        self.true_s += seconds

    def time(self) -> VenueTime:
        return VenueTime(
            self.ask, self, exptime_ms=EXPTIME_MS, clock_error_ms=ERROR_MS, sleep=self.sleep
        )

    def perhaps_step(self) -> None:
        if self.chance.random() < 0.3:
            self.wall_error_s = self.chance.choice([0.0, 0.05, 0.3, -0.3, 2.0, -2.0, 45.0, -45.0])


@pytest.mark.parametrize("seed", range(300))
async def test_no_request_outlives_a_proof_or_its_lease_whatever_the_time_of_day_does(
    seed: int,
) -> None:
    """Seeded. The only promise that a doubled order could come of, judged in true time."""
    world = World(seed)
    time = world.time()
    deadlines: list[float] = []
    proofs = 0
    for _ in range(60):
        world.perhaps_step()
        lease_s = world.chance.uniform(0.05, 4)
        lease_ends_ms = world.gate_ms() + lease_s * 1000
        try:
            departure = await time.depart(world.now() + timedelta(seconds=lease_s))
            world.perhaps_step()
            await world.sleep(world.chance.choice([0.001, 0.1, 1.0, 5.0]))
            deadline_ms = int(venue_time.exptime(time.deadline(departure)))
            assert deadline_ms <= world.gate_ms() + EXPTIME_MS
            # The rate of the monotonic clock is all that a lease may be wrong by.
            assert deadline_ms <= lease_ends_ms + lease_s * 1000 * venue_time.DRIFT * 2
            deadlines.append(deadline_ms)
        except PortcullisError:
            pass
        await world.sleep(world.chance.choice([0.0, 0.5, 20.0, 90.0]))
        sent_by = world.now()
        world.perhaps_step()
        try:
            await time.outlast(sent_by)
            proofs += 1
            assert max(deadlines, default=0) + ERROR_MS < world.gate_ms()
        except PortcullisError:
            world.wall_error_s = world.chance.choice([0.0, world.wall_error_s])
    assert deadlines
    assert proofs


async def test_a_narrow_proof_is_given_with_the_clocks_in_order() -> None:
    """The rules above would also hold if nothing ever left and nothing were ever proven."""
    world = World(1)
    world.chance.random = lambda: 1.0  # type: ignore[method-assign]
    time = world.time()
    await time.compare()
    departure = await time.depart(world.now() + timedelta(seconds=9))
    deadline_ms = int(venue_time.exptime(time.deadline(departure)))
    assert world.gate_ms() + EXPTIME_MS - 250 < deadline_ms
    began_s = world.true_s
    await time.outlast(world.now())
    assert world.true_s - began_s < (EXPTIME_MS + ERROR_MS) / 1000 + 0.9


@pytest.mark.parametrize(
    "shown",
    [CUT, HANG, reply(429, {"label": "TOO_MANY_REQUESTS"}), reply(404, b""), reply(200, b"{}")],
    ids=["cut", "hang", "429", "404", "unreadable"],
)
async def test_without_gates_time_nothing_is_proven_and_nothing_opens(shown: bytes | str) -> None:
    told: list[bytes | str] = []

    def time() -> bytes | str:
        return told[0] if told else shown_time()

    async with at_gate(_nothing_there, shown=time) as (broker, _):
        told.append(shown)
        answer = await broker.find(ACCOUNT, ORDER, sent_by=datetime.now(UTC))
        assert isinstance(answer, AbsentUnproven)
    with pytest.raises(Unavailable):
        async with at_gate(_nothing_there, shown=time):
            pass


@pytest.mark.parametrize(
    ("jump_s", "words"), [(-2.0, "has not passed the deadline"), (2.0, "different speeds")]
)
async def test_a_clock_of_gates_that_jumps_with_ours_proves_nothing(
    jump_s: float, words: str
) -> None:
    """Both follow one wrong source: only the monotonic clock tells."""
    world = World(2)
    world.chance.random = lambda: 1.0  # type: ignore[method-assign]

    async def sleep(seconds: float) -> None:
        await world.sleep(seconds)
        if seconds > EXPTIME_MS / 2000:
            world.gate_error_s = world.wall_error_s = jump_s

    time = VenueTime(world.ask, world, exptime_ms=EXPTIME_MS, clock_error_ms=ERROR_MS, sleep=sleep)
    with pytest.raises(TimeUnknown, match=words):
        await time.outlast(world.now())


async def test_a_guest_that_was_frozen_while_it_signed_sends_nothing_after_its_lease() -> None:
    """None of its clocks counted that; then its time of day was put right, and compared again."""
    world = World(4)
    world.chance.random = lambda: 1.0  # type: ignore[method-assign]
    time = world.time()
    await time.compare()
    departure = await time.depart(world.now() + timedelta(seconds=3))
    world.gate_error_s = 60.0
    deadline_ms = int(venue_time.exptime(time.deadline(departure)))
    assert deadline_ms < world.gate_ms(), "Gate refuses it"
    with pytest.raises(ClockError):
        await time.compare()
    with pytest.raises(TimeUnknown):
        time.deadline(departure)
    world.wall_error_s = 60.0
    await time.compare()
    with pytest.raises(TimeUnknown, match="was set"):
        time.deadline(departure)


async def test_a_lease_that_ended_while_signing_lets_nothing_leave() -> None:
    world = World(5)
    world.chance.random = lambda: 1.0  # type: ignore[method-assign]
    time = world.time()
    await time.compare()
    departure = await time.depart(world.now() + timedelta(seconds=3))
    await world.sleep(3.1)
    with pytest.raises(TimeUnknown, match="the lease ended"):
        time.deadline(departure)


async def test_an_old_comparison_lets_nothing_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    async with at_gate(lambda seen: ACK) as (broker, server):
        monkeypatch.setattr(venue_time, "COMPARED_FOR_S", -1.0)
        assert isinstance(await submitted(broker, ACCOUNT, ORDER), Unsent)
        assert [seen.target for seen in server.seen] == ["/api/v4/spot/time"]


async def test_one_question_answers_all_who_wait_and_a_failure_is_theirs_too() -> None:
    world = World(3)
    asked = 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        return int(world.gate_ms()) + 5000

    time = VenueTime(ask, world, exptime_ms=EXPTIME_MS, clock_error_ms=ERROR_MS, sleep=world.sleep)
    for expected in (1, 2):
        waiting = [time.compare() for _ in range(50)]
        for one in waiting:  # each began before the first was answered: the clock stands still
            with pytest.raises(ClockError):
                await one
        assert asked == expected
        world.true_s += 1


def _nothing_there(seen: Seen) -> bytes:
    return reply(200, []) if "my_trades" in seen.target else GONE
