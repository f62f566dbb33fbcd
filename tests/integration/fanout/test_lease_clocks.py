"""A lease ends by whichever of the host's clocks says so first."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fanout.leases import LeaseLost, Leases
from tenancy.database import Database
from tests.fakes.stepped_clock import SteppedClock

TTL_S = 5.0


class FrozenClock(SteppedClock):
    """`lost_s`: what the monotonic clock did not count while the host froze its guest."""

    lost_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() - self.lost_s


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
async def leases(bench, clock) -> AsyncIterator[Leases]:
    database = await bench.open("worker")
    made = Leases(database, clock, "one", ttl_s=TTL_S)
    await made.beat()
    yield made
    await database.close()


async def test_after_a_freeze_and_a_clock_put_right_a_lease_is_over(leases, clock):
    """Somebody else had it meanwhile: by the monotonic clock alone it would still stand."""
    epoch = leases.epoch(3)
    assert leases.require(3, epoch, 1.0)
    clock.step_s = TTL_S + 1
    assert not leases.holds(3)
    assert leases.parts() == []
    with pytest.raises(LeaseLost):
        leases.require(3, epoch)
    await leases.beat()
    assert leases.require(3, leases.epoch(3), 1.0) > clock.now(), "a step alone costs a beat"


async def test_a_clock_that_is_set_back_lengthens_no_lease(leases, clock):
    epoch = leases.epoch(3)
    clock.step_s = -3600
    clock.lost_s = -(TTL_S + 1)  # that much later
    assert not leases.holds(3)
    with pytest.raises(LeaseLost):
        leases.require(3, epoch)


@pytest.fixture
async def other(bench, leases) -> AsyncIterator[tuple[Leases, FrozenClock]]:
    """A second worker with a clock of its own, which has seen the first one's leases."""
    database: Database = await bench.open("worker")
    clock = FrozenClock()
    made = Leases(database, clock, "two", ttl_s=TTL_S)
    await made.beat()
    yield made, clock
    await database.close()


STEPPED = "UPDATE leases SET expires_at = expires_at + %s::interval RETURNING part"


@pytest.mark.parametrize("step", ["-1 hour", "1 hour"])
async def test_a_step_of_postgresqls_clock_gives_no_lease_two_owners(bench, leases, other, step):
    """Seen from PostgreSQL every lease has run out, or lasts for an hour; its owner counts by its own clock."""
    two, _ = other
    epoch = leases.epoch(3)
    await bench.rows(STEPPED, step)
    assert await two.beat() == set()
    assert leases.require(3, epoch, 1.0), "it stands for its owner"
    await leases.beat()
    assert leases.holds(3), "it costs the owner at most a new epoch"
    assert await two.beat() == set()


@pytest.mark.parametrize("step", ["0", "-1 hour", "1 hour"])
async def test_who_never_comes_back_loses_its_leases_whatever_postgresqls_clock_says(
    bench, leases, other, step
):
    two, clock = other
    await bench.rows(STEPPED, step)
    await two.beat()  # sees the rows as they are from now on
    clock.lost_s = -(TTL_S - 0.5)
    assert await two.beat() == set(), "its owner may believe in them still"
    clock.lost_s = -(TTL_S + 1)
    if step == "0":
        await bench.rows(STEPPED, f"-{TTL_S} seconds")  # so much later there, too
        assert await two.beat() == set(), "another end: perhaps it was renewed"
        clock.lost_s -= TTL_S + 1
    assert len(await two.beat()) == 8


async def test_a_renewal_between_the_look_and_the_taking_stops_it(
    bench, leases, other, monkeypatch
):
    two, clock = other
    await bench.rows(STEPPED, "-1 hour")
    await two.beat()
    clock.lost_s = -(TTL_S + 1)
    watch = two._watch

    def as_it_was_before(rows):
        """What ripened, while the owner took its leases again under the next epoch."""
        return watch(rows) | {"epochs": [epoch - 1 for _, epoch, _ in rows]}

    monkeypatch.setattr(two, "_watch", as_it_was_before)
    assert await two.beat() == set()


async def test_what_is_given_back_is_free_at_once(leases, other):
    two, _ = other
    await leases.release([1, 2, 3])
    assert await two.beat() == {1, 2, 3}
