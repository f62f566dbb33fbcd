"""Several hosts, each with a recorder and a set of its own: one writes, the others keep up, and any goes on."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psycopg
import pytest

from audit.checker import Checker
from audit.fences import LockTaken, only_session
from audit.ports import LogHalted
from audit.recorder import Recorder
from audit.verdict import OK
from audit.verifier import verify_log
from audit.worm.posix import PosixStore
from tenancy.clock import SystemClock
from tenancy.database import Database
from tests.fixtures.audit import Bench, entry

RECORDS = 600  # two full tiles and a partial one


class Host:
    """A recorder that runs until it is taken away."""

    def __init__(self, bench: Bench, store: Path) -> None:
        self.store = store
        self.recorder = Recorder(bench.recording, bench.signer, store, SystemClock())
        self._bench = bench
        self._stop = asyncio.Event()
        self._running = asyncio.create_task(self.recorder.run(self._stop))

    async def ends(self) -> None:
        self._stop.set()
        await self._running

    @property
    def size(self) -> int:
        """Of the set, verified from its files alone; -1 where it has no checkpoint yet."""
        log = self._bench.log
        if not (self.store / str(log.log_id) / "checkpoint").exists():
            return -1
        verdict = verify_log(self.store / str(log.log_id), str(log.key))
        assert verdict.code == OK, verdict.findings
        return verdict.size

    async def has(self, size: int) -> None:
        await until(lambda: self.size == size)


async def until(what: Callable[[], bool], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.1)


@pytest.fixture
async def first(bench: Bench) -> AsyncIterator[Host]:
    """Writes, and has published what there is."""
    host = Host(bench, bench.store_dir)
    await bench.append([entry(n) for n in range(RECORDS)])
    await host.has(RECORDS)
    yield host
    await host.ends()


async def test_who_waits_has_the_same_set_soon(bench, first, tmp_path):
    second = Host(bench, tmp_path / "second")
    await second.has(RECORDS)
    assert (first.recorder.term, second.recorder.term) == (1, 0)
    await bench.append([entry(n) for n in range(7)])
    await second.has(RECORDS + 7)
    signed = len(bench.signer.signed)
    await asyncio.sleep(0.5)
    assert len(bench.signer.signed) == signed
    await second.ends()


@pytest.mark.parametrize("kept_up", [True, False])
async def test_another_host_goes_on_where_one_ended(bench, first, tmp_path, kept_up):
    """Also one that was never there before, or lost its disk: its set is made of the rows."""
    if kept_up:
        waits = Host(bench, tmp_path / "second")
        await waits.has(RECORDS)
        await waits.ends()
    await first.ends()
    second = Host(bench, tmp_path / "second")
    await bench.append([entry(n) for n in range(40)])
    await second.has(RECORDS + 40)
    assert second.recorder.stats().halted == {}
    await second.ends()

    again = Host(bench, bench.store_dir)  # and back
    await bench.append([entry(n) for n in range(3)])
    await again.has(RECORDS + 43)
    await again.ends()


async def test_rows_that_were_changed_leave_no_file_and_no_signature(bench, first, tmp_path):
    """The files of one host are the ones that were signed; another's are made of rows, and must be the same."""
    await first.ends()
    with psycopg.connect(bench.superuser) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute("ALTER TABLE audit_leaves DISABLE TRIGGER USER")
        conn.execute(
            "UPDATE audit_leaves SET leaf = w.leaf, leaf_hash = w.leaf_hash FROM audit_leaves w"
            " WHERE audit_leaves.i = 5 AND w.i = 6 AND w.log_id = audit_leaves.log_id"
        )
        conn.execute("ALTER TABLE audit_leaves ENABLE ALWAYS TRIGGER fence")
    signed = len(bench.signer.signed)
    other = Recorder(bench.recording, bench.signer, tmp_path / "second", SystemClock())
    await bench.append([entry(1)])
    with pytest.raises(LogHalted, match="do not give the root that was signed at size 600"):
        await other.drain()
    assert len(bench.signer.signed) == signed
    assert PosixStore(tmp_path / "second" / str(bench.log.log_id)).names() == []


async def test_what_a_set_lost_below_its_checkpoint_still_halts_the_log(bench, first):
    await first.ends()
    shutil.rmtree(bench.directory / "tile/0")
    await bench.append([entry(1)])
    with pytest.raises(LogHalted, match="tile/0/"):
        await bench.new_recorder().drain()


async def test_of_several_checks_one_works_and_finds_nothing_that_is_not_so(bench, first, tmp_path):
    """The rows say how much of a set was seen; another host's set is not the one that was seen."""
    rounds, stop = "SELECT coalesce(max(rounds), 0) FROM audit_checks", asyncio.Event()
    works = asyncio.create_task(checker(bench, first.store, lambda: first.recorder.term).run(stop))
    await until(lambda: bench.rows(rounds)[0][0] >= 2)
    waits = asyncio.create_task(checker(bench, tmp_path / "new", lambda: 0).run(stop))
    before = bench.rows(rounds)[0][0]
    await until(lambda: bench.rows(rounds)[0][0] >= before + 2)
    await first.ends()
    second = Host(bench, tmp_path / "second")
    await second.has(RECORDS)
    goes_on = checker(bench, second.store, lambda: second.recorder.term)
    after = asyncio.create_task(goes_on.run(stop))
    before = bench.rows(rounds)[0][0]
    await until(lambda: bench.rows(rounds)[0][0] >= before + 2)
    stop.set()
    await asyncio.gather(works, waits, after)
    await second.ends()
    assert bench.rows("SELECT found FROM audit_checks WHERE found IS NOT NULL") == []
    assert bench.rows("SELECT count(*) FROM audit_leaves") == [(RECORDS,)]


def checker(bench: Bench, store: Path, term: Callable[[], int]) -> Checker:
    return Checker(
        bench.recording,
        lambda log: {"first": PosixStore(store / str(log.log_id)).read},
        SystemClock(),
        term=term,
    )


async def test_who_waits_for_the_lock_asks_in_one_session(bench: Bench):
    """A session for each question would cost a handshake every two seconds, and a warning in the log."""
    waiting = Database(bench.made.conninfo("recorder"), name="test-waiting", size=1)
    await waiting.open()
    sessions = set()
    async with only_session(bench.recording):
        for _ in range(3):
            with pytest.raises(LockTaken):
                async with only_session(waiting):
                    raise AssertionError("the lock is taken")
            async with waiting.connection() as conn:
                sessions.add(conn.info.backend_pid)
    assert len(sessions) == 1
    async with only_session(waiting) as conn:
        assert {conn.info.backend_pid} == sessions
    await waiting.close()
