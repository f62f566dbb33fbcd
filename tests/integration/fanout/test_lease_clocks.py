"""A lease ends by whichever of the host's clocks says so first."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fanout.leases import LeaseLost, Leases
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
