"""All workers together stay within a broker's limit, whoever of them can reach Redis and when.

A small world on simulated time: workers that start and end, a Redis that is cut off from some of them,
hangs, forgets everything or has its clock set; and demand for more than there is, all the while.
"""

from __future__ import annotations

from collections import defaultdict
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.shares import ASK_LIVES_S, LOOK_S, SILENT_S, Crew, Pool, Rate, Share, divided

STEP_S = 0.05
SETTLE_S = 3.0
BEAT_S = 1.0
KEY = "k"


class Worker:
    """The loop of fanout/shared_budget.py, with nothing but its decisions."""

    def __init__(self, name: str, world: World) -> None:
        self.name, self.world = name, world
        self.crew = Crew(SETTLE_S)
        self.share = Share(*divided(world.limit, world.window_s, world.burst), self.crew)
        self.reaches = True
        self.beat_at = self.heard_at = self.ask_at = 0.0
        self.offset = 0.0  # of Redis' clock from ours, as last heard

    def step(self, now: float, rng: Random) -> None:
        if now >= self.beat_at:
            self.crew.counted(len(self.world.workers), now)
            self.beat_at = now + BEAT_S
        if rng.random() < 0.3 and self.share.close(KEY, now):
            self.world.sent(now)
        if self.share.looks(now):
            if self.reaches:
                self.share.heard()
                self.offset = self.world.redis_s - now
            else:
                self.share.failed(now)
        wanted = rng.choice([0, 1, 5, 50])
        if self.share.by_redis and (wanted or now >= self.heard_at + SILENT_S / 4):
            self.ask(now, wanted, rng)
        elif not self.share.by_redis:
            self.world.sent(now, self.share.alone(KEY, now, wanted)[0])

    def ask(self, now: float, wanted: int, rng: Random) -> None:
        self.heard_at = now
        self.share.asked(now)
        word = (self.name, self.crew.live(), now + self.offset + ASK_LIVES_S, {KEY: wanted})
        if not self.reaches:
            self.share.failed(now)
            if rng.random() < 0.5:  # it lies in a buffer, and may be read much later
                self.world.buffered.append(word)
            return
        answer = self.world.pool.ask(self.world.redis_s, *word)
        self.share.heard()
        self.offset = self.world.redis_s - now
        if answer is not None:
            self.world.sent(now, answer[KEY][0])


class World:
    def __init__(self, limit: int, burst: int, window_s: float) -> None:
        self.limit, self.burst, self.window_s = limit, burst, window_s
        self.rate = divided(limit, window_s, burst)[0]
        self.pool = Pool(self.rate)
        self.redis_s = 1000.0
        self.buffered: list[tuple[str, int, float, dict[str, int]]] = []
        self.workers: list[Worker] = []
        self.at: list[float] = []
        self.born = 0

    def start(self) -> None:
        self.born += 1
        self.workers.append(Worker(f"w{self.born}", self))

    def sent(self, now: float, places: int = 1) -> None:
        self.at += [now] * places

    def happen(self, rng: Random) -> None:
        """Something, now and then."""
        what = rng.random()
        if what < 0.02:
            self.pool = Pool(self.rate)  # flushed, or restarted
        elif what < 0.05 and any(w.reaches and w.share.by_redis for w in self.workers):
            self.redis_s += rng.choice([-5.0, -0.5, SILENT_S, 5.0])
        elif what < 0.12:
            worker = rng.choice(self.workers)
            worker.reaches = not worker.reaches
        elif what < 0.15:
            reaches = rng.random() < 0.7
            for worker in self.workers:
                worker.reaches = reaches
        elif what < 0.17 and len(self.workers) < 4:
            self.start()
        elif what < 0.20 and self.buffered:
            self.pool.ask(self.redis_s, *self.buffered.pop())

    def run(self, seed: int, steps: int) -> None:
        rng, now = Random(seed), 0.0
        for step in range(steps):
            now = step * STEP_S
            self.redis_s += STEP_S
            if step % 4 == 0:
                self.happen(rng)
            for worker in list(self.workers):
                worker.step(now, rng)


def most_in_a_window(at: list[float], window_s: float) -> int:
    most = first = 0
    for last, when in enumerate(at):
        while at[first] <= when - window_s + 1e-6:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize("workers", [1, 2, 4])
@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from([(100, 50, 1.0), (20, 5, 1.0), (250, 50, 10.0)]))
def test_no_window_ever_holds_more_than_the_limit_whoever_can_reach_redis(
    workers: int, seed: int, shape: tuple[int, int, float]
) -> None:
    world = World(*shape)
    for _ in range(workers):
        world.start()
    world.run(seed, 600)
    assert world.at, "nobody ever got a place"
    assert most_in_a_window(world.at, world.window_s) <= world.limit


def test_places_are_used_where_they_are_there() -> None:
    """Two workers that reach Redis share all of it; one that does not goes on with its half."""
    world = World(100, 50, 1.0)
    world.start()
    world.start()
    counts = defaultdict(int)
    rng = Random(1)
    for step in range(600):
        now = step * STEP_S
        world.redis_s += STEP_S
        if step == 300:
            for worker in world.workers:
                worker.reaches = False
        before = len(world.at)
        for worker in world.workers:
            worker.step(now, rng)
        counts[int(now)] += len(world.at) - before
    assert all(counts[second] >= 30 for second in range(5, 15)), counts
    alone = 15 + int(ASK_LIVES_S + SILENT_S + 1 + LOOK_S) + 1
    assert all(counts[second] >= 30 for second in range(alone, 30)), counts


def test_what_closes_waits_neither_for_redis_nor_behind_opens() -> None:
    crew = Crew(SETTLE_S)
    crew.counted(2, 0.0)
    share = Share(*divided(100, 1.0, 50), crew)
    now = SETTLE_S
    share.asked(now)
    share.failed(now)
    share.failed(now)
    assert share.alone(KEY, now, 1)[0] == 0, "our share of the pool is not ours yet"
    assert share.close(KEY, now)
    assert sum(share.close(KEY, now) for _ in range(100)) < 10, "its half of the reserve"


def test_a_worker_that_just_began_uses_no_share_until_all_have_counted_it() -> None:
    crew = Crew(SETTLE_S)
    share = Share(*divided(100, 1.0, 50), crew)
    assert share.alone(KEY, 100.0, 1)[0] == 0, "nobody has counted the workers"
    crew.counted(2, 100.0)
    assert not share.close(KEY, 100.0)
    assert share.alone(KEY, 100.0 + SETTLE_S, 1)[0] == 1


def test_without_postgresql_the_limit_is_divided_by_the_most_that_was_seen() -> None:
    crew = Crew(SETTLE_S)
    for at, live in ((0.0, 2), (0.1, 5), (0.2, 3)):
        crew.counted(live, at)
    assert crew.live() == 5, "two that did not write for a moment are live all the same"
    crew.counted(3, 0.15 + SETTLE_S)
    assert crew.live() == 3
    crew.counted(None, 10.0)
    assert crew.live() == 5


@pytest.mark.parametrize(
    ("parts", "of", "limit", "burst"), [(1, 2, 40, 20), (1, 7, 11, 5), (1, 100, None, 0)]
)
def test_a_share_is_never_rounded_up(parts: int, of: int, limit: int | None, burst: int) -> None:
    share = Rate(80, 1.0, 40).share(parts, of)
    if limit is None:
        assert share is None
    else:
        assert share is not None
        assert (share.limit, share.burst) == (limit, burst)
