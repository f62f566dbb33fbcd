"""Writes docs/senders/vectors.json: `python -m tests.unit.sender_kit.make_vectors`.

Nothing here is the kit's or the verifier's: v1 is signed by the `standardwebhooks` package, v1a
by `cryptography` over bytes put together here.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook

PAGE = Path(__file__).parents[3] / "docs/senders/vectors.json"
AT = 1_700_000_000

SECRETS = {
    "least": bytes(24),
    "usual": bytes(range(32)),
    "most": bytes(range(255, 191, -1)),
    "of_the_specification": base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
}
SEEDS = {"rfc8032_test_1": bytes.fromhex(
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
), "counting": bytes(range(32))}  # fmt: skip
BODIES = {
    "plain": '{"ticker":"TSLA","action":"buy"}',
    "with_spaces_and_a_line_end": '{\n  "ticker": "BTC_USDT",\n  "action": "sell"\n}\n',
    "beyond_ascii": '{"ticker":"TXF","action":"exit","extras":{"note":"台指期 – ½ ☂"}}',
    "with_full_stops": '{"ticker":"BTC_USDT","action":"buy","quantity":"0.10"}',
}
IDS = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "2026-11-21T08:45:00+08:00/1", "a" * 256)


def mac(secret: bytes, message_id: str, at: int, body: str) -> str:
    text = "whsec_" + base64.b64encode(secret).decode()
    signed: str = Webhook(text).sign(message_id, datetime.fromtimestamp(at, UTC), body)
    return signed


def ed25519(seed: bytes, message_id: str, at: int, body: str) -> str:
    signed = f"{message_id}.{at}.{body}".encode()
    return (
        "v1a," + base64.b64encode(Ed25519PrivateKey.from_private_bytes(seed).sign(signed)).decode()
    )


def public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def vectors() -> dict[str, Any]:
    good = [*_good_macs(), *_good_ed25519()]
    return {
        "about": "Standard Webhooks 1.0: what is signed is id, full stop, timestamp, full stop, body (UTF-8)."
        " Each `good` signature must be made by a signer to the letter, and taken by a verifier at `timestamp`."
        " Each `wrong` request must be refused.",
        "good": good,
        "wrong": list(_wrong()),
    }  # fmt: skip


def _good_macs() -> list[dict[str, Any]]:
    made = []
    for number, (name, secret) in enumerate(SECRETS.items()):
        for body_name, body in BODIES.items():
            message_id, at = IDS[number % len(IDS)], AT + number
            made.append(
                {
                    "name": f"v1, {name} secret, body {body_name}",
                    "scheme": "v1",
                    "secret": "whsec_" + base64.b64encode(secret).decode(),
                    "id": message_id,
                    "timestamp": at,
                    "body": body,
                    "signature": mac(secret, message_id, at, body),
                }
            )
    return made


def _good_ed25519() -> list[dict[str, Any]]:
    made = []
    for name, seed in SEEDS.items():
        for body_name, body in BODIES.items():
            made.append(
                {
                    "name": f"v1a, seed {name}, body {body_name}",
                    "scheme": "v1a",
                    "secret": "whsk_" + base64.b64encode(seed).decode(),
                    "public_key": base64.b64encode(public(seed)).decode(),
                    "id": IDS[0],
                    "timestamp": AT,
                    "body": body,
                    "signature": ed25519(seed, IDS[0], AT, body),
                }
            )
    return made


def _wrong() -> list[dict[str, Any]]:
    secret, body = SECRETS["usual"], BODIES["plain"]
    base = {
        "secret": "whsec_" + base64.b64encode(secret).decode(),
        "public_key": base64.b64encode(public(SEEDS["counting"])).decode(),
        "id": IDS[0],
        "timestamp": AT,
        "body": body,
        "now": AT,
        "signature": mac(secret, IDS[0], AT, body),
        "refusal": "bad_signature",
    }
    good_ed = ed25519(SEEDS["counting"], IDS[0], AT, body)
    by_public = mac(public(SEEDS["counting"]), IDS[0], AT, body)
    changes: list[tuple[str, dict[str, Any]]] = [
        ("one byte more in the body", {"body": body + " "}),
        ("another id", {"id": "msg_other"}),
        ("another timestamp", {"timestamp": AT + 1}),
        ("another secret", {"signature": mac(SECRETS["most"], IDS[0], AT, body)}),
        ("v1a, another key", {"signature": ed25519(SEEDS["rfc8032_test_1"], IDS[0], AT, body)}),
        ("v1a, another body", {"signature": good_ed, "body": body + "\n"}),
        ("the public key used as a secret", {"signature": by_public}),
        ("a v1a signature under the name v1", {
            "signature": "v1," + good_ed[4:], "refusal": "malformed_header"}),
        ("the secret's text used as the key", {"signature": mac(
            base["secret"].encode(), IDS[0], AT, body)}),
        ("cut to 31 bytes", {"signature": "v1," + base64.b64encode(base64.b64decode(
            base["signature"][3:])[:31]).decode(), "refusal": "malformed_header"}),
        ("no scheme", {"signature": base["signature"][3:], "refusal": "malformed_header"}),
        ("a full stop in the id", {"id": "msg_1.2", "refusal": "malformed_header",
            "signature": mac(secret, "msg_1.2", AT, body)}),
        ("too old", {"now": AT + 301, "refusal": "stale_timestamp"}),
        ("from the future", {"now": AT - 301, "refusal": "stale_timestamp"}),
    ]  # fmt: skip
    return [{"name": name, **base, **change} for name, change in changes]


def text() -> str:
    return json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text())
