"""From the caller's transaction to files that verify on their own."""

from __future__ import annotations

import asyncio
import json

import psycopg
import pytest

from audit.bundle import verify_bundle
from audit.inbox import append
from audit.ports import LogHalted
from audit.proving import ProofPending, prove_order
from audit.record import Kind, opens
from audit.verdict import INCONSISTENT, OK, TAMPERED
from audit.verifier import verify_log
from tenancy.errors import Invalid, NotFound, Unavailable
from tests.fixtures.audit import add_log, entry


def leaves_of(bench):
    rows = bench.rows(
        f"SELECT leaf FROM audit_leaves WHERE log_id = '{bench.log.log_id}' ORDER BY i"
    )
    return [json.loads(row[0]) for row in rows]


async def test_what_was_appended_is_sequenced_published_and_verified(bench):
    await bench.append([entry(n, oid=f"o-{n % 7}") for n in range(700)])
    await bench.recorder.drain()

    verdict = verify_log(bench.directory, str(bench.log.key))
    assert (verdict.code, verdict.size, verdict.orders) == (OK, 700, 7), verdict.findings
    leaves = leaves_of(bench)
    assert [leaf["i"] for leaf in leaves] == list(range(700))
    assert bench.rows("SELECT count(*) FROM audit_inbox") == [(0,)]
    stats = bench.recorder.stats()
    assert stats.checkpoint_sizes == {bench.log.log_id: 700}
    assert (stats.records_total, stats.unpublished_age_s, stats.halted) == (700, 0.0, {})


async def test_order_of_arrival_is_the_order_of_the_log(bench):
    for n in range(5):
        await bench.append([entry(2 * n), entry(2 * n + 1)])
    await bench.recorder.drain()
    assert [leaf["ts"][-10:-1] for leaf in leaves_of(bench)] == [f"{n:09}" for n in range(10)]


async def test_a_record_whose_change_was_rolled_back_does_not_exist(bench):
    async def change_its_mind():
        async with bench.ingress.shared() as conn:
            await append(conn, [(bench.log.tenant_id, entry(1))])
            raise RuntimeError("the caller changed its mind")

    with pytest.raises(RuntimeError):
        await change_its_mind()
    await bench.append([entry(2)])
    await bench.recorder.drain()
    assert len(leaves_of(bench)) == 1


async def test_the_payload_opens_its_commitment_and_is_in_no_file(bench):
    await bench.append([entry(1, oid="o-1")])
    await bench.recorder.drain()
    ((payload,),) = bench.rows("SELECT payload FROM audit_payloads")
    key = bytes.fromhex(json.loads(payload)["k_rec"])
    assert opens(leaves_of(bench)[0]["pc"], key, payload)
    assert not opens(leaves_of(bench)[0]["pc"], key, payload + b" ")
    files = [path for path in bench.store_dir.rglob("*") if path.is_file()]
    assert files
    assert not any(b"stays out of the files" in path.read_bytes() for path in files)


async def test_tenants_have_logs_of_their_own(bench, database):
    other = add_log(database.superuser, bench.signer, "second")
    async with bench.ingress.shared() as conn:
        both = [(bench.log.tenant_id, entry(1)), (other.tenant_id, entry(2))]
        await append(conn, both * 3)
    await bench.recorder.drain()
    for log in (bench.log, other):
        verdict = verify_log(bench.store_dir / str(log.log_id), str(log.key))
        assert (verdict.code, verdict.size) == (OK, 3), verdict.findings


async def test_a_log_made_while_the_recorder_runs_is_picked_up(bench, database):
    stop = asyncio.Event()
    running = asyncio.create_task(bench.recorder.run(stop))
    await bench.append([entry(1)])
    await bench.recorder.drain()
    other = add_log(database.superuser, bench.signer, "second")
    await bench.append([entry(2)], other)
    await bench.recorder.drain()
    stop.set()
    await running
    assert verify_log(bench.store_dir / str(other.log_id), str(other.key)).size == 1


async def test_growth_in_many_steps_keeps_extending_the_same_tree(bench):
    older = None
    total = 0
    for count in (1, 254, 1, 1, 255, 3, 600):
        await bench.append([entry(total + n, oid="o") for n in range(count)])
        total += count
        await bench.new_recorder().drain()
        verdict = verify_log(bench.directory, str(bench.log.key), older)
        assert (verdict.code, verdict.size) == (OK, total), verdict.findings
        older = (bench.directory / "checkpoint").read_bytes()
    partial = [str(p.parent.name) for p in bench.directory.rglob("*.p/*")]
    assert "000.p" in partial  # level 1
    assert not (bench.directory / "tile/entries/000.p").exists()


async def test_one_orders_proof_verifies_and_a_changed_payload_does_not(bench):
    await bench.append([entry(n, oid=f"o-{n % 3}") for n in range(300)])
    last = entry(300, oid="o-1", kind=Kind.ORDER_CLOSE)
    await bench.append([last])
    await bench.recorder.drain()
    bundle = await prove_order(bench.admin, bench.scope, bench.store_dir, "o-1")
    bundle = json.loads(json.dumps(bundle))
    verdict = verify_bundle(bundle, str(bench.log.key))
    assert (verdict.code, verdict.orders_open, len(bundle["records"])) == (OK, 0, 101)
    assert bundle["records"][0]["proof"].startswith("c2sp.org/tlog-proof@v1\nindex 1\n")

    bundle["records"][5]["payload"] = bundle["records"][5]["payload"].replace("stays", "stood")
    changed = verify_bundle(bundle, str(bench.log.key))
    assert (changed.code, changed.first_bad_index) == (TAMPERED, bundle["records"][5]["i"])
    del bundle["records"][5]
    assert verify_bundle(bundle, str(bench.log.key)).code == INCONSISTENT


async def test_a_proof_waits_for_the_checkpoint_and_knows_no_others_order(bench, database):
    with pytest.raises(NotFound):
        await prove_order(bench.admin, bench.scope, bench.store_dir, "o-1")
    await bench.append([entry(1, oid="o-1")])
    bench.signer.away = True
    with pytest.raises(Unavailable):
        await bench.recorder.drain(timeout_s=0.5)
    with pytest.raises(ProofPending):
        await prove_order(bench.admin, bench.scope, bench.store_dir, "o-1")


async def test_without_the_signer_records_are_sequenced_and_published_later(bench):
    stop = asyncio.Event()
    bench.signer.away = True
    running = asyncio.create_task(bench.recorder.run(stop))
    for n in range(3):
        await bench.append([entry(n)])
        await asyncio.sleep(0.3)
    assert len(leaves_of(bench)) == 3
    assert not (bench.directory / "checkpoint").exists()
    assert bench.recorder.stats().unpublished_age_s > 0.5
    bench.signer.away = False
    await bench.recorder.drain()
    stop.set()
    await running
    assert verify_log(bench.directory, str(bench.log.key)).size == 3


async def test_a_lost_database_session_loses_nothing(bench, database):
    stop = asyncio.Event()
    running = asyncio.create_task(bench.recorder.run(stop))
    for n in range(6):
        try:
            await bench.append([entry(10 * n + k, oid="o") for k in range(10)])
        except psycopg.Error:
            await bench.append([entry(10 * n + k, oid="o") for k in range(10)])
        with psycopg.connect(database.cluster.superuser(), autocommit=True) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND usename = 'portcullis_recorder'",
                (database.name,),
            )
        await asyncio.sleep(0.05)
    await bench.recorder.drain()
    stop.set()
    await running
    verdict = verify_log(bench.directory, str(bench.log.key))
    assert (verdict.code, verdict.size) == (OK, 60), verdict.findings


async def test_of_two_recorders_one_is_fenced(bench):
    stop = asyncio.Event()
    first = asyncio.create_task(bench.recorder.run(stop))
    await bench.append([entry(1)])
    await bench.recorder.drain()
    second = bench.new_recorder()
    second_stop = asyncio.Event()
    waiting = asyncio.create_task(second.run(second_stop))
    await bench.append([entry(n) for n in range(20)])
    await bench.recorder.drain()
    assert second.stats().records_total == 0
    stop.set()
    await first
    await bench.append([entry(21)])
    await second.drain()
    second_stop.set()
    await waiting
    verdict = verify_log(bench.directory, str(bench.log.key))
    assert (verdict.code, verdict.size) == (OK, 22), verdict.findings


def restore_a_backup(bench, size):
    """The rows as they were when the log had `size` leaves; the files stay as they are."""
    with psycopg.connect(bench.superuser) as conn:
        conn.execute("SET session_replication_role = replica")
        for table, newer in (("audit_leaves", "i >= %s"), ("audit_checkpoints", "size > %s")):
            conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            conn.execute(f"DELETE FROM {table} WHERE {newer}", (size,))
            conn.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER fence")


@pytest.mark.parametrize(
    ("backup", "why"), [(0, "the database knows no checkpoint"), (4, "the database kept 4")]
)
async def test_a_database_older_than_the_files_halts_the_log_and_signs_nothing(bench, backup, why):
    await bench.append([entry(n) for n in range(4)])
    await bench.recorder.drain()
    await bench.append([entry(n) for n in range(6)])
    await bench.recorder.drain()
    restore_a_backup(bench, backup)
    signed = len(bench.signer.signed)
    await bench.append([entry(n) for n in range(20)])
    with pytest.raises(LogHalted, match=why):
        await bench.new_recorder().drain()
    assert len(bench.signer.signed) == signed
    assert bench.rows("SELECT count(*) FROM audit_inbox") == [(20,)]
    assert verify_log(bench.directory, str(bench.log.key)).size == 10


async def test_a_tile_that_holds_other_bytes_halts_that_log_alone(bench, database):
    other = add_log(database.superuser, bench.signer, "second")
    tile = bench.directory / "tile/0/000.p/1"
    tile.parent.mkdir(parents=True)
    tile.write_bytes(b"x" * 32)
    await bench.append([entry(1)])
    await bench.append([entry(2)], other)
    with pytest.raises(LogHalted, match="holds other bytes"):
        await bench.recorder.drain()
    await asyncio.sleep(0.1)
    assert bench.log.log_id in bench.recorder.stats().halted
    assert verify_log(bench.store_dir / str(other.log_id), str(other.key)).size == 1


@pytest.mark.parametrize("oid", ["x" * 300, "e\u0301", "nul\x00"])
async def test_text_that_no_leaf_can_hold_is_refused_before_anything_is_written(bench, oid):
    with pytest.raises(Invalid):
        await bench.append([entry(1), entry(2, oid=oid)])
    assert bench.rows("SELECT count(*) FROM audit_inbox") == [(0,)]


async def test_a_poisoned_inbox_row_halts_its_log_and_no_other(bench, database):
    other = add_log(database.superuser, bench.signer, "second")
    await bench.append([entry(1)])
    with psycopg.connect(bench.superuser) as conn:
        conn.execute("UPDATE audit_inbox SET acct = 'e\u0301'")
    await bench.append([entry(2)], other)
    with pytest.raises(LogHalted, match="cannot be a leaf"):
        await bench.recorder.drain()
    assert verify_log(bench.store_dir / str(other.log_id), str(other.key)).size == 1
