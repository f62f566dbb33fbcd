"""What the signer refuses is evidence: durable before it is told, in the right logs, each exactly once."""

import asyncio
import json
import os
import resource
import signal
from uuid import uuid4

import msgspec
import psycopg
import pytest
from prometheus_client import REGISTRY

from hsm.client import SignerClient
from hsm.envelope import pack, unpack
from hsm.errors import SealBroken, SignerUnavailable, SigningRate, SigningRefused
from hsm.journal import Journal
from hsm.protocol import SignRequest
from hsm.refusals import KEPT_BURST
from ops.refusals import RefusalReader
from tenancy.clock import SystemClock
from tenancy.database import Database
from tenancy.errors import PortcullisError, Unavailable
from tests.integration.hsm.load import PATH, enrolled, kept_up, load, until

WITHDRAWAL = "/api/v4/withdrawals"


@pytest.fixture
async def vault(softhsm):
    """Two accounts of two tenants; the signer runs."""
    softhsm.init()
    softhsm.start("enroller")
    softhsm.accounts = await enrolled(softhsm, tenants=2, accounts=1)
    softhsm.start("signer")
    return softhsm


async def ask(signer, account, **more):
    request = {
        "tenant_id": account.tenant_id, "account_id": account.account_id, "scheme": "gateio",
        "method": "POST", "path": PATH, "query": "", "body": b"{}",
        "timestamp": SystemClock().now_ns() // 10**9, **more,
    }  # fmt: skip
    return await signer.sign_request(more.pop("sealed", account.sealed), **{
        name: value for name, value in request.items() if name != "sealed"
    })  # fmt: skip


def journal_of(vault):
    """Read as an auditor reads it who has the disk, and no daemon."""
    opened = Journal(vault.directory / "signer.state")
    try:
        return opened.read(0, 10_000)
    finally:
        opened.close()


async def test_whoever_is_told_of_a_refusal_finds_it_on_the_disk(vault):
    """The daemon is killed in the very moment of its answer."""
    one, _ = vault.accounts
    async with vault.signer() as signer:
        with pytest.raises(SigningRefused):
            await ask(signer, one, path=WITHDRAWAL)
        vault.stop("signer", signal.SIGKILL)
    (kept,) = journal_of(vault)
    assert (kept.seq, kept.code) == (1, "signing_refused")
    assert kept.what == f"gateio POST {WITHDRAWAL}"
    assert kept.proven == kept.tenant == one.tenant_id


async def test_every_way_of_being_refused_is_kept_and_says_whose_row_it_was(vault):
    one, two = vault.accounts
    forged = pack(msgspec.structs.replace(unpack(one.sealed), mac=bytes(32)))
    async with vault.signer() as signer:
        await ask(signer, one)  # held now: its owner is known without the token
        for refusal, wanted in (
            (ask(signer, one, path=WITHDRAWAL), SigningRefused),
            (ask(signer, two, path=WITHDRAWAL), SigningRefused),  # never seen: proven by its MAC
            (ask(signer, one, sealed=two.sealed), SealBroken),  # another tenant's row
            (ask(signer, one, sealed=forged), SealBroken),
            (ask(signer, one, sealed=forged, path=WITHDRAWAL), SigningRefused),
            (signer.open_secret(one.sealed, tenant_id=one.tenant_id, subject="x"), SealBroken),
        ):
            with pytest.raises(wanted):
                await refusal
    vault.stop("signer")
    assert [(one_.code, one_.proven) for one_ in journal_of(vault)] == [
        ("signing_refused", one.tenant_id),
        ("signing_refused", two.tenant_id),
        ("seal_broken", two.tenant_id),
        ("seal_broken", None),
        ("signing_refused", None),
        ("seal_broken", one.tenant_id),
    ]


async def test_a_flood_of_refusals_is_counted_to_the_last_one(vault):
    one, _ = vault.accounts
    async with vault.signer(timeout_s=20) as signer:
        for _ in range(10):
            answers = await asyncio.gather(
                *(ask(signer, one, path=WITHDRAWAL) for _ in range(200)), return_exceptions=True
            )
            assert {type(answer) for answer in answers} == {SigningRefused}
        await asyncio.sleep(3.0)  # the last gap is written by the clock
    vault.stop("signer")
    kept = journal_of(vault)
    written = [one for one in kept if one.code == "signing_refused"]
    missed = sum(one.missed.get("signing_refused", 0) for one in kept)
    assert KEPT_BURST <= len(written) < KEPT_BURST + 60
    assert len(written) + missed == 2000


async def test_a_journal_that_cannot_be_written_stops_the_signing(vault):
    """The disk is full: whoever asks for a withdrawal then is not refused without a witness."""
    one, two = vault.accounts
    vault.stop("signer")
    async with kept_up(vault) as child, vault.signer(timeout_s=2) as signer:
        await ask(signer, one)
        process = child.process()
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, 1))
        with pytest.raises(PortcullisError) as caught:
            await ask(signer, two, path=WITHDRAWAL)
        # Asked again of the next process, which has a disk: refused there, with a witness.
        assert isinstance(caught.value, (SigningRefused, SignerUnavailable))

        async def another() -> bool:
            return child.process() is not None and child.process().pid != process.pid

        async with asyncio.timeout(10):
            await until(another)
        await ask(signer, one)
    assert all(one.code == "signing_refused" for one in journal_of(vault))


# ------------------------------------------------------------------ to the audit log


@pytest.fixture
async def logged(vault, database):
    """The platform and the first tenant have logs; the second has none."""
    platform, one = uuid4(), vault.accounts[0].tenant_id
    with psycopg.connect(database.superuser) as conn:
        for tenant, kind in ((platform, "platform"), (one, "customer")):
            conn.execute(
                "INSERT INTO tenants (tenant_id, name, kind) VALUES (%s, %s, %s)",
                (tenant, str(tenant), kind),
            )
            conn.execute(
                "INSERT INTO audit_logs (log_id, tenant_id, origin, key_label, public_key)"
                " VALUES (%s, %s, %s, %s, %s)",
                (uuid4(), tenant, f"portcullis.test/{tenant}", "key", bytes(32)),
            )
    pool = Database(database.conninfo("recorder"), name="test-recorder", size=4)
    await pool.open()
    vault.platform = platform
    yield pool
    await pool.close()


def recorded(database) -> list[tuple]:
    with psycopg.connect(database.superuser) as conn:
        rows = conn.execute("SELECT tenant_id, kind, payload FROM audit_inbox ORDER BY seq")
        return [(tenant, kind, json.loads(payload)) for tenant, kind, payload in rows.fetchall()]


async def test_refusals_become_records_of_the_platform_and_of_whose_row_it_was(
    vault, logged, database
):
    one, two = vault.accounts
    async with vault.signer() as signer:
        for account, more, error in (
            (one, {"path": WITHDRAWAL}, SigningRefused),
            (two, {"path": WITHDRAWAL}, SigningRefused),
            (two, {"sealed": one.sealed}, SealBroken),  # two shows one's row
        ):
            with pytest.raises(error):
                await ask(signer, account, **more)
        reader = RefusalReader(logged, {"signer": signer}, SystemClock())
        assert await reader.take("signer", signer) == 3
        assert await reader.take("signer", signer) == 0
    found = recorded(database)
    assert {kind for _, kind, _ in found} == {"hsm.refused"}
    assert [(tenant, facts["n"]) for tenant, _, facts in found] == [
        (vault.platform, 1), (one.tenant_id, 1), (vault.platform, 2), (vault.platform, 3),
        (one.tenant_id, 3),
    ]  # fmt: skip
    shown = json.dumps([facts for tenant, _, facts in found if tenant == one.tenant_id])
    assert str(two.tenant_id) not in shown
    assert str(two.account_id) not in shown


async def test_refusals_that_cannot_be_written_are_shown_to_wait(vault, logged, database):
    """The alert asks for exactly this moment: somebody's transaction holds the inbox."""

    def waiting() -> float | None:
        return REGISTRY.get_sample_value(
            "portcullis_hsm_journal_behind_lines", {"daemon": "signer"}
        )

    one, _ = vault.accounts
    async with vault.signer() as signer:
        with pytest.raises(SigningRefused):
            await ask(signer, one, path=WITHDRAWAL)
        reader = RefusalReader(logged, {"signer": signer}, SystemClock())
        with psycopg.connect(database.superuser) as conn:
            conn.execute("LOCK TABLE audit_inbox IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(PortcullisError):
                await reader.take("signer", signer)
            assert waiting() == 1
        assert await reader.take("signer", signer) == 1
        assert await reader.take("signer", signer) == 0
    assert waiting() == 0


async def test_two_readers_and_restarts_write_each_line_once(vault, logged, database):
    """Also with the recorder stopped in the middle of everything, again and again."""
    one, _ = vault.accounts
    clients = [SignerClient(vault.socket("signer"), timeout_s=10) for _ in range(2)]
    readers = [RefusalReader(logged, {"signer": c}, SystemClock()) for c in clients]
    async with clients[0], clients[1], vault.signer(timeout_s=10) as signer:
        for turn in range(12):
            for _ in range(8):
                with pytest.raises(SigningRefused):
                    await ask(signer, one, path=f"{WITHDRAWAL}/{turn}")
            tasks = [
                asyncio.create_task(reader.take("signer", client))
                for reader, client in zip(readers, clients, strict=True)
            ]
            if turn % 3 == 0:
                await asyncio.sleep(0.002 * turn)
                tasks[0].cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(result, (int, Unavailable, asyncio.CancelledError)), result
        while await readers[1].take("signer", clients[1]):
            pass
    numbers = [facts["n"] for tenant, _, facts in recorded(database) if tenant == vault.platform]
    assert numbers == list(range(1, 97))


async def test_a_journal_that_was_cut_is_a_record_itself(vault, logged, database):
    one, _ = vault.accounts
    async with vault.signer() as signer:
        for _ in range(3):
            with pytest.raises(SigningRefused):
                await ask(signer, one, path=WITHDRAWAL)
        reader = RefusalReader(logged, {"signer": signer}, SystemClock())
        await reader.take("signer", signer)
    vault.stop("signer")
    for path in (vault.directory / "signer.state" / "refusals").iterdir():
        path.unlink()
    vault.start("signer")
    async with vault.signer() as signer:
        reader = RefusalReader(logged, {"signer": signer}, SystemClock())
        await reader.take("signer", signer)
        await reader.take("signer", signer)
    cut = [facts for _, _, facts in recorded(database) if facts["event"] == "journal_shortened"]
    assert [(facts["n"], facts["was"]) for facts in cut] == [(0, 3)]


async def test_a_rate_that_is_used_up_is_kept_while_others_sign(vault):
    vault.stop("signer")
    vault.start("signer", tenant_rate_per_s=50.0, tenant_burst=20)
    one, two = vault.accounts
    async with vault.signer(timeout_s=0.05) as hasty, vault.signer(timeout_s=20) as calm:
        await hasty.status()
        async with load(calm, [two], callers=4) as running:
            answers = await asyncio.gather(
                *(ask(hasty, one) for _ in range(100)), return_exceptions=True
            )
            await running.some_more(20)
    assert {type(answer) for answer in answers} <= {str, SigningRate, SignerUnavailable}
    vault.stop("signer")
    kept = journal_of(vault)
    assert {one_.code for one_ in kept} <= {"signing_rate", "gap"}
    assert one.tenant_id in {one_.proven for one_ in kept}


async def test_the_row_of_no_request_reaches_the_journal(vault):
    """Nor does any secret: the lines are searched for what was enrolled."""
    one, _ = vault.accounts
    async with vault.signer() as signer:
        with pytest.raises(SigningRefused):
            await ask(signer, one, path=WITHDRAWAL, body=b"address of a thief", query="q=1")
    text = b"".join(
        path.read_bytes()
        for path in (vault.directory / "signer.state").rglob("*")
        if path.is_file()
    )
    for hidden in (one.secret, one.sealed, unpack(one.sealed).wrapped, b"thief", b"q=1"):
        assert hidden not in text
    assert SignRequest.__struct_config__.tag.encode() in text
    assert os.stat(vault.directory / "signer.state" / "refusals").st_mode & 0o077 == 0
