"""Exports out of a real log: all that belongs to a choice, nothing that was changed, nothing of another's."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import uuid
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg
import pytest

from audit.export.check import verify_package
from audit.export.package import Exporter, Plan
from audit.export.rows import InClear
from audit.export.selection import Selection
from audit.malformed import Malformed
from audit.proving import ProofPending
from audit.record import Kind
from audit.verdict import OK
from tenancy.clock import SystemClock
from tenancy.errors import Conflict, PortcullisError
from tenancy.scope import Actor
from tests.contract.readers import GO_PACKAGES
from tests.fakes.signer_daemon import audit_door, give_audit_key
from tests.fixtures.audit import add_log, entry
from tests.integration.audit.test_cli_and_bench import invoke, settings_of

ACCOUNT, PERSON, STRATEGY = (uuid.UUID(int=n) for n in (11, 12, 13))


def said(n, **members):
    """Record `n`, with more or other members; `also` goes into its payload."""
    also = members.pop("also", {})
    made = entry(n, oid=members.pop("oid", None), kind=members.pop("kind", Kind.ORDER_INTENT))
    return msgspec.structs.replace(made, payload=made.payload | also, **members)


async def exported(bench, directory, *, opener=None, sealed=False, owned=None, **chosen):
    more = {} if owned is None else {"owned": owned}
    exporter = Exporter(
        bench.admin, bench.scope, bench.store_dir, SystemClock(), opener=opener or InClear(), **more
    )
    plan = Plan(
        export_id=uuid.uuid4(), selection=Selection(**chosen), why="a question", sealed=sealed
    )
    return await exporter.make(plan, directory)


def indices(package):
    return [json.loads(line)["i"] for line in (package / "records.jsonl").read_text().splitlines()]


def verdict(bench, package):
    return verify_package(package, bench.log.vkey)


async def test_each_choice_finds_what_belongs_to_it_and_nothing_else(bench, tmp_path):
    other = str(uuid.UUID(int=99))
    await bench.append([
        said(0, oid="o-1", acct=str(ACCOUNT)),
        said(1, oid="o-2", acct=other),
        said(2, kind=Kind.ADMIN_CHANGE, actor=Actor("human", str(PERSON)), acct=None),
        said(3, kind=Kind.SIGNAL_ACCEPTED, acct=None, also={"strategy_id": str(STRATEGY)}),
        said(4, oid="o-1", acct=str(ACCOUNT), kind=Kind.ORDER_FILL),
        said(5, kind=Kind.ADMIN_CHANGE, acct=None, also={"object": "account", "id": str(ACCOUNT)}),
        said(6, kind=Kind.LOGIN, acct=None, also={"person": str(PERSON)}),
    ])  # fmt: skip
    await bench.recorder.drain()

    async def owned(conn, strategies, orders):
        assert strategies == (STRATEGY,)
        return {"o-2"} & set(orders)

    wanted = {
        "orders": ({"orders": ("o-1",)}, [0, 4]),
        "account": ({"accounts": (ACCOUNT,)}, [0, 4, 5]),
        "person": ({"people": (PERSON,)}, [2, 6]),
        "strategy": ({"strategies": (STRATEGY,)}, [1, 3]),
        "both": ({"accounts": (ACCOUNT,), "kinds": (Kind.ORDER_FILL,)}, [4]),
        "none": ({"orders": ("o-9",)}, []),
        "all": ({}, list(range(7))),
    }
    for name, (chosen, expected) in wanted.items():
        await exported(bench, tmp_path / name, owned=owned, **chosen)
        assert indices(tmp_path / name) == expected, name
        made = verdict(bench, tmp_path / name)
        assert (made.verdict.code, made.verdict.findings) == (OK, []), name
    assert verdict(bench, tmp_path / "all").complete == (0, 7)


async def test_a_range_of_time_is_exact_and_complete(bench, tmp_path):
    for n in range(4):
        await bench.append([said(10 * n + k) for k in range(3)])
        await bench.recorder.drain()
        await asyncio.sleep(0.002)
    times = [
        json.loads(row[0])["rt"]
        for row in bench.rows("SELECT convert_from(leaf, 'UTF8') FROM audit_leaves ORDER BY i")
    ]
    since, until = (_just_before(times[n]) for n in (3, 9))
    await exported(bench, tmp_path / "p", since=since, until=until)
    assert indices(tmp_path / "p") == [3, 4, 5, 6, 7, 8]
    assert verdict(bench, tmp_path / "p").complete == (3, 9)
    await exported(bench, tmp_path / "empty", until=_just_before(times[0]))
    assert indices(tmp_path / "empty") == []
    assert verdict(bench, tmp_path / "empty").complete == (0, 0)


async def test_many_windows_are_read_and_proven(bench, tmp_path):
    await bench.append([said(n, oid=f"o-{n % 7}") for n in range(5000)])
    await bench.recorder.drain()
    made = await exported(bench, tmp_path / "p")
    assert made.records == 5000
    assert verdict(bench, tmp_path / "p").complete == (0, 5000)
    assert len(list((tmp_path / "p/pages").iterdir())) == 5


async def test_every_export_leaves_who_what_why_and_its_hash_in_the_log(bench, tmp_path):
    await bench.append([said(0)])
    await bench.recorder.drain()
    made = await exported(bench, tmp_path / "p", accounts=(ACCOUNT,))
    await bench.recorder.drain()
    asked, done = _payloads(bench, Kind.EXPORT)
    assert (asked["event"], done["event"]) == ("export_asked", "export_made")
    assert asked["selection"]["accounts"] == [str(ACCOUNT)]
    assert (done["why"], done["manifest_sha256"]) == ("a question", made.manifest_sha256)
    assert done["export"] == str(made.export_id)


async def test_an_export_that_fails_leaves_its_wish_and_no_files(bench, tmp_path):
    await bench.append([said(n) for n in range(3)])
    await bench.recorder.drain()
    with psycopg.connect(bench.superuser) as conn:
        conn.execute("UPDATE audit_payloads SET payload = payload || ' ' WHERE i = 1")
    with pytest.raises(Malformed, match="payload of record 1 is not what was committed"):
        await exported(bench, tmp_path / "p")
    assert list(tmp_path.glob("p*")) == []
    await bench.recorder.drain()
    assert [one["event"] for one in _payloads(bench, Kind.EXPORT)] == ["export_asked"]


async def test_a_leaf_that_a_superuser_changed_is_named_and_not_given_out(bench, tmp_path):
    await bench.append([said(n) for n in range(300)])
    await bench.recorder.drain()
    with psycopg.connect(bench.superuser) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute("ALTER TABLE audit_leaves DISABLE TRIGGER ALL")
        conn.execute(
            "UPDATE audit_leaves SET leaf = overlay(leaf PLACING 'X' FROM 10) WHERE i = 270"
        )
        conn.execute("ALTER TABLE audit_leaves ENABLE TRIGGER ALL")
    with pytest.raises(Malformed, match="record 270"):
        await exported(bench, tmp_path / "p")


async def test_an_erased_payload_is_said_to_be_erased_and_its_record_still_proven(bench, tmp_path):
    class Erased(PortcullisError):
        code = "erased"

    class Ring:
        async def open_all(self, tenant, rows):
            return [Erased("destroyed") if b'"n":1' in stored else stored for stored, _ in rows]

    await bench.append([said(n) for n in range(3)])
    await bench.recorder.drain()
    await exported(bench, tmp_path / "p", opener=Ring())
    line = json.loads((tmp_path / "p/records.jsonl").read_text().splitlines()[1])
    assert (line["erased"], line.get("payload")) == (True, None)
    made = verdict(bench, tmp_path / "p")
    assert (made.verdict.code, made.counts.erased, made.complete) == (OK, 1, (0, 3))


async def test_one_tenants_export_holds_no_byte_of_anothers(bench, tmp_path):
    other = add_log(bench.superuser, bench.signer, "second")
    for log, secret in ((bench.log, "own-secret"), (other, "foreign-secret")):
        many = [said(n, oid=f"{secret}-order", acct=f"{secret}-account", also={"text": secret})
                for n in range(400)]  # fmt: skip
        await bench.append(many, log)
    await bench.recorder.drain()
    await exported(bench, tmp_path / "all")
    await exported(bench, tmp_path / "asked", orders=("foreign-secret-order",))
    foreign = [b"foreign-secret", other.origin.encode(), str(other.log_id).encode(),
               str(other.tenant_id).encode(), other.tenant_id.bytes]  # fmt: skip
    foreign += [bytes(row[0]) for row in bench.rows(
        f"SELECT leaf_hash FROM audit_leaves WHERE log_id = '{other.log_id}'"
    )]  # fmt: skip
    for path in tmp_path.rglob("*"):
        if path.is_file() and "audit" not in path.relative_to(tmp_path).parts:
            data = path.read_bytes()
            asked = path.name in (
                "manifest.json",
                "README.md",
                "index.html",
            )  # they repeat the wish
            found = [one for one in foreign if one in data]
            assert not found or (asked and found == [b"foreign-secret"]), path
    assert indices(tmp_path / "asked") == []
    assert len(indices(tmp_path / "all")) == 400


async def test_records_without_a_checkpoint_yet_wait(bench, tmp_path):
    await bench.append([said(0)])
    with pytest.raises(ProofPending):
        await exported(bench, tmp_path / "p")


async def test_an_export_is_never_written_over_another(bench, tmp_path):
    await bench.append([said(0)])
    await bench.recorder.drain()
    await exported(bench, tmp_path / "p")
    with pytest.raises(Conflict):
        await exported(bench, tmp_path / "p")


async def test_what_a_crash_left_half_made_is_made_anew(bench, tmp_path):
    (tmp_path / "p.part").mkdir()
    (tmp_path / "p.part/stale").write_text("x")
    await bench.append([said(0)])
    await bench.recorder.drain()
    await exported(bench, tmp_path / "p")
    assert verdict(bench, tmp_path / "p").verdict.code == OK


async def test_the_operator_exports_and_opens(bench, database, tmp_path):
    give_audit_key(bench.superuser, bench.log.tenant_id)
    await bench.append([said(n, oid="o-1") for n in range(3)])
    await bench.recorder.drain()
    settings = settings_of(bench, database, tmp_path)
    package = tmp_path / "package"
    async with audit_door(tmp_path / "audit.sock"):
        done = await invoke(
            "export", "--tenant", bench.log.tenant_id, "--order", "o-1", "--why", "court", "--out", package,
            "--package", "17a-4", "--format", "csv", settings=settings,
        )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "3 records of 3" in done.output
    opened = await invoke(
        "open", "--package", package, "--vkey-file", bench.directory / "vkey", settings=settings
    )
    assert opened.exit_code == 0
    assert (package / "orders.csv").is_file()
    refused = await invoke(
        "export", "--tenant", bench.log.tenant_id, "--since", "2026-01-02", "--until", "2026-01-01",
        "--why", "court", "--out", tmp_path / "q", settings=settings,
    )  # fmt: skip
    assert "not after since" in refused.output


async def test_go_proves_every_record_of_a_package_with_the_program_in_it(bench, tmp_path):
    await bench.append([said(n, oid=f"o-{n % 5}") for n in range(600)])
    await bench.recorder.drain()
    await exported(bench, tmp_path / "all")
    await exported(bench, tmp_path / "one", orders=("o-3",))
    environment = os.environ | {
        "GO111MODULE": "off", "GOPATH": str(GO_PACKAGES), "GOFLAGS": "", "CGO_ENABLED": "0",
        "GOCACHE": str(tmp_path / "cache"),
    }  # fmt: skip
    program = tmp_path / "verify"
    await asyncio.to_thread(
        subprocess.run, [shutil.which("go"), "build", "-o", program, tmp_path / "all/verify.go"],
        env=environment, check=True,
    )  # fmt: skip
    assert _go(program, tmp_path / "all", bench) == "ok 600 of 600\n"
    assert _go(program, tmp_path / "one", bench) == "ok 120 of 600\n"
    records = tmp_path / "one/records.jsonl"
    records.write_bytes(records.read_bytes().replace(b"order.intent", b"order.INTENT", 1))
    assert _go(program, tmp_path / "one", bench).startswith("refused: record 3 ")


async def test_openssl_and_a_shell_prove_a_record_under_either_of_the_logs_keys(bench, tmp_path):
    """What the package's README says, word by word; the second key is for tools without Ed25519."""
    await bench.append([said(n) for n in range(7)])
    await bench.recorder.drain()
    package = tmp_path / "p"
    await exported(bench, package)
    readme = (package / "README.md").read_text()
    section = readme[readme.index("## Check it with openssl") :].split("\n## ")[0]
    words = "\n".join(line for line in section.split("\n") if line.startswith("    "))
    assert _sh(package, words) == (
        "Signature Verified Successfully\nVerified OK\nok: record 0 is in the signed log of 7 records\n"
    )
    second = "sh verify.sh 3 log-2.pem"
    assert _sh(package, second) == "ok: record 3 is in the signed log of 7 records\n"
    note = package / "checkpoint"
    note.write_bytes(note.read_bytes().replace(b"\n7\n", b"\n8\n"))
    assert _sh(package, second) == "refused: the signature does not verify\n"


def _sh(package: Path, words: str) -> str:
    done = subprocess.run(
        ["sh", "-uc", words], cwd=package, capture_output=True, text=True, check=False
    )
    return done.stdout


def _go(program: Path, package: Path, bench) -> str:
    done = subprocess.run(
        [program, package, bench.log.vkey], capture_output=True, text=True, check=False
    )
    return done.stdout


def _payloads(bench, kind):
    rows = bench.rows(
        "SELECT convert_from(l.leaf, 'UTF8'), convert_from(p.payload, 'UTF8') FROM audit_leaves l"
        " JOIN audit_payloads p USING (log_id, i) ORDER BY l.i"
    )
    return [json.loads(payload) for leaf, payload in rows if json.loads(leaf)["k"] == kind.value]


def _just_before(text):
    """The microsecond that the time's nanoseconds are in; or the next, where others were in it too."""
    return datetime.fromisoformat(text[:26]).replace(tzinfo=UTC)
