"""Which brokers' API secrets never leave the HSM, and which their own SDK has to see.

One table for the two who must agree without meeting: the management API, which knows no broker and
seals (gateway/admin/sealing.py), and the adapters, whose Caps say the same (tests hold them to it).
A broker that is not named here signs inside: a secret that comes out again is the exception that
somebody wrote down.
"""

from __future__ import annotations

from typing import Literal

Sealing = Literal["key", "sdk"]
"""`key`: an HMAC key, usable inside the token alone. `sdk`: opened for the one session process."""

SEALING: dict[str, Sealing] = {
    "gateio": "key",
    "gateio_spot": "key",
    "alpaca": "sdk",
    "shioaji": "sdk",
}


def sealing_of(broker: str) -> Sealing:
    """How a secret for this broker is sealed."""
    return SEALING.get(broker, "key")


def stays_inside(broker: str) -> bool:
    """Does the HSM sign, so that nobody needs the secret in plain text?"""
    return sealing_of(broker) == "key"
