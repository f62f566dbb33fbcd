"""A token thread's batches: who is served, when a batch ends, and what is told when its canary is silent."""

import asyncio
import time
from uuid import uuid4

import msgspec
import pytest

from hsm import crew
from hsm.crew import BATCH_MAX, Job, TokenThread, serve_batch
from hsm.errors import SigningRefused, TokenLost
from hsm.protocol import OpenSecret, PublicKey


class Deaf:
    """A connection that nobody listens at."""

    def __init__(self, *forgotten):
        self.forgotten = set(forgotten)


class Slow:
    """A worker whose every call takes `seconds`; `serves` what it was asked."""

    def __init__(self, seconds=0.0, silent=False):
        self.seconds, self.silent = seconds, silent
        self.serves, self.settled = [], 0

    def serve(self, request):
        time.sleep(self.seconds)
        self.serves.append(request.id)
        return b"x"

    def proven(self, request):
        return request.tenant_id

    def settle(self):
        self.settled += 1
        if self.silent:
            raise TokenLost("the canary is silent")

    def figures(self):
        return {}


def jobs(count, connection=None):
    since = time.monotonic()
    return [Job(connection or Deaf(), PublicKey(n, "x"), since) for n in range(count)]


def test_who_has_given_up_costs_the_token_nothing():
    worker = Slow()
    served = serve_batch(worker, jobs(4, Deaf(1, 2)), Clock(0.0))
    assert worker.serves == [0, 3]
    assert [job.request.id for job in served.jobs] == [0, 1, 2, 3]
    assert len(served.answers) == 2


def test_a_slow_token_ends_a_batch_early_and_the_rest_is_not_lost():
    worker = Slow(seconds=crew.BATCH_S)
    served = serve_batch(worker, jobs(5))
    assert 1 <= len(served.jobs) < 5
    assert len(served.answers) == len(served.jobs)
    assert worker.settled == 1


class Clock:
    """Each look at it is `step` later."""

    def __init__(self, step):
        self.now, self.step = 100.0, step

    def __call__(self):
        self.now += self.step
        return self.now


@pytest.mark.parametrize(
    ("waited_s", "served"),
    [(0.0, crew.BATCH_S), (2 * crew.BATCH_S, 2 * crew.BATCH_S), (60.0, crew.BATCH_MOST_S)],
)
def test_a_batch_may_take_as_long_as_it_has_waited_and_no_more_than_the_most(waited_s, served):
    clock = Clock(crew.BATCH_S / 5)
    waiting = [Job(Deaf(), PublicKey(n, "x"), clock.now - waited_s) for n in range(60)]
    done = len(serve_batch(Slow(), waiting, clock).jobs)
    assert abs(done - 5 * served / crew.BATCH_S) <= 1


def test_a_silent_canary_answers_for_all_of_the_batch_also_for_whom_it_did_not_come_to():
    worker = Slow(seconds=crew.BATCH_S, silent=True)
    served = serve_batch(worker, jobs(5))
    assert served.answers == []
    assert len(served.refused) == 5


def test_evidence_survives_a_silent_canary_unproven():
    request = OpenSecret(1, b"row", uuid4(), "s")
    job = Job(Deaf(), request, 0.0, refused=SigningRefused("no"))
    assert serve_batch(Slow(), [job]).proven == [(job, request.tenant_id)]
    assert serve_batch(Slow(silent=True), [job]).proven == [(job, None)]


class Office:
    def __init__(self):
        self.done = []

    def deliver(self, served):
        self.done += [job.request.id for job in served.jobs]


@pytest.mark.parametrize("seconds", [0.0, crew.BATCH_S / 4])
async def test_everything_that_is_put_is_served_once(seconds):
    """In one lump, in single ones, more than a batch; fast or slow."""
    office, worker = Office(), Slow(seconds)
    thread = TokenThread(office, lambda: worker)
    await thread.start(asyncio.get_running_loop())
    lump = jobs(BATCH_MAX + 10)
    thread.put(lump)
    for job in jobs(3):
        thread.put([msgspec.structs.replace(job, request=PublicKey(1000 + job.request.id, "x"))])
    thread.put([])
    async with asyncio.timeout(10):
        while len(office.done) < len(lump) + 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await asyncio.to_thread(thread.stop)
    assert sorted(office.done) == sorted([*range(BATCH_MAX + 10), 1000, 1001, 1002])
    assert len(worker.serves) == len(set(worker.serves))


async def test_a_slow_batch_is_no_hung_call():
    """What is measured is a call or two, not the sixty-four of a batch."""
    office, worker = Office(), Slow(crew.BATCH_S / 2)
    thread = TokenThread(office, lambda: worker)
    await thread.start(asyncio.get_running_loop())
    thread.put(jobs(40))
    longest = 0.0
    async with asyncio.timeout(10):
        while len(office.done) < 40:
            longest = max(longest, thread.busy_s())
            await asyncio.sleep(0.002)
    await asyncio.to_thread(thread.stop)
    assert longest < 40 * crew.BATCH_S / 2 / 2
