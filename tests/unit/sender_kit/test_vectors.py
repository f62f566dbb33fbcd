"""docs/senders/vectors.json, read by everything that signs or verifies, ours and not ours."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook

from gateway.hooks.verify import Refusal, Secret, Verified, read_secret, verify
from gateway.sender_kit.portcullis_sender import Ed25519Key, read_key, signature_headers
from tests.unit.sender_kit import make_vectors

VECTORS = json.loads(make_vectors.PAGE.read_text())
Vector = dict[str, Any]


def of(kind: str) -> Any:
    return pytest.mark.parametrize("vector", VECTORS[kind], ids=lambda it: it["name"])


def asgi(vector: Vector) -> list[tuple[bytes, bytes]]:
    return [
        (b"webhook-id", vector["id"].encode()),
        (b"webhook-timestamp", str(vector["timestamp"]).encode()),
        (b"webhook-signature", vector["signature"].encode()),
    ]


def our_secret(vector: Vector) -> Secret:
    if vector["secret"].startswith("whsk_"):
        return Secret("v1a", base64.b64decode(vector["public_key"]))
    return Secret("v1", read_secret(vector["secret"].encode()))


def test_the_page_is_what_the_independent_packages_say() -> None:
    assert make_vectors.PAGE.read_text() == make_vectors.text()


def test_there_are_both_schemes_and_wrong_ones() -> None:
    assert {vector["scheme"] for vector in VECTORS["good"]} == {"v1", "v1a"}
    assert {vector["refusal"] for vector in VECTORS["wrong"]} == {
        "bad_signature", "malformed_header", "stale_timestamp",
    }  # fmt: skip


@of("good")
def test_the_kit_makes_the_signature_to_the_letter(vector: Vector) -> None:
    body = vector["body"].encode()
    key = read_key(vector["secret"])
    made = signature_headers((key,), vector["id"], vector["timestamp"], body)
    assert made == {name.decode(): value.decode() for name, value in asgi(vector)}


@of("good")
def test_the_gateway_takes_it(vector: Vector) -> None:
    verdict = verify(
        asgi(vector), vector["body"].encode(), (our_secret(vector),), now=vector["timestamp"]
    )
    assert verdict == Verified(vector["id"], vector["timestamp"])


@of("good")
def test_others_take_it(vector: Vector) -> None:
    signed = f"{vector['id']}.{vector['timestamp']}.{vector['body']}"
    if vector["scheme"] == "v1":
        webhook = Webhook(vector["secret"])
        headers = {name.decode(): value.decode() for name, value in asgi(vector)}
        assert (
            webhook.sign(vector["id"], _moment(vector), vector["body"])
            == headers["webhook-signature"]
        )
        return
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(vector["public_key"]))
    public.verify(base64.b64decode(vector["signature"][4:]), signed.encode())
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(vector["signature"][4:]), signed.encode() + b" ")


@of("wrong")
def test_the_gateway_refuses_it_for_the_stated_reason(vector: Vector) -> None:
    both = (
        Secret("v1", read_secret(vector["secret"].encode())),
        Secret("v1a", base64.b64decode(vector["public_key"])),
    )
    verdict = verify(asgi(vector), vector["body"].encode(), both, now=vector["now"])
    assert isinstance(verdict, Refusal)
    assert verdict.code == vector["refusal"]


def test_the_public_half_is_what_the_hook_is_told() -> None:
    for vector in VECTORS["good"]:
        key = read_key(vector["secret"])
        if isinstance(key, Ed25519Key):
            assert base64.b64encode(key.public).decode() == vector["public_key"]


def test_node_makes_the_same_signatures() -> None:
    """A third implementation, from another language's library."""
    node = shutil.which("node")
    assert node is not None, "the machine that tests has node"
    script = r"""
      const crypto = require('node:crypto');
      const page = JSON.parse(require('node:fs').readFileSync(0));
      const der = Buffer.from('302e020100300506032b657004220420', 'hex');
      for (const v of page.good) {
        const signed = `${v.id}.${v.timestamp}.${v.body}`;
        const key = Buffer.from(v.secret.slice(v.secret.indexOf('_') + 1), 'base64');
        const made = v.scheme === 'v1'
          ? 'v1,' + crypto.createHmac('sha256', key).update(signed).digest('base64')
          : 'v1a,' + crypto.sign(null, Buffer.from(signed), crypto.createPrivateKey(
              {key: Buffer.concat([der, key]), format: 'der', type: 'pkcs8'})).toString('base64');
        if (made !== v.signature) throw new Error(v.name);
      }
      console.log(page.good.length);
    """
    done = subprocess.run(
        [node, "-e", script], input=json.dumps(VECTORS), capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(len(VECTORS["good"]))), done.stderr


def _moment(vector: Vector) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(vector["timestamp"], UTC)
