"""`portcullis audit hold|release|shred|receipt` as people type them, on a real log with encrypted payloads.

Real: the API behind TLS, PostgreSQL, the recorder, the ring of payload keys. The HSM is a stand-in, and
what the records' age is, is written into their rows.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import ring
from audit.inbox import Entry, append
from audit.keystore import Keystore
from audit.logs import Log, read_logs
from audit.note import VerifierKey
from audit.proving import prove_order
from audit.receipt_check import verify_receipt
from audit.recorder import Recorder
from audit.ring import RETIRED_S, Ring
from audit.verdict import OK, TAMPERED
from audit.verifier import verify_log
from ops.cli.main import cli
from ops.initialise import Choices, document
from ops.listener_settings import Tls
from ops.paths import places
from ops.processes import listen
from ops.serve import serve
from ops.toml import dumps
from tenancy.clock import SystemClock
from tenancy.database import Database
from tests.fakes.note_signer import MemorySigner
from tests.fakes.ring import PlainOpener
from tests.fakes.signer_daemon import audit_door, give_audit_key
from tests.fixtures.api import Api, Client
from tests.fixtures.audit import entry
from tests.fixtures.tls import Certificate

pytestmark = pytest.mark.stack

ORDER = "o-1"
LONG_AGO = "interval '40 years'"


@dataclass
class House:
    """A tenant's account with three records whose time is over, and two people of compliance."""

    api: Api
    url: str
    certificate: Certificate
    directory: Path
    recording: Database
    signer: MemorySigner
    people: dict[str, Client]
    account: str

    @property
    def subject(self) -> str:
        return f"account:{self.account}"

    @property
    def store(self) -> Path:
        assert self.api.services.archive is not None
        return self.api.services.archive.store

    async def log(self) -> Log:
        async with self.api.services.database.tenant(self.api.scopes["admin"]) as conn:
            return (await read_logs(conn))[0]

    async def types(self, who: str, *words: Any, typed: str = "") -> Result:
        """As one of the people."""
        key = self.directory / f"{who}.key"
        key.write_text(self.people[who].key)
        key.chmod(0o600)
        place = ["--url", self.url, "--key-file", key, "--ca", self.certificate.certfile]
        return await self.command(*words, *place, typed=typed)

    async def command(self, *words: Any, typed: str = "", settings: Path | None = None) -> Result:
        line = ["--settings", str(settings or self.directory / "none.toml"), *map(str, words)]
        return await asyncio.to_thread(lambda: CliRunner().invoke(cli, line, input=typed))

    async def asked(self, who: str, *words: Any) -> str:
        """The proposal."""
        done = await self.types(who, *words, "--reason", "asked for", "--json")
        assert done.exit_code == 0, done.output
        return str(json.loads(done.output)["proposal_id"])

    async def listed(self, *words: str) -> list[dict[str, Any]]:
        done = await self.types("first", "audit", *words, "--json")
        assert done.exit_code == 0, done.output
        found: list[dict[str, Any]] = json.loads(done.output)["items"]
        return found

    async def agreed(self, proposal: str) -> None:
        done = await self.types("second", "proposal", "approve", proposal)
        assert done.exit_code == 0, done.output

    async def refused(self, code: str, who: str, *words: Any) -> str:
        """What is said of it; no key is gone."""
        done = await self.types(who, *words)
        assert (done.exit_code, f"({code})" in done.output) == (1, True), done.output
        assert self.keys() == 1
        return done.output

    def rows(self, query: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.api.database.superuser) as conn:
            cursor = conn.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def keys(self) -> int:
        query = "SELECT count(*) FROM audit_data_keys WHERE subject = %s"
        return int(self.rows(query, self.subject)[0][0])

    def a_minute_later(self) -> None:
        self.rows(
            "UPDATE audit_data_keys SET retired_at = retired_at - make_interval(secs => %s)",
            RETIRED_S,
        )

    def grow_old(self) -> None:
        with psycopg.connect(self.api.database.superuser) as conn:
            conn.execute("SET session_replication_role = replica")
            conn.execute("ALTER TABLE audit_payloads DISABLE TRIGGER ALL")
            conn.execute(
                f"UPDATE audit_payloads SET recorded_at = recorded_at - {LONG_AGO},"
                f" keep_until = keep_until - {LONG_AGO}"
            )
            conn.execute("ALTER TABLE audit_payloads ENABLE TRIGGER ALL")

    async def write(self, count: int) -> None:
        """Records of an order of the account, published."""
        scope = self.api.scopes["admin"]
        made = [entry(n, oid=ORDER) for n in range(count)]
        async with self.api.services.database.tenant(scope) as conn:
            await append(conn, [(scope.tenant_id, _about(one, self.account)) for one in made])
        await self.publish()

    async def publish(self) -> None:
        await Recorder(self.recording, self.signer, self.store, SystemClock()).drain()

    async def kinds(self) -> list[str]:
        """Of the whole log, which verifies."""
        await self.publish()
        log = await self.log()
        verdict = verify_log(self.store / str(log.log_id), log.vkey)
        assert (verdict.code, verdict.findings) == (OK, [])
        rows = self.rows(
            "SELECT convert_from(leaf, 'UTF8')::json ->> 'k' FROM audit_leaves WHERE log_id = %s ORDER BY i",
            log.log_id,
        )
        return [row[0] for row in rows]

    def settings(self) -> Path:
        """Of the host, for what is done there."""
        made = document(places(self.directory / "var"), Choices())
        made["database"]["admin"] = self.api.database.conninfo("admin")
        made["recorder"]["store"] = self.store
        made["hsm"]["audit_socket"] = self.directory / "audit.sock"
        file = self.directory / "portcullis.toml"
        file.write_text(dumps(made))
        file.chmod(0o600)
        return file


def _about(one: Entry, account: str) -> Entry:
    return msgspec.structs.replace(one, acct=account)


@pytest.fixture
async def house(api, people, certificate, tmp_path) -> AsyncIterator[House]:
    signer, tenant = MemorySigner(), api.tenant()
    log_id = uuid.uuid4()
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute(
            "INSERT INTO audit_logs (log_id, tenant_id, origin, key_label, public_key)"
            " VALUES (%s, %s, %s, 'k', %s)",
            (log_id, tenant, f"portcullis.test/{log_id}", signer.public_key),
        )
    give_audit_key(api.database.superuser, tenant)
    ring.use(Ring(Keystore(api.services.database, PlainOpener())))
    pool = Database(api.database.conninfo("recorder"), name="recorder", size=3)
    await pool.open()
    listener, stop = listen("127.0.0.1", 0), asyncio.Event()
    tls = Tls(certificate=Path(certificate.certfile), key=Path(certificate.keyfile))
    serving = asyncio.create_task(serve(api.app, fd=listener.fileno(), tls=tls, stop=stop))
    people_of = {
        "first": await people("admin", ["compliance", "approver"]),
        "second": await people("admin", ["admin"]),
        "stranger": await people("other", ["compliance", "approver"]),
    }
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    made = House(api, url, certificate, tmp_path, pool, signer, people_of, secrets.token_hex(8))
    await made.write(3)
    made.grow_old()
    yield made
    stop.set()
    await serving
    listener.detach()  # closed by who served it
    await pool.close()


SHRED = ("audit", "shred", "--yes")


async def test_two_people_shred_and_the_receipt_verifies_without_us(house):
    proposal = await house.asked("first", *SHRED, house.subject)
    await house.refused("own_proposal", "first", "proposal", "approve", proposal)
    house.a_minute_later()
    await house.agreed(proposal)
    assert house.keys() == 0
    (erasure,) = await house.listed("erasures")
    assert (erasure["subject"], erasure["records"]) == (house.subject, 3)
    assert (erasure["asked_by"]["id"], erasure["approved_by"]["id"]) == tuple(
        str(house.people[who].person_id) for who in ("first", "second")
    )
    assert (await house.kinds())[:3] == ["order.intent"] * 3
    assert "shred" in await house.kinds()
    file = await receipt(house, erasure["erasure_id"])
    await erased_for_every_reader(house, UUID(erasure["erasure_id"]))
    await checked_offline(house, file)


async def receipt(house: House, erasure: str) -> Path:
    """Written on the host, by a process that has its keys through the signer's door alone."""
    file = house.directory / "receipt.json"
    async with audit_door(house.directory / "audit.sock"):
        done = await house.command(
            "audit", "receipt", erasure, "--tenant", house.api.tenant(), "--out", file,
            settings=house.settings(),
        )  # fmt: skip
    assert done.exit_code == 0, done.output
    return file


async def erased_for_every_reader(house: House, erasure: UUID) -> None:
    ring.use(Ring(Keystore(house.api.services.database, PlainOpener())))
    scope = house.api.scopes["admin"]
    bundle = await prove_order(house.api.services.database, scope, house.store, ORDER)
    assert [(one["payload"], one["erased"]) for one in bundle["records"]] == [
        (None, {"receipt": str(erasure)})
    ] * 3


async def checked_offline(house: House, file: Path) -> None:
    """From the file and the log's public key: by the command, and by a program that has nothing of ours
    but audit/receipt_check.py and what it imports; no other word in it can be put."""
    log = await house.log()
    (house.directory / "vkey").write_text(log.vkey)
    words = ["audit", "verify-bundle", file, "--vkey-file", house.directory / "vkey"]
    done = await house.command(*words)
    assert (done.exit_code, done.output.split(":")[0]) == (OK, "verified"), done.output
    program = (
        "import json, sys; from audit.receipt_check import verify_receipt\n"
        "made = verify_receipt(json.load(open(sys.argv[1])), open(sys.argv[2]).read())\n"
        "assert not {'psycopg', 'socket', 'asyncio', 'structlog'} & set(sys.modules)\n"
        "sys.exit(made.code)"
    )
    alone = [sys.executable, "-c", program, str(file), str(house.directory / "vkey")]
    root = Path(__file__).parents[3]
    done_alone = await asyncio.to_thread(
        subprocess.run, alone, env={"PYTHONPATH": str(root), "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done_alone.returncode, done_alone.stderr) == (OK, "")
    made = json.loads(await asyncio.to_thread(file.read_text))
    for change in (
        {"records": 4}, {"subject": "account:other"}, {"approved_by": made["erasure"]["asked_by"]},
    ):  # fmt: skip
        changed = {**made, "erasure": {**made["erasure"], **change}}
        assert verify_receipt(changed, log.vkey).code == TAMPERED, change
        await asyncio.to_thread(file.write_text, json.dumps(changed))
        assert (await house.command(*words)).exit_code == TAMPERED
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    assert verify_receipt(made, str(VerifierKey(log.origin, stranger))).code == TAMPERED


async def test_within_its_retention_nothing_is_shredded(house):
    await house.write(1)
    said = await house.refused("within_retention", "first", *SHRED, house.subject, "--reason", "x")
    ((until,),) = house.rows(
        "SELECT (now() + interval '7 years')::date"
    )  # as the tenant itself says
    assert f"4 records of {house.subject} must be kept until {until}" in " ".join(said.split())


async def test_a_record_that_comes_between_question_and_yes_refuses_the_yes(house):
    proposal = await house.asked("first", *SHRED, house.subject)
    house.a_minute_later()
    async with house.api.services.database.tenant(house.api.scopes["admin"]) as conn:
        late = _about(entry(9, oid=ORDER), house.account)
        await append(conn, [(house.api.tenant(), late)])
    await house.refused("within_retention", "second", "proposal", "approve", proposal)


async def test_a_hold_refuses_the_shredding_until_two_people_release_it(house):
    placing = await house.asked("first", "audit", "hold", "--account", house.account)
    (hold,) = await house.listed("holds")
    assert (hold["acct"], hold["approved_by"]) == (house.account, None)
    shred = (*SHRED, house.subject, "--reason", "x")
    await house.refused("under_hold", "first", *shred)  # from the question on
    await house.refused("own_proposal", "first", "proposal", "approve", placing)
    await house.agreed(placing)
    said = await house.refused("under_hold", "first", *shred)
    assert hold["hold_id"] in "".join(said.split())
    release = await house.asked("first", "audit", "release", hold["hold_id"])
    await house.refused("under_hold", "first", *shred)  # one person releases nothing
    await house.refused("own_proposal", "first", "proposal", "approve", release)
    (hold,) = await house.listed("holds")
    assert hold["released_at"] is None
    await house.agreed(release)
    (hold,) = await house.listed("holds")
    assert hold["released_by"]["id"] == str(house.people["first"].person_id)
    house.a_minute_later()
    await house.agreed(await asked_and_ripe(house))
    assert house.keys() == 0
    assert [one for one in await house.kinds() if one in ("hold", "release", "shred")] == [
        "hold", "release", "shred",
    ]  # fmt: skip


async def asked_and_ripe(house: House) -> str:
    proposal = await house.asked("first", *SHRED, house.subject)
    house.a_minute_later()
    return proposal


async def test_the_yes_is_refused_in_the_first_minute(house):
    proposal = await house.asked("first", *SHRED, house.subject)
    await house.refused("shred_too_early", "second", "proposal", "approve", proposal)
    house.a_minute_later()
    await house.agreed(proposal)
    assert house.keys() == 0


async def test_who_is_asked_whether_they_mean_it_and_says_no_asks_nobody(house):
    done = await house.types("first", "audit", "shred", house.subject, "--reason", "x", typed="n\n")
    assert done.exit_code == 1
    assert house.rows("SELECT count(*) FROM proposals") == [(0,)]
    assert house.rows("SELECT count(*) FROM audit_data_keys WHERE retired_at IS NOT NULL") == [(0,)]


async def test_another_tenants_people_and_service_keys_do_nothing_of_it(house):
    await house.refused("not_found", "stranger", *SHRED, house.subject, "--reason", "x")
    proposal = await asked_and_ripe(house)
    house.people["key"] = house.api.as_("admin")
    await house.refused("forbidden", "key", "proposal", "approve", proposal)
    await house.refused("not_found", "stranger", "proposal", "approve", proposal)


async def test_what_people_read_says_what_holds_meanwhile(house):
    held = await house.types("first", "audit", "hold", "--reason", "a letter")
    assert "it holds already" in held.output
    (hold,) = await house.listed("holds")
    assert (hold["subject"], hold["reason"]) == (None, "a letter")
