"""What the browser encrypts, the real enrol token opens: gateway/console/static/seal.mjs in node's WebCrypto."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.admin.credentials import EnrolmentKey
from tests.integration.hsm.test_daemons import Tenant

SCRIPTS = Path(__file__).parent / "javascript"


async def node(script: str, said: Any) -> tuple[int, str, str]:
    """Status, standard output and error. The secret goes in by standard input, never as an argument."""
    process = await asyncio.create_subprocess_exec(
        "node", str(SCRIPTS / script),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await process.communicate(json.dumps(said).encode())
    return process.returncode or 0, out.decode(), error.decode()


async def enrolment_key(vault: Any) -> dict[str, Any]:
    """As GET /v1/enrolment-key answers."""
    async with vault.enroller() as enroller:
        pem = (await enroller.public_key_pem()).decode("ascii")
    found: dict[str, Any] = msgspec.to_builtins(EnrolmentKey(public_key_pem=pem))
    return found


@pytest.mark.parametrize(
    "secret", ["s", "x" * 64, "y" * 65, "z" * 128, "w" * 129, "Schlüssel"], ids=len
)
async def test_a_key_that_the_browser_sealed_signs_as_the_plain_secret_does(vault, secret: str):
    """Each length that is padded in another way, and one that is no ASCII."""
    tenant = Tenant(vault, secret.encode())
    key = await enrolment_key(vault)
    status, envelope, error = await node("seal.mjs", {"key": key, "secret": secret})
    assert (status, error) == (0, "")
    assert secret not in envelope or len(secret) == 1
    async with vault.enroller() as enroller:
        sealed = await enroller.seal_key(
            tenant.tenant_id, tenant.account_id, "gateio", base64.b64decode(envelope, validate=True)
        )
    async with vault.signer() as signer:
        request = tenant.request()
        assert await signer.sign_request(sealed, **request) == tenant.expected(request)


async def test_a_secret_that_the_browser_sealed_to_come_out_again_comes_out_as_it_was(vault):
    tenant, secret = Tenant(vault), "an SDK's own secret, of 45 bytes in all, not 8"
    said = {"key": await enrolment_key(vault), "secret": secret, "sealing": "sdk"}
    status, envelope, _ = await node("seal.mjs", said)
    assert status == 0
    async with vault.enroller() as enroller:
        sealed = await enroller.seal_secret(
            tenant.tenant_id, "s", "hook", base64.b64decode(envelope)
        )
    async with vault.signer() as signer:
        opened = await signer.open_secret(sealed, tenant_id=tenant.tenant_id, subject="s")
    assert opened.decode() == secret


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"algorithm": "RSAES-PKCS1-v1_5"}, "cannot encrypt"),
        ({"digest": "MD5"}, "cannot encrypt"),
        ({"padded_to_bytes": [32, 64]}, "cannot pad"),
    ],
)
async def test_a_key_of_another_kind_is_not_guessed_at(vault, changed: dict[str, Any], words: str):
    key = {**await enrolment_key(vault), **changed}
    status, out, error = await node("seal.mjs", {"key": key, "secret": "a-secret"})
    assert (status, out) == (1, "")
    assert words in error
    assert "a-secret" not in error


@pytest.mark.parametrize("secret", ["", "x" * 257])
async def test_an_empty_secret_or_one_too_long_to_come_out_is_refused(vault, secret: str):
    sealing = "sdk" if secret else "key"
    said = {"key": await enrolment_key(vault), "secret": secret, "sealing": sealing}
    status, out, error = await node("seal.mjs", said)
    assert (status, out) == (1, "")
    assert "RangeError" in error


def coming(state: str, credential: str = "c2", **more: Any) -> dict[str, Any]:
    return {"credential_id": "c1", "next": {"credential_id": credential, "state": state, **more}}


@pytest.mark.parametrize(
    ("seen", "end"),
    [
        ([coming("proving"), {"credential_id": "c2", "api_key": "k"}], {"live": "k"}),
        ([coming("refused", proof={"words": "it may withdraw"})], {"refused": "it may withdraw"}),
        ([coming("proving", "c3")], {"refused": "replaced or revoked meanwhile"}),
        ([{"credential_id": "c1", "next": None}], {"refused": "replaced or revoked meanwhile"}),
    ],
    ids=["live", "refused", "replaced", "revoked"],
)
async def test_who_waits_hears_how_it_ended(vault, seen: list[Any], end: dict[str, str]):
    answers = [await enrolment_key(vault), coming("proving"), *seen]
    status, out, error = await node("wait.mjs", {"answers": answers, "credential": "c2"})
    assert (status, error) == (0, "")
    found = json.loads(out)
    assert found["end"] == end
    method, path, body = found["sent"][1]
    assert (method, path) == ("PUT", "/v1/accounts/a%2Fb/credential")
    assert (body["api_key"], body["sealing"], body["test_order"]) == ("k", "key", True)
    assert "s3cret" not in json.dumps(found)
