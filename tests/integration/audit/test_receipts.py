"""A receipt that an answer gave finds its record in the log, with a proof that any reader checks."""

from __future__ import annotations

import asyncio

import msgspec
import psycopg

from audit import receipts
from audit.inbox import append
from audit.proof import parse_proof
from audit.receipts import Receipt, collected, find, header, parse
from audit.record import Kind
from audit.worm.posix import PosixStore
from gateway.admin.receipts import proof_of
from ops.operator_log import OperatorLog, release_facts
from tenancy.clock import SystemClock
from tests.fixtures.audit import Bench, entry


async def given(bench: Bench, numbers: range) -> list[Receipt]:
    """These records, and the receipts of them."""
    with collected() as made:
        now = SystemClock().now_ns()
        await bench.append([msgspec.structs.replace(entry(n), ts_ns=now + n) for n in numbers])
    return made


async def test_every_receipt_of_a_long_log_finds_exactly_its_record(bench: Bench, monkeypatch):
    """Recorded in several batches with times of their own, and looked for by those times."""
    monkeypatch.setattr(receipts, "STRETCH", 50)
    made = []
    for start in range(0, 300, 100):
        made += await given(bench, range(start, start + 100))
        await bench.recorder.drain(10)
        await asyncio.sleep(0.01)
    async with bench.admin.tenant(bench.scope) as conn:
        for index in (0, 20):
            found = await find(conn, bench.log, made[index])
            assert found is not None
            assert found[0] == index
        assert await find(conn, bench.log, Receipt(made[0].ts_ns, bytes(32))) is None


async def test_the_proof_of_a_receipt_leads_from_the_leaf_to_the_signed_root(bench: Bench):
    made = await given(bench, range(30))
    await bench.recorder.drain(10)
    async with bench.admin.tenant(bench.scope) as conn:
        found = await find(conn, bench.log, made[17])
    assert found is not None
    index, leaf = found
    text = proof_of(PosixStore(bench.directory), bench.log, index, leaf)
    assert text is not None
    assert parse_proof(text).check(leaf, *bench.log.known).size == 30
    assert made[17].pc.hex().encode() in leaf


async def test_before_it_is_recorded_a_receipt_finds_nothing(bench: Bench):
    made = await given(bench, range(1))
    async with bench.admin.tenant(bench.scope) as conn:
        assert await find(conn, bench.log, made[0]) is None
    assert parse(str(made[0])) == made[0]
    assert header(made * 20).count(", ") == receipts.MOST - 1


async def test_outside_of_collected_nobody_gathers(bench: Bench):
    with collected() as made:
        pass
    async with bench.ingress.shared() as conn:
        await append(conn, [(bench.log.tenant_id, entry(1))])
    assert made == []


async def test_the_operators_log_says_which_release_runs_and_which_log_may_not_go_on(bench: Bench):
    with psycopg.connect(bench.superuser) as conn:
        conn.execute("UPDATE tenants SET kind = 'platform'")
    halted = {}
    release = release_facts("0.1.0", 21, "00" * 32)
    own = OperatorLog(bench.recording, SystemClock(), release, lambda: halted)
    await own.look()
    halted[bench.log.log_id] = "two roots"
    for _ in range(2):
        await own.look()
    kinds = [kind for (kind,) in bench.rows("SELECT kind FROM audit_inbox ORDER BY seq")]
    assert kinds == [Kind.DEPLOYMENT, Kind.CHECKPOINT_REFUSED]
