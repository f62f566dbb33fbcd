"""The continuous check on a real database: what a superuser, a disk or a backup did is found and named."""

from __future__ import annotations

import asyncio
import json
import shutil

import psycopg
import pytest

from audit.checker import Checker
from audit.checking import DATABASE, CopyAway
from audit.worm.posix import PosixStore
from tenancy.clock import SystemClock
from tests.fixtures.audit import entry
from tests.integration.audit.test_cli_and_bench import invoke, settings_of
from tests.integration.audit.test_recorder import restore_a_backup

SIZE = 700


def checker_of(bench, records_per_s=10**9):
    """Two copies: the recorder's store, and another directory beside it."""

    def copies(log):
        names = {"store": bench.store_dir, "second": bench.store_dir.parent / "second"}
        return {name: PosixStore(path / str(log.log_id)).read for name, path in names.items()}

    return Checker(bench.recording, copies, SystemClock(), records_per_s=records_per_s)


@pytest.fixture
async def filled(bench):
    """SIZE records of seven orders, published in three steps; a second copy; nothing waits."""
    for start, end in ((0, 100), (100, 300), (300, SIZE)):
        await bench.append([entry(n, oid=f"o-{n % 7}") for n in range(start, end)])
        await bench.recorder.drain()
    shutil.copytree(bench.store_dir, bench.store_dir.parent / "second")
    return bench


async def found(bench):
    return [(one.index, one.where) for one in await checker_of(bench).check(bench.log)]


def superuser(bench, query, *values):
    """With every trigger out of the way."""
    with psycopg.connect(bench.superuser) as conn:
        conn.execute("SET session_replication_role = replica")
        for table in ("audit_leaves", "audit_checkpoints"):
            conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        assert conn.execute(query, values).rowcount
        for table in ("audit_leaves", "audit_checkpoints"):
            conn.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER fence")


async def test_a_right_log_differs_nowhere(filled):
    assert await found(filled) == []


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("UPDATE audit_leaves SET leaf = convert_to(replace(convert_from(leaf, 'UTF8'), 'intent', 'cancel'),"
         " 'UTF8') WHERE i = 301", 301),
        ("UPDATE audit_leaves SET leaf = v.leaf, leaf_hash = v.leaf_hash FROM audit_leaves v"
         " WHERE audit_leaves.i = 400 AND v.i = 407", 400),
        ("UPDATE audit_leaves SET i = CASE i WHEN 50 THEN 10057 WHEN 57 THEN 10050 END WHERE i IN (50, 57)", 50),
        ("UPDATE audit_leaves SET oid = 'o-9' WHERE i = 12", 12),
        ("DELETE FROM audit_leaves WHERE i = 256", 256),
        ("DELETE FROM audit_leaves WHERE i >= 690", 690),
        ("DELETE FROM audit_payloads WHERE i = 5", 5),
        ("UPDATE audit_order_heads SET n = n + 1 WHERE oid = 'o-0'", 693),
        ("DELETE FROM audit_order_heads WHERE oid = 'o-1'", 694),
        ("UPDATE audit_checkpoints SET root = sha256('x') WHERE size = 300", 299),
        ("DELETE FROM audit_checkpoints WHERE size = 700", 300),
    ],
)  # fmt: skip
async def test_what_a_superuser_changed_is_found_and_named(filled, query, first):
    superuser(filled, query)
    differences = await found(filled)
    assert differences[0] == (first, DATABASE)
    assert {where for _, where in differences} == {DATABASE}


async def test_a_flipped_bit_is_found_in_the_copy_that_has_it(filled):
    for name in ("second", "audit"):
        path = filled.store_dir.parent / name / str(filled.log.log_id) / "tile/entries/001"
        right = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(right[:60_000] + bytes([right[60_000] ^ 1]) + right[60_001:])
        differences = await found(filled)
        assert {where for _, where in differences} == {"store" if name == "audit" else name}
        assert 256 < differences[0][0] < 512
        path.write_bytes(right)


async def test_a_restored_older_database_is_named_by_the_first_record_it_lost(filled):
    restore_a_backup(filled, 300)
    assert set(await found(filled)) == {(300, DATABASE)}


async def test_a_difference_becomes_one_alert_in_the_log_and_stands_until_it_is_gone(filled):
    superuser(filled, "UPDATE audit_leaves SET leaf_hash = sha256('x') WHERE i = 555")
    stop = asyncio.Event()
    checking = asyncio.create_task(checker_of(filled).run(stop))
    await until(filled, "SELECT count(*) FROM audit_checks WHERE rounds >= 3", 1)
    stop.set()
    await checking
    assert filled.rows("SELECT found_index FROM audit_checks") == [(555,)]
    ((payload,),) = filled.rows("SELECT payload FROM audit_inbox WHERE kind = 'alert'")
    said = json.loads(payload)
    assert (said["event"], said["index"], said["where"]) == ("audit_differs", 555, DATABASE)

    superuser(
        filled,
        "UPDATE audit_leaves SET leaf_hash = sha256(decode('00', 'hex') || leaf) WHERE i = 555",
    )
    stop = asyncio.Event()
    checking = asyncio.create_task(checker_of(filled).run(stop))
    await until(filled, "SELECT count(*) FROM audit_checks WHERE found IS NULL AND rounds >= 5", 1)
    stop.set()
    await checking


async def test_the_check_goes_on_where_it_stood_and_beside_a_recorder_that_writes(filled):
    """Small steps, a restart in between, a log that grows under it: no false alarm, and it moves on."""
    await filled.append([entry(n, oid=f"o-{n % 7}") for n in range(SIZE, 3000)])
    await filled.recorder.drain()
    stop = asyncio.Event()
    recording = asyncio.create_task(filled.recorder.run(stop))
    places = set()
    for start in range(3000, 3300, 100):
        pause = asyncio.Event()
        checking = asyncio.create_task(checker_of(filled, records_per_s=20_000).run(pause))
        await filled.append([entry(n, oid=f"o-{n % 7}") for n in range(start, start + 100)])
        await until(
            filled, f"SELECT count(*) FROM audit_checks WHERE next_index NOT IN ({ids(places)})", 1
        )
        pause.set()
        await checking
        places |= set(filled.rows("SELECT next_index FROM audit_checks"))
    stop.set()
    await recording
    assert len(places) == 3
    assert filled.rows("SELECT found FROM audit_checks") == [(None,)]


def ids(places):
    return ", ".join(str(place[0]) for place in places) or "0"


async def until(bench, query, wanted):
    for _ in range(1000):
        if bench.rows(query) == [(wanted,)]:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"never {wanted}: {query}: {bench.rows('SELECT * FROM audit_checks')}")


async def test_the_operators_command_prints_what_differs(filled, database, tmp_path):
    settings = settings_of(filled, database, tmp_path)
    right = await invoke("check", settings=settings)
    assert (right.exit_code, right.output.count("no difference")) == (0, 1), right.output
    superuser(filled, "DELETE FROM audit_payloads WHERE i = 5")
    wrong = await invoke("check", "--tenant", filled.log.tenant_id, settings=settings)
    assert wrong.exit_code == 2
    assert "index 5: database: the record's payload is gone" in wrong.output


async def test_a_copy_that_cannot_be_asked_is_left_out_and_the_others_are_compared(filled):
    """Also where it goes away in the middle; it is no difference, for nobody knows what it holds."""
    second = PosixStore(filled.store_dir.parent / "second" / str(filled.log.log_id))
    asked = []

    def away_after_two(name):
        asked.append(name)
        if len(asked) > 2:
            raise CopyAway("second", "connection refused")
        return second.read(name)

    first = PosixStore(filled.store_dir / str(filled.log.log_id))
    copies = {"first": first.read, "second": away_after_two}
    checker = Checker(filled.recording, lambda log: copies, SystemClock())
    assert await checker.check(filled.log) == []
    assert len(asked) > 2
    superuser(filled, "DELETE FROM audit_payloads WHERE i = 5")
    assert [(one.index, one.where) for one in await checker.check(filled.log)] == [(5, DATABASE)]
