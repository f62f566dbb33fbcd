"""From the tenants' logs to the witnesses: what the recorder anchors, has cosigned, and stops at."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from audit.anchor import read_anchored
from audit.anchoring import Anchoring, AnchorSettings
from audit.checkpoint import open_checkpoint
from audit.logs import Log, read_anchor, read_logs
from audit.policy import check_quorum, parse_policy
from audit.proving import prove_order
from audit.verdict import OK
from audit.verifier import verify_log
from audit.witness.server import Server
from audit.witness.witness import Witness, create, load
from audit.witnessed import check_record
from tests.contract.test_independent_readers import go_reader, go_says
from tests.fakes.growing_log import GrowingLog
from tests.fixtures.audit import Bench, add_anchor, add_log, entry
from tests.integration.audit.test_checker import checker_of

__all__ = ["go_reader"]

pytestmark = pytest.mark.stack


@dataclass
class Served:
    """A witness that runs, and can be told to go away."""

    witness: Witness
    server: Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def witnesses(tmp_path) -> Iterator[list[Served]]:
    served = []
    for n in range(2):
        create(tmp_path / f"w{n}", f"witness.test/w{n}")
        server = Server(load(tmp_path / f"w{n}", time.time), ("127.0.0.1", 0))
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        served.append(Served(server.witness, server))
    yield served
    for one in served:
        one.server.shutdown()
        one.server.server_close()


@pytest.fixture
def anchor(bench, witnesses) -> Log:
    """The anchor log, which both witnesses know."""
    log = add_anchor(bench.superuser, bench.signer)
    for one in witnesses:
        for key in log.known:
            one.witness.memory.add(log.origin, key)
    return log


def policy_of(witnesses: list[Served], rule: str = "all") -> bytes:
    lines = [f"witness w{n} {one.witness.key.public} {one.url}" for n, one in enumerate(witnesses)]
    return "\n".join([*lines, f"group g {rule} w0 w1", "quorum g", ""]).encode()


def settings(witnesses: list[Served] | None, every_s: float = 0.3) -> AnchorSettings:
    policy = None if witnesses is None else parse_policy(policy_of(witnesses))
    return AnchorSettings(every_s=every_s, policy=policy, witness_timeout_s=3.0)


@asynccontextmanager
async def running(bench: Bench, anchors: AnchorSettings) -> AsyncIterator[None]:
    bench.recorder = bench.new_recorder(anchors)
    stop = asyncio.Event()
    task = asyncio.create_task(bench.recorder.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


def directory(bench: Bench, log: Log) -> Path:
    return bench.store_dir / str(log.log_id)


async def until(condition, timeout_s: float = 10.0):
    """What `condition` gives as soon as it gives something."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {timeout_s:g} s")


def anchored_to(bench: Bench, log: Log, size: int):
    """The log's own anchor file, once it is of that size."""

    def look():
        path = directory(bench, log) / "anchor"
        told = read_anchored(path.read_bytes()) if path.exists() else None
        return told if told is not None and told.slot.checkpoint.size == size else None

    return look


async def test_a_record_leads_through_the_anchor_to_both_witnesses(bench, anchor, witnesses):
    await bench.append([entry(n, oid="o-1") for n in range(5)])
    async with running(bench, settings(witnesses)):
        await until(anchored_to(bench, bench.log, 5))
        bundle = await prove_order(bench.admin, bench.scope, bench.store_dir, "o-1")
    policy = parse_policy(policy_of(witnesses))
    assert bundle["anchor_vkey"] == anchor.vkey
    for record in bundle["records"]:
        found = check_record(
            record["leaf"].encode(), record["proof"], bench.log.known, anchor.known, policy
        )
        assert found.anchor is not None
        assert found.quorum is not None
        assert found.quorum.met
    (cosigned,) = bench.rows("SELECT count(DISTINCT witness) FROM audit_cosignatures")[0]
    assert cosigned == 2


async def test_the_anchor_log_is_a_log_as_any_other(bench, anchor, witnesses, go_reader):
    """The verifier and Go read it; its note bears both of its own keys and both witnesses."""
    async with running(bench, settings(witnesses, every_s=1.0)):
        path = directory(bench, anchor) / "checkpoint"
        await until(
            lambda: path.exists() and open_checkpoint(path.read_bytes(), *anchor.known).size > 1
        )
    for vkey in (anchor.vkey, str(anchor.key)):
        verdict = verify_log(directory(bench, anchor), vkey)
        assert verdict.code == OK, verdict.findings
    note = path.read_bytes()
    assert note.count("—".encode()) == 4
    assert await checker_of(bench).check(anchor) == []
    assert check_quorum(note, parse_policy(policy_of(witnesses))).met
    assert go_says(go_reader, directory(bench, anchor), anchor.key)[0]


async def test_anchors_are_written_however_little_happens(bench, anchor):
    async with running(bench, settings(None, every_s=1.0)):
        await until(
            lambda: bench.rows(
                f"SELECT 1 FROM audit_leaves WHERE log_id = '{anchor.log_id}' AND i = 2"
            )
        )
    # Nothing was ever recorded: there is no log's head in any of them, and nobody can tell.
    assert bench.rows("SELECT count(*) FROM audit_anchored") == [(0,)]
    assert verify_log(directory(bench, anchor), anchor.vkey).code == OK


async def test_a_tenant_finds_its_log_in_the_same_slot_after_a_restart(bench, anchor, database):
    other = add_log(database.superuser, bench.signer, "second")
    await bench.append([entry(1)])
    await bench.append([entry(1)], other)
    async with running(bench, settings(None)):
        before = await until(anchored_to(bench, bench.log, 1))
    await bench.append([entry(2)])
    async with running(bench, settings(None)):
        after = await until(anchored_to(bench, bench.log, 2))
        beside = await until(anchored_to(bench, other, 1))
    assert before.slot.slot == after.slot.slot != beside.slot.slot
    for told in (before, after, beside):
        told.check(*anchor.known)


async def test_a_missing_quorum_raises_the_alarm_and_stops_nothing(bench, anchor, witnesses):
    from audit import metrics

    witnesses[1].witness.memory._path.rename(witnesses[1].witness.memory._path.with_name("gone"))
    await bench.append([entry(1, oid="o-1")])
    async with running(bench, settings(witnesses)):
        told = await until(anchored_to(bench, bench.log, 1))
        assert not check_quorum(told.note, parse_policy(policy_of(witnesses))).met
        assert check_quorum(told.note, parse_policy(policy_of(witnesses, "any"))).met
        await until(lambda: metrics.QUORUM_MET._value.get() == 0)
        await bench.append([entry(2, oid="o-1")])
        await until(anchored_to(bench, bench.log, 2))
    assert bench.rows("SELECT count(*) FROM audit_halts") == [(0,)]


async def test_without_the_signer_anchors_wait_and_come_with_the_next(bench, anchor):
    await bench.append([entry(1)])
    async with running(bench, settings(None)):
        await until(anchored_to(bench, bench.log, 1))
        bench.signer.away = True
        await bench.append([entry(2)])
        await asyncio.sleep(0.8)
        bench.signer.away = False
        await until(anchored_to(bench, bench.log, 2))
    assert verify_log(directory(bench, anchor), anchor.vkey).code == OK


def teach(witness: Witness, bench: Bench, anchor: Log, size: int) -> None:
    """Let the witness cosign another history under the same keys: what a forked operator would show it."""
    forked = GrowingLog(anchor.origin, b"\x07" * 32).grow(size, "another history")
    from audit.witness import request

    answer = witness.add(request.write(0, [], forked.note()))
    assert answer.status == 200


@pytest.mark.parametrize("size", [1, 1000])
async def test_a_witness_that_saw_another_history_halts_the_log_and_its_trading(
    bench, anchor, witnesses, size
):
    """1: the same size and another root (422); 1000: more than we have (409)."""
    teach(witnesses[1].witness, bench, anchor, size)
    await bench.append([entry(1)])
    async with running(bench, settings(witnesses)):
        await until(lambda: bench.rows("SELECT 1 FROM audit_halts"))
        await bench.append([entry(2)])
        await until(lambda: verify_size(bench) == 2)  # the tenants' own logs go on
        assert anchor.log_id in bench.recorder.stats().halted
    ((log_id, source, why, evidence),) = bench.rows(
        "SELECT log_id, source, why, evidence FROM audit_halts"
    )
    assert (log_id, source) == (anchor.log_id, "witness")
    assert "proven" in why
    assert evidence.startswith(f"{anchor.origin}\n{size}\n")
    assert ("anchor", "reducing") in bench.rows("SELECT what, state FROM find_stops()")
    assert bench.rows(
        "SELECT count(*) FROM audit_leaves WHERE convert_from(leaf, 'UTF8')::json ->> 'k' ="
        " 'checkpoint.refused'"
    ) == [(1,)]
    shown = directory(bench, anchor) / "checkpoint"
    assert not shown.exists()  # what was refused is never published


def verify_size(bench: Bench) -> int:
    return verify_log(bench.directory, str(bench.log.key)).size


async def test_a_halt_outlasts_a_restart_and_ends_when_it_is_lifted(bench, anchor, witnesses):
    teach(witnesses[1].witness, bench, anchor, 1)
    await bench.append([entry(1)])
    async with running(bench, settings(witnesses)):
        await until(lambda: bench.rows("SELECT 1 FROM audit_halts"))
    leaves = bench.rows(f"SELECT count(*) FROM audit_leaves WHERE log_id = '{anchor.log_id}'")
    without = AnchorSettings(every_s=0.3, policy=None)
    async with running(bench, without):
        await asyncio.sleep(0.8)
        assert bench.recorder.stats().halted
        again = bench.rows(f"SELECT count(*) FROM audit_leaves WHERE log_id = '{anchor.log_id}'")
        assert again == leaves
        with psycopg.connect(bench.superuser) as conn:
            conn.execute(
                "INSERT INTO audit_lifts (lift_id, tenant_id, halt_id, reason)"
                " SELECT gen_random_uuid(), tenant_id, halt_id, 'the witness was wrong' FROM audit_halts"
            )
        await until(anchored_to(bench, bench.log, 1))
        assert not bench.recorder.stats().halted
    assert bench.rows("SELECT what FROM find_stops()") == []


async def test_a_database_and_files_restored_together_are_caught_by_the_witness(
    bench, anchor, witnesses, tmp_path
):
    """Nothing on our side contradicts itself then: only somebody else remembers."""
    await bench.append([entry(1)])
    async with running(bench, settings(witnesses)):
        await until(anchored_to(bench, bench.log, 1))
    shutil.copytree(bench.store_dir, tmp_path / "older")
    kept = bench.rows(f"SELECT max(i) FROM audit_leaves WHERE log_id = '{anchor.log_id}'")[0][0]
    async with running(bench, settings(witnesses)):
        await until(
            lambda: bench.rows(
                f"SELECT 1 FROM audit_cosignatures WHERE size > {kept + 3} AND witness = 'w1'"
            )
        )
    with psycopg.connect(bench.superuser) as conn:  # as a restored backup would have it
        conn.execute("SET session_replication_role = replica")
        for table in ("audit_leaves", "audit_anchored"):
            conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER fence")
        for table in ("audit_checkpoints", "audit_cosignatures"):
            conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER fence")
            conn.execute(
                f"DELETE FROM {table} WHERE log_id = %s AND size > %s", (anchor.log_id, kept + 1)
            )
        conn.execute("DELETE FROM audit_leaves WHERE log_id = %s AND i > %s", (anchor.log_id, kept))
        conn.execute("DELETE FROM audit_anchored WHERE i > %s", (kept,))
    shutil.rmtree(bench.store_dir)
    shutil.copytree(tmp_path / "older", bench.store_dir)
    async with running(bench, settings(witnesses)):
        ((why,),) = await until(lambda: bench.rows("SELECT why FROM audit_halts"))
    assert "proven" in why


async def test_people_and_workers_see_one_log_of_a_tenant_and_the_anchor_by_name(bench, anchor):
    from tenancy.scope import Actor, TenantScope

    platform = TenantScope(anchor.tenant_id, Actor("human", "operator"))
    async with bench.admin.tenant(platform) as conn:
        (own,) = await read_logs(conn)
        seen = await read_anchor(conn)
    assert own.kind == "records"
    assert seen is not None
    assert (seen.log_id, seen.vkey) == (anchor.log_id, anchor.vkey)


async def test_a_log_with_a_second_key_bears_both_lines_and_go_reads_the_first(
    bench, database, go_reader
):
    log = add_log(database.superuser, bench.signer, "second", second=True)
    await bench.append([entry(1)], log)
    await bench.recorder.drain()
    where = directory(bench, log)
    note = (where / "checkpoint").read_bytes()
    assert note.count("—".encode()) == 2
    assert (where / "vkey").read_text() == f"{log.vkey}\n"
    for vkey in (log.vkey, *map(str, log.known)):
        assert verify_log(where, vkey).code == OK
    assert go_says(go_reader, where, log.key)[0]


@pytest.mark.parametrize("step", ["write", "cosign", "keep_lines", "show"])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_session_that_breaks_at_any_step_is_taken_up_by_the_next(
    bench, anchor, witnesses, monkeypatch, step, moment
):
    """As a crash there leaves it: the leaf stands or does not, and the next start goes on from it."""
    real, broken = getattr(Anchoring, step), []

    async def breaks(self, *arguments):
        if broken:
            return await real(self, *arguments)
        broken.append(step)
        if moment == "after":
            await real(self, *arguments)
        raise OSError("the disk went away")

    monkeypatch.setattr(Anchoring, step, breaks)
    await bench.append([entry(1)])
    async with running(bench, settings(witnesses)):
        told = await until(anchored_to(bench, bench.log, 1))
    assert broken
    told.check(*anchor.known)
    assert check_quorum(told.note, parse_policy(policy_of(witnesses))).met
    verdict = verify_log(directory(bench, anchor), anchor.vkey)
    assert verdict.code == OK, verdict.findings
    assert bench.rows("SELECT count(*) FROM audit_halts") == [(0,)]
