"""SIGKILL after every numbered step, and at random: nothing lost, nothing twice, the log unbroken."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys

import pytest

from audit.tiles import Reader
from audit.verdict import OK
from audit.verifier import verify_log
from tests.fixtures.audit import entry
from tests.integration.audit.recorder_process import STEPS


async def start(bench, database, *step):
    arguments = [database.conninfo("recorder"), str(bench.store_dir), *map(str, step)]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.audit.recorder_process", *arguments
    )


def check_everything(bench, appended):
    """The files verify, they hold the database's leaves, and each appended record exactly once."""
    verdict = verify_log(bench.directory, str(bench.log.key))
    assert (verdict.code, verdict.size) == (OK, appended), verdict.findings
    reader = Reader(lambda name: read(bench.directory / name), appended)
    in_files = [one for n in range((appended + 255) // 256) for one in reader.entries(n)]
    assert in_files == [row[0] for row in bench.rows("SELECT leaf FROM audit_leaves ORDER BY i")]
    payloads = [json.loads(row[0]) for row in bench.rows("SELECT payload FROM audit_payloads")]
    assert sorted(payload["n"] for payload in payloads) == list(range(appended))
    assert bench.rows("SELECT count(*) FROM audit_inbox") == [(0,)]


def read(path):
    return path.read_bytes() if path.exists() else None


def check_nothing_published_is_wrong(bench):
    """At the moment of a crash already: what readers see verifies."""
    if (bench.directory / "checkpoint").exists():
        verdict = verify_log(bench.directory, str(bench.log.key))
        assert verdict.code == OK, verdict.findings


@pytest.mark.parametrize("step", STEPS)
async def test_a_crash_after_this_step_loses_and_doubles_nothing(bench, database, step):
    await bench.append([entry(n, oid=f"o-{n % 5}") for n in range(100)])
    await bench.recorder.drain()
    await bench.append([entry(n, oid=f"o-{n % 5}") for n in range(100, 450)])
    before = (bench.directory / "checkpoint").read_bytes()

    process = await start(bench, database, step)
    assert await asyncio.wait_for(process.wait(), 30) == -signal.SIGKILL
    check_nothing_published_is_wrong(bench)

    await bench.append([entry(n, oid=f"o-{n % 5}") for n in range(450, 500)])
    await bench.new_recorder().drain()
    check_everything(bench, 500)
    assert verify_log(bench.directory, str(bench.log.key), since=before).code == OK


class Load:
    """Appends without a pause while a `with` lasts; counts what was acknowledged."""

    def __init__(self, bench, seed) -> None:
        self.appended = 0
        self._bench, self._chance = bench, random.Random(seed)

    async def __aenter__(self):
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_):
        self._stop.set()
        await self._task

    async def _run(self):
        while not self._stop.is_set():
            batch = self._chance.randrange(1, 120)
            records = [entry(self.appended + n, oid=f"o-{n % 9}") for n in range(batch)]
            await self._bench.append(records)
            self.appended += batch
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("step", STEPS)
async def test_a_crash_after_this_step_under_load_loses_and_doubles_nothing(bench, database, step):
    """The third time the step is reached, with records coming in before, at and after the kill."""
    async with Load(bench, step) as load:
        process = await start(bench, database, step, 3)
        assert await asyncio.wait_for(process.wait(), 60) == -signal.SIGKILL
        check_nothing_published_is_wrong(bench)
        before = read(bench.directory / "checkpoint")
        successor = await start(bench, database)
        await asyncio.sleep(0.5)
        successor.kill()
        assert await successor.wait() == -signal.SIGKILL
        check_nothing_published_is_wrong(bench)
    await bench.new_recorder().drain()
    check_everything(bench, load.appended)
    assert (
        before is None or verify_log(bench.directory, str(bench.log.key), since=before).code == OK
    )


async def test_a_checkpoint_that_was_kept_is_published_at_the_next_start_without_news(
    bench, database
):
    """The crash fell between the row and the file: nothing new comes, and readers see it all the same."""
    await bench.append([entry(n) for n in range(7)])
    process = await start(bench, database, "5 kept in the database")
    assert await asyncio.wait_for(process.wait(), 30) == -signal.SIGKILL
    assert not (bench.directory / "checkpoint").exists()
    await bench.new_recorder().drain()
    check_everything(bench, 7)


@pytest.mark.slow
async def test_kills_at_random_moments_under_load_lose_and_double_nothing(bench, database):
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with Load(bench, seed) as load:
        for _ in range(8):
            process = await start(bench, database)
            await asyncio.sleep(0.5 + chance.random())
            process.kill()
            assert await process.wait() == -signal.SIGKILL
            check_nothing_published_is_wrong(bench)
    await bench.new_recorder().drain()
    check_everything(bench, load.appended)
