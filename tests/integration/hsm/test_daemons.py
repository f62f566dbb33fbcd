"""Signer and enroller as processes: what they sign, what they refuse, how they end."""

import asyncio
import base64
import hmac
import os
import signal
import stat
import subprocess
import sys
import time
from uuid import UUID, uuid4

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.note import ECDSA_P256, VerifierKey
from hsm import ceremony, protocol
from hsm.check import check
from hsm.client import EnrollerClient, SignerClient
from hsm.enrol import encrypt_key, encrypt_secret
from hsm.envelope import pack, unpack
from hsm.errors import (
    CeremonyRefused,
    KeyMissing,
    MalformedRequest,
    SealBroken,
    SignerUnavailable,
    SigningRefused,
)
from hsm.policy import Request, text_to_sign
from hsm.templates import p256_label
from tenancy.errors import Unavailable

PATH = "/api/v4/futures/usdt/orders"


class Tenant:
    """A tenant with one account at Gate, enrolled through the daemons."""

    def __init__(self, vault, secret: bytes = b"secret") -> None:
        self.vault, self.secret = vault, secret
        self.tenant_id, self.account_id = uuid4(), uuid4()
        ceremony.create_tenant_keys(vault.settings, self.tenant_id)

    async def enrol(self) -> bytes:
        async with self.vault.enroller() as enroller:
            pem = await enroller.public_key_pem()
            return await enroller.seal_key(
                self.tenant_id, self.account_id, "gateio", encrypt_key(pem, self.secret)
            )

    async def seal_secret(self, secret: bytes, subject: str = "s", purpose: str = "hook") -> bytes:
        async with self.vault.enroller() as enroller:
            pem = await enroller.public_key_pem()
            return await enroller.seal_secret(
                self.tenant_id, subject, purpose, encrypt_secret(pem, secret)
            )

    def request(self, **more) -> dict:
        return {
            "tenant_id": self.tenant_id, "account_id": self.account_id, "scheme": "gateio",
            "method": "POST", "path": PATH, "query": "", "body": b"{}",
            "timestamp": int(time.time()), **more,
        }  # fmt: skip

    def expected(self, request: dict) -> str:
        parts = {k: v for k, v in request.items() if not k.endswith("_id")}
        return hmac.digest(self.secret, text_to_sign(Request(**parts)), "sha512").hex()


async def test_signatures_are_those_of_the_plain_secret(vault):
    """Tenants made while both daemons run are found by them; secrets of every length sign right."""
    for secret in (b"s", b"x" * 64, b"y" * 100, b"z" * 128, b"w" * 200):
        tenant = Tenant(vault, secret)
        sealed = await tenant.enrol()
        async with vault.signer() as signer:
            for method, query, body in (("POST", "", b'{"size":1}'), ("GET", "a=b&c=d", b"")):
                request = tenant.request(method=method, query=query, body=body)
                assert await signer.sign_request(sealed, **request) == tenant.expected(request)


async def test_keys_made_meanwhile_do_not_disturb_those_in_use(vault):
    """Another process' objects change SoftHSM's index under the running signer's handles."""
    first = Tenant(vault, b"first")
    async with vault.signer() as signer:
        for turn in range(3):
            sealed = await first.enrol()  # a fresh row each time: the tenant's KEK is used again
            request = first.request(body=str(turn).encode())
            assert await signer.sign_request(sealed, **request) == first.expected(request)
            other = Tenant(vault, b"other")
            row, request = await other.enrol(), other.request()
            assert await signer.sign_request(row, **request) == other.expected(request)


async def test_a_row_works_for_its_own_tenant_and_account_only(vault):
    one, two = Tenant(vault, b"one"), Tenant(vault, b"two")
    sealed = await one.enrol()
    async with vault.signer() as signer:
        await signer.sign_request(sealed, **one.request())
        for wrong in ({"tenant_id": two.tenant_id}, {"account_id": uuid4()}):
            with pytest.raises(SealBroken):
                await signer.sign_request(sealed, **one.request(**wrong))


@pytest.mark.parametrize("field", ["tenant_id", "subject", "purpose", "wrapped", "mac"])
async def test_an_altered_row_is_refused(vault, field):
    """Also one whose fields all say what the thief wants: the MAC knows."""
    one, two = Tenant(vault, b"one"), Tenant(vault, b"two")
    theirs, own = unpack(await one.enrol()), unpack(await two.enrol())
    moved = {
        "tenant_id": {"tenant_id": two.tenant_id, "subject": str(two.account_id)},
        "subject": {"subject": str(two.account_id)},
        "purpose": {"purpose": "hook"},
        "wrapped": {"wrapped": own.wrapped},
        "mac": {"mac": bytes(32)},
    }[field]
    forged = msgspec.structs.replace(theirs, **moved)
    async with vault.signer() as signer:
        with pytest.raises(SealBroken):
            await signer.sign_request(
                pack(forged),
                **one.request(tenant_id=forged.tenant_id, account_id=UUID(forged.subject)),
            )


@pytest.mark.parametrize(
    "what",
    [
        {"path": "/api/v4/withdrawals"}, {"path": "/api/v4/wallet/transfers"},
        {"path": "/api/v4/sub_accounts", "method": "GET"}, {"scheme": "raw"},
        {"timestamp": 0}, {"query": "a\nb"},
    ],
)  # fmt: skip
async def test_the_policy_stands_in_front_of_the_token(vault, what):
    tenant = Tenant(vault)
    sealed = await tenant.enrol()
    async with vault.signer() as signer:
        with pytest.raises(SigningRefused):
            await signer.sign_request(sealed, **tenant.request(**what))


async def test_a_key_for_another_broker_signs_nothing_for_gate(vault):
    tenant = Tenant(vault)
    async with vault.enroller() as enroller, vault.signer() as signer:
        pem = await enroller.public_key_pem()
        sealed = await enroller.seal_key(
            tenant.tenant_id, tenant.account_id, "bybit", encrypt_key(pem, b"secret")
        )
        with pytest.raises(SigningRefused, match="bybit"):
            await signer.sign_request(sealed, **tenant.request())


async def test_hook_secrets_come_back_and_others_do_not(vault):
    tenant = Tenant(vault)
    async with vault.signer() as signer:
        for secret in (b"w", b"whsec_" + bytes(range(64)), b"\0" * 9, b"x" * 256):
            sealed = await tenant.seal_secret(secret)
            opened = await signer.open_secret(sealed, tenant_id=tenant.tenant_id, subject="s")
            assert opened == secret
        with pytest.raises(SealBroken):
            await signer.open_secret(sealed, tenant_id=tenant.tenant_id, subject="other")
        with pytest.raises(SealBroken):
            await signer.open_secret(sealed, tenant_id=uuid4(), subject="s")
        other = await tenant.seal_secret(b"secret", purpose="shioaji")
        with pytest.raises(SigningRefused):
            await signer.open_secret(other, tenant_id=tenant.tenant_id, subject="s")
        key = await tenant.enrol()
        with pytest.raises(SealBroken, match="never comes out"):
            await signer.open_secret(
                key, tenant_id=tenant.tenant_id, subject=str(tenant.account_id)
            )


async def test_a_log_key_signs_checkpoints_of_its_origin(vault):
    label, origin = f"log-{uuid4()}", "example.org/log"
    public = ceremony.create_log_key(vault.settings, label, origin)
    root = base64.b64encode(bytes(32)).decode()
    text = f"{origin}\n7\n{root}\n".encode()
    async with vault.signer() as signer:
        assert await signer.public_key(label) == public
        Ed25519PublicKey.from_public_bytes(public).verify(await signer.sign_note(label, text), text)
        for wrong in (f"example.org/other\n7\n{root}\n".encode(), b"pay to bearer\n", text + b"x"):
            with pytest.raises(SigningRefused):
                await signer.sign_note(label, wrong)
        with pytest.raises(KeyMissing):
            await signer.sign_note("none", text)


async def test_a_logs_second_key_signs_checkpoints_of_its_origin_as_notes_bear_them(vault):
    label, origin = f"log-{uuid4()}", "example.org/log"
    ceremony.create_log_key(vault.settings, label, origin)
    spki = ceremony.create_log_p256_key(vault.settings, label, origin)
    key = VerifierKey(origin, spki, ECDSA_P256)
    root = base64.b64encode(bytes(32)).decode()
    text = f"{origin}\n7\n{root}\n".encode()
    second = p256_label(label)
    async with vault.signer() as signer:
        assert await signer.public_key(second) == spki
        assert key.verifies(text, await signer.sign_note(second, text))
        for wrong in (f"example.org/other\n7\n{root}\n".encode(), b"pay to bearer\n", text + b"x"):
            with pytest.raises(SigningRefused):
                await signer.sign_note(second, wrong)
        with pytest.raises(KeyMissing):
            await signer.sign_note(p256_label("none"), text)
    with pytest.raises(CeremonyRefused):
        ceremony.create_log_p256_key(vault.settings, label, origin)
    assert not [one for one in check(vault.settings) if "p256" in one.label]


async def test_what_cannot_be_enrolled_says_why(vault):
    tenant = Tenant(vault)
    async with vault.enroller() as enroller:
        pem = await enroller.public_key_pem()
        ids = (tenant.tenant_id, tenant.account_id, "gateio")
        with pytest.raises(MalformedRequest, match="does not open"):
            await enroller.seal_key(*ids, bytes(512))
        with pytest.raises(MalformedRequest, match="padded"):
            await enroller.seal_key(*ids, encrypt_secret(pem, b"framed"))
        with pytest.raises(KeyMissing, match="no keys"):
            await enroller.seal_key(uuid4(), uuid4(), "gateio", encrypt_key(pem, b"s"))


async def test_neither_daemon_does_the_others_work(vault):
    tenant = Tenant(vault)
    sealed = await tenant.enrol()
    async with (
        SignerClient(vault.socket("enroller")) as signer,
        EnrollerClient(vault.socket("signer")) as enroller,
    ):
        with pytest.raises(MalformedRequest):
            await signer.sign_request(sealed, **tenant.request())
        with pytest.raises(MalformedRequest):
            await enroller.public_key_pem()


async def test_the_socket_is_ours_alone_and_a_bad_frame_ends_only_its_connection(vault):
    path = vault.socket("signer")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"\xff\xff\xff\xff")
    answer = protocol.read_answer((await reader.read())[4:])
    assert isinstance(answer, protocol.Refused)
    assert answer.code == "malformed_request"
    writer.close()
    async with vault.signer() as signer:
        assert (await signer.status())["daemon"] == "signer"


async def test_more_accounts_than_the_cache_holds_all_sign_right(softhsm):
    """Keys are dropped and sent again, over four threads that share one library."""
    softhsm.init()
    softhsm.start("signer", worker_threads=4, keys_max=8)
    softhsm.start("enroller")
    tenants = [Tenant(softhsm, f"secret {n}".encode()) for n in range(3)]
    async with softhsm.enroller() as enroller, softhsm.signer(timeout_s=20) as signer:
        pem = await enroller.public_key_pem()
        accounts = []
        for number in range(24):
            tenant = tenants[number % 3]
            account = Tenant.__new__(Tenant)
            account.tenant_id, account.account_id = tenant.tenant_id, uuid4()
            account.secret = f"account {number}".encode()
            sealed = await enroller.seal_key(
                account.tenant_id, account.account_id, "gateio", encrypt_key(pem, account.secret)
            )
            accounts.append((account, sealed))

        async def sign(account, sealed, number):
            request = account.request(body=str(number).encode())
            assert await signer.sign_request(sealed, **request) == account.expected(request)

        for turn in range(20):
            await asyncio.gather(*(sign(a, s, turn) for a, s in accounts for _ in range(4)))
        figures = await signer.status()
    assert figures["keys"] <= 8
    assert figures["key_misses"] > 24


async def test_a_killed_signer_costs_time_and_no_wrong_signature(softhsm):
    """SIGKILL under load, three times, started again at once: every answer is right."""
    softhsm.init()
    softhsm.start("signer")
    softhsm.start("enroller")
    tenant = Tenant(softhsm)
    sealed = await tenant.enrol()
    signed, stop = 0, False
    progress = asyncio.Event()

    async def load(signer):
        nonlocal signed
        while not stop:
            request = tenant.request(body=str(signed).encode())
            assert await signer.sign_request(sealed, **request) == tenant.expected(request)
            signed += 1
            if signed % 500 == 0:
                progress.set()

    async def some_more():
        progress.clear()
        await asyncio.wait_for(progress.wait(), 20)

    async with softhsm.signer(timeout_s=20) as signer:
        tasks = [asyncio.create_task(load(signer)) for _ in range(32)]
        for _ in range(3):
            await some_more()
            await asyncio.to_thread(softhsm.stop, "signer", signal.SIGKILL)
            await asyncio.to_thread(softhsm.start, "signer")
        await some_more()
        stop = True
        await asyncio.gather(*tasks)


async def test_a_signer_that_stays_away_is_unavailable_within_the_time_out(softhsm):
    async with softhsm.signer(timeout_s=0.3) as signer:
        started = time.monotonic()
        with pytest.raises(SignerUnavailable) as caught:
            await signer.status()
        assert time.monotonic() - started < 1.0
        assert isinstance(caught.value, Unavailable)


async def test_a_silent_signer_is_unavailable_within_the_time_out(softhsm):
    """It is stopped, not dead: the connection stands and nothing comes back."""
    softhsm.init()
    daemon = softhsm.start("signer")
    async with softhsm.signer(timeout_s=0.5) as signer:
        await signer.status()
        os.kill(daemon.pid, signal.SIGSTOP)
        with pytest.raises(SignerUnavailable, match="no answer"):
            await signer.status()
        os.kill(daemon.pid, signal.SIGCONT)
        await signer.status()


async def test_sigterm_finishes_what_waits_and_ends_with_zero(softhsm):
    softhsm.init()
    daemon = softhsm.start("signer")
    softhsm.start("enroller")
    tenant = Tenant(softhsm)
    sealed = await tenant.enrol()
    async with softhsm.signer() as signer:
        request = tenant.request()
        await signer.sign_request(sealed, **request)
        asked = [asyncio.create_task(signer.sign_request(sealed, **request)) for _ in range(50)]
        await asyncio.sleep(0.001)
        os.kill(daemon.pid, signal.SIGTERM)
        answers = await asyncio.gather(*asked, return_exceptions=True)
    right = tenant.expected(request)
    assert all(a == right or isinstance(a, SignerUnavailable) for a in answers)
    assert await asyncio.to_thread(daemon.wait, 10) == 0
    assert not softhsm.socket("signer").exists()


def test_a_refused_pin_is_tried_once_and_ends_with_a_status_that_means_do_not_restart(softhsm):
    softhsm.init()
    softhsm.settings.sign_pin_file.write_text("wrong PIN\n")
    config = softhsm.config("signer")
    ended = subprocess.run(
        [sys.executable, "-m", "hsm.signer", "--config", str(config)],
        env={**os.environ, "SOFTHSM2_CONF": str(softhsm.settings.softhsm_conf)},
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert ended.returncode == 78
    output = ended.stdout + ended.stderr
    assert output.count("pin_refused") == 1
    assert "wrong PIN" not in output


def test_a_second_signer_does_not_take_a_living_ones_socket(vault):
    ended = subprocess.run(
        [sys.executable, "-m", "hsm.signer", "--config", str(vault.config("signer"))],
        env={**os.environ, "SOFTHSM2_CONF": str(vault.settings.softhsm_conf)},
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert ended.returncode == 78
    assert "another daemon" in ended.stdout + ended.stderr


async def test_no_secret_is_in_any_log(vault):
    tenant = Tenant(vault, b"hunter2-hunter2")
    sealed = await tenant.enrol()
    async with vault.signer() as signer:
        with pytest.raises(SealBroken):
            await signer.sign_request(sealed, **tenant.request(account_id=uuid4()))
    secret = await tenant.seal_secret(b"hunter3-hunter3")
    async with vault.signer() as signer:
        await signer.open_secret(secret, tenant_id=tenant.tenant_id, subject="s")
    pins = [path.read_text().strip() for path in vault.directory.glob("*.pin")]
    for log in (vault.log("signer"), vault.log("enroller")):
        for word in ("hunter", *pins):
            assert word not in log
