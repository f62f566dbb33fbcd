"""Payloads in a real PostgreSQL: nowhere in clear, erased with their key, provable all the same."""

from __future__ import annotations

import asyncio
import hmac
import json
import subprocess
from hashlib import sha256
from uuid import uuid4

import msgspec
import psycopg
import pytest

from audit import ring, sealing
from audit.bundle import verify_bundle
from audit.inbox import append
from audit.keystore import Keystore, kept_as
from audit.ports import AuditUnavailable
from audit.proving import prove_order
from audit.ring import Erased, Ring
from audit.verdict import OK, TAMPERED
from audit.verifier import verify_log
from hsm.errors import SignerUnavailable
from tenancy.database import Database
from tenancy.values import TenantID
from tests.fakes.note_signer import MemorySigner
from tests.fixtures.audit import add_log, entry
from tests.fixtures.postgres import binaries

SECRET = b"a secret that no file may hold 4711"
SHOWN = "a-trace-id-that-every-file-may-hold"


def said(n=1, **members):
    return msgspec.structs.replace(
        entry(n, oid="o-1"), payload={"n": n, "secret": SECRET.decode()}, cor=SHOWN, **members
    )


def stored(bench, column="payload", table="audit_payloads"):
    return [row[0] for row in bench.rows(f"SELECT {column} FROM {table}")]


def commitments(bench):
    leaves = [json.loads(row) for row in stored(bench, "leaf", "audit_leaves ORDER BY i")]
    return [bytes.fromhex(leaf["pc"]) for leaf in leaves]


def files_that_hold(directory, text):
    found = []
    for path in directory.rglob("*"):
        if path.is_file() and text in path.read_bytes():
            found.append(path)
    return found


def dumped(conninfo):
    words = [binaries() / "pg_dump", "-d", conninfo]
    return subprocess.run(words, capture_output=True, check=True).stdout


async def test_no_file_of_postgresql_holds_a_payload_neither_waiting_nor_recorded(bench, sealed):
    """Data files, write-ahead log and a dump; what stands in the leaf is found by the same search."""
    cluster = bench.made.cluster
    await bench.append([said()])
    with psycopg.connect(bench.superuser, autocommit=True) as conn:
        conn.execute("CHECKPOINT")
    assert files_that_hold(cluster.directory / "data", SHOWN.encode())
    assert files_that_hold(cluster.directory / "data", SECRET) == []
    await bench.recorder.drain()
    with psycopg.connect(bench.superuser, autocommit=True) as conn:
        conn.execute("CHECKPOINT")
    found = files_that_hold(cluster.directory / "data", SHOWN.encode())
    assert any("pg_wal" in str(path) for path in found)
    assert any("base" in str(path) for path in found)
    assert files_that_hold(cluster.directory / "data", SECRET) == []
    dump = await asyncio.to_thread(dumped, bench.superuser)
    assert SHOWN.encode().hex().encode() in dump, "columns of bytes are dumped as hex"
    assert SECRET not in dump
    assert SECRET.hex().encode() not in dump
    assert files_that_hold(bench.store_dir, SECRET) == []


async def test_a_reader_with_the_key_sees_it_and_it_opens_its_commitment(bench, sealed):
    await bench.append([said()])
    await bench.recorder.drain()
    bundle = await prove_order(bench.admin, bench.scope, bench.store_dir, "o-1")
    assert json.loads(bundle["records"][0]["payload"])["secret"] == SECRET.decode()
    assert verify_bundle(bundle, str(bench.log.key)).code == OK


def destroy(bench, subject="account:a-1"):
    with psycopg.connect(bench.superuser) as conn:
        conn.execute("DELETE FROM audit_data_keys WHERE subject = %s", (subject,))


async def test_without_its_key_a_payload_is_erased_in_every_copy_and_proofs_stand(bench, sealed):
    await bench.append([said(1), said(2, acct="a-2")])
    await bench.recorder.drain()
    copies, pcs = stored(bench, table="audit_payloads ORDER BY i"), commitments(bench)
    destroy(bench)
    ring.use(sealed.another())
    with pytest.raises(Erased):
        await ring.current().open(bench.log.tenant_id, copies[0], pcs[0])
    kept = await ring.current().open(bench.log.tenant_id, copies[1], pcs[1])
    assert json.loads(kept)["n"] == 2
    bundle = await prove_order(bench.admin, bench.scope, bench.store_dir, "o-1")
    assert bundle["records"][0]["payload"] is None
    assert bundle["records"][0]["erased"] == {"receipt": "None"}
    assert verify_bundle(bundle, str(bench.log.key)).code == OK
    assert verify_log(bench.directory, str(bench.log.key)).code == OK


async def test_who_guesses_a_payload_finds_no_confirmation_in_the_log(bench, sealed):
    """The whole space is small and known: neither hash nor HMAC without `k_rec` gives a commitment."""
    for n in range(20):
        await bench.append([said(n)])
    await bench.append([said(3)])
    await bench.recorder.drain()
    pcs = set(commitments(bench))
    assert len(pcs) == 21, "the same payload twice has two commitments"
    hashes = {bytes(row) for row in stored(bench, "leaf_hash", "audit_leaves")}
    names = (b"", b"k_rec", bytes(32), b"account:a-1", str(bench.log.tenant_id).encode())
    for n in range(200):
        for form in (said(n).payload, {**said(n).payload, "k_rec": "00" * 32}):
            guess = json.dumps(form, sort_keys=True, separators=(",", ":")).encode()
            tries = {sha256(guess).digest(), sha256(b"\x00" + guess).digest()}
            tries |= {hmac.digest(name, guess, "sha256") for name in names}
            assert not tries & (pcs | hashes)


async def test_one_tenants_key_opens_nothing_of_another(bench, sealed):
    other = add_log(bench.superuser, MemorySigner(), "other")
    sealed.give_key(other.tenant_id)
    await bench.append([said()])
    await bench.append([said()], other)
    with psycopg.connect(bench.superuser) as conn:  # as somebody above the wall could
        conn.execute("ALTER TABLE audit_data_keys DISABLE TRIGGER USER")
        conn.execute(
            "UPDATE audit_data_keys SET wrapped = (SELECT wrapped FROM audit_data_keys"
            " WHERE tenant_id = %s) WHERE tenant_id = %s",
            (bench.log.tenant_id, other.tenant_id),
        )
    with pytest.raises(AuditUnavailable):
        await sealed.another().prepare(other.tenant_id, ["account:a-1"])


async def test_two_processes_make_one_key_for_a_new_subject(bench, sealed):
    rings = [sealed.another() for _ in range(6)]
    subjects = [f"account:{n}" for n in range(50)]
    await asyncio.gather(
        *(
            one.prepare(bench.log.tenant_id, subjects[:: 1 - 2 * (n % 2)])
            for n, one in enumerate(rings)
        )
    )
    assert bench.rows("SELECT count(*), max(version) FROM audit_data_keys") == [(50, 1)]
    pc = bytes(32)
    made = await rings[0].seal(bench.log.tenant_id, "account:7", b"x", pc)
    assert await rings[5].open(bench.log.tenant_id, made, pc) == b"x"


class Overtaken(Keystore):
    """Between its look and its making, another process makes the same keys."""

    other: Ring

    async def _newest(self, conn, audit_key, tenant, subjects):
        found = await super()._newest(conn, audit_key, tenant, subjects)
        await self.other.prepare(tenant, subjects)
        return found


async def test_a_key_that_another_made_since_the_look_is_taken_and_no_second_one_made(
    bench, sealed
):
    slow = Overtaken(sealed.pool, sealed.opener)
    slow.other = sealed.another()
    await Ring(slow).prepare(bench.log.tenant_id, ["account:1", "account:2"])
    assert bench.rows("SELECT count(*), max(version) FROM audit_data_keys") == [(2, 1)]


async def test_a_key_stays_where_the_transaction_that_needed_it_was_rolled_back(bench, sealed):
    async def fails():
        async with bench.ingress.shared() as conn:
            await append(conn, [(bench.log.tenant_id, said())])
            raise RuntimeError("the caller changed its mind")

    with pytest.raises(RuntimeError):
        await fails()
    assert bench.rows("SELECT subject FROM audit_data_keys") == [("account:a-1",)]
    assert bench.rows("SELECT count(*) FROM audit_inbox") == [(0,)]


async def test_callers_that_hold_every_connection_do_not_wait_for_themselves(bench, sealed):
    """Three transactions on a pool of three, each the first about its account."""

    async def one(n):
        async with bench.ingress.shared() as conn:
            await asyncio.sleep(0.05)
            await append(conn, [(bench.log.tenant_id, said(n, acct=f"a-{n}"))])

    async with asyncio.timeout(4):
        await asyncio.gather(*(one(n) for n in range(3)))
    assert bench.rows("SELECT count(*) FROM audit_inbox") == [(3,)]


async def test_signer_away_refuses_the_record_and_with_it_the_change(bench, sealed):
    sealed.opener.failure = SignerUnavailable("nobody there")
    with pytest.raises(AuditUnavailable):
        await bench.append([said()])
    assert bench.rows("SELECT count(*) FROM audit_inbox") == [(0,)]
    sealed.opener.failure = None
    await bench.append([said()])


async def test_a_signer_that_goes_away_later_does_not_matter(bench, sealed):
    await bench.append([said()])
    sealed.opener.failure = SignerUnavailable("nobody there")
    await bench.append([said(2, acct="a-new")])
    assert sealed.opener.calls == 1


async def test_a_tenant_without_an_audit_key_has_no_records_until_it_is_made(bench, sealed):
    other = add_log(bench.superuser, MemorySigner(), "older")
    with pytest.raises(AuditUnavailable, match="no audit key yet"):
        await bench.append([said()], other)

    async def seal(tenant, key):
        return bytes(key)

    pool = Database(bench.made.conninfo("admin"), name="test-keys", size=2)
    await pool.open()
    found = Ring(Keystore(pool, sealed.opener, seal))
    await asyncio.gather(*(found.prepare(other.tenant_id, ["tenant"]) for _ in range(4)))
    await pool.close()
    await bench.append([said()], other)
    assert bench.rows("SELECT count(*) FROM audit_keys") == [(2,)]


async def test_the_audit_key_of_a_customer_who_left_is_opened_under_its_keeper(bench, sealed):
    await bench.append([said()])
    keeper = uuid4()
    with psycopg.connect(bench.superuser) as conn:
        conn.execute("UPDATE audit_keys SET keeper = %s", (keeper,))
    asked = []

    class Opener:
        async def open_secret(self, row, *, tenant_id, subject):
            asked.append((tenant_id, subject))
            return row

    await Ring(Keystore(sealed.pool, Opener())).prepare(bench.log.tenant_id, ["account:a-1"])
    assert asked == [(keeper, kept_as(bench.log.tenant_id))]


async def test_a_retired_key_opens_and_seals_no_more(bench, sealed):
    tenant, pc = bench.log.tenant_id, bytes(32)
    before = await sealed.ring.seal(tenant, "account:a-1", b"before", pc)
    with psycopg.connect(bench.superuser) as conn:
        conn.execute("UPDATE audit_data_keys SET retired_at = now()")
    fresh = sealed.another()
    after = await fresh.seal(tenant, "account:a-1", b"after", pc)
    assert (sealing.parse(before).version, sealing.parse(after).version) == (1, 2)
    assert await fresh.open(tenant, before, pc) == b"before"


async def test_a_generation_later_every_process_asks_anew(bench, sealed):
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock, tenant, pc = Clock(), bench.log.tenant_id, bytes(32)
    one = Ring(Keystore(sealed.pool, sealed.opener), monotonic=clock)
    await one.seal(tenant, "account:a-1", b"x", pc)
    with psycopg.connect(bench.superuser) as conn:
        conn.execute("UPDATE audit_data_keys SET retired_at = now()")
        conn.execute("UPDATE audit_keys SET generation = generation + 1")
    assert sealing.parse(await one.seal(tenant, "account:a-1", b"x", pc)).version == 1
    clock.now += ring.FRESH_S
    assert sealing.parse(await one.seal(tenant, "account:a-1", b"x", pc)).version == 2


async def test_a_changed_payload_is_noticed(bench, sealed):
    await bench.append([said()])
    await bench.recorder.drain()
    bundle = await prove_order(bench.admin, bench.scope, bench.store_dir, "o-1")
    bundle["records"][0]["payload"] = bundle["records"][0]["payload"].replace("4711", "4712")
    assert verify_bundle(bundle, str(bench.log.key)).code == TAMPERED


async def test_the_recorder_says_until_when_a_record_is_kept(bench, sealed):
    with psycopg.connect(bench.superuser) as conn:
        conn.execute(
            "INSERT INTO audit_retention (tenant_id, cls, years) VALUES (%s, 'trade', 9)",
            (bench.log.tenant_id,),
        )
    await bench.append([said(1), said(2, cls="admin")])
    await bench.recorder.drain()
    rows = bench.rows(
        "SELECT subject, cls, extract(year FROM age(keep_until, recorded_at)) FROM audit_payloads ORDER BY i"
    )
    assert rows == [("account:a-1", "trade", 9), ("account:a-1", "admin", 6)]


@pytest.mark.parametrize(
    "act",
    [
        "INSERT INTO audit_retention VALUES (%(t)s, 'admin', 5)",
        "UPDATE audit_retention SET years = 8",
        "DELETE FROM audit_retention",
        "TRUNCATE audit_retention",
    ],
)
async def test_not_even_a_superuser_shortens_a_class_in_passing(bench, act):
    with psycopg.connect(bench.superuser) as conn:
        conn.execute(
            "INSERT INTO audit_retention (tenant_id, cls, years) VALUES (%s, 'trade', 9)",
            (bench.log.tenant_id,),
        )
        with pytest.raises(psycopg.errors.RaiseException, match="only grows"):
            conn.execute(act, {"t": bench.log.tenant_id} if "%" in act else None)


async def test_roles_see_their_tenants_keys_and_nobody_elses(bench, sealed):
    await bench.append([said()])
    stranger = TenantID(uuid4())
    for role in ("ingress", "worker", "recorder", "admin"):
        with psycopg.connect(bench.made.conninfo(role)) as conn:
            for tenant, count in ((bench.log.tenant_id, 1), (stranger, 0), (None, 0)):
                conn.execute(
                    "SELECT set_config('portcullis.tenant_id', %s, true)", (str(tenant or ""),)
                )
                for table in ("audit_keys", "audit_data_keys"):
                    row = conn.execute(f"SELECT count(*) FROM {table}").fetchone()
                    assert row == (count,), (role, table, tenant)
