"""The thief: a daemon's PIN, the library's bare function list, and the keys he aims at."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding
from pkcs11 import Attribute, ObjectClass

from hsm.cryptoki.library import Library, Refused
from hsm.cryptoki.session import Mechanism, Session, oaep
from tests.fixtures.softhsm import SoftHSM

A = Attribute
T = TypeVar("T")
Weakness = dict[Attribute, Any]
"""What a weak key's template says otherwise; None: the attribute is left out."""

OWN_KEY = bytes(range(32))
"""The thief's own wrapping key, whose value he knows because he chose it."""
MOST_WINDOWS = 4096


def each(aims: str, weakness: Weakness) -> dict[str, Weakness]:
    """The same weakness for several keys."""
    return dict.fromkeys(aims.split(), weakness)


class Target(NamedTuple):
    """A key that must not give itself away, nor what it protects."""

    aim: str
    key: int
    proof: Callable[[bytes], bool]
    """Whether 32 or 64 bytes are the very value of the key."""
    blob: bytes = b""
    """What was sealed under the key, where it seals."""
    secret: bytes = b""
    """What is inside the blob."""

    def given_away(self, data: bytes) -> bool:
        """Whether the key's value, or the secret under it, stands anywhere in `data`."""
        if self.secret and self.secret in data:
            return True
        sizes = (32, 64)
        return any(
            self.proof(data[at : at + size])
            for size in sizes
            for at in range(min(MOST_WINDOWS, len(data) - size + 1))
        )


def opens(blob: bytes, secret: bytes) -> Callable[[bytes], bool]:
    """Whether a candidate is the KEK of `blob`, found out with a KWP of our own."""

    def proof(candidate: bytes) -> bool:
        if len(candidate) != 32:
            return False
        try:
            return aes_key_unwrap_with_padding(candidate, blob) == secret
        except InvalidUnwrap:
            return False

    return proof


def makes(text: bytes, mac: bytes, digest: str) -> Callable[[bytes], bool]:
    """Whether a candidate is the HMAC key that made `mac`."""
    return lambda candidate: hmac.compare_digest(hmac.digest(candidate, text, digest), mac)


def is_seed_of(public: bytes) -> Callable[[bytes], bool]:
    """Whether a candidate is the Ed25519 seed of that public key."""

    def proof(candidate: bytes) -> bool:
        if len(candidate) != 32:
            return False
        made = Ed25519PrivateKey.from_private_bytes(candidate).public_key()
        return made.public_bytes_raw() == public

    return proof


class Thief:
    """Logged in with one PIN. Each attempt has a session of its own, so none spoils the next."""

    def __init__(self, library: Library, label: str, pin: str) -> None:
        self.library = library
        self.slot = library.slot_of(label)
        self.mechanisms = library.mechanisms(self.slot)
        self.session = library.open(self.slot)
        self.session.login(pin)
        self.attempts = 0

    def attempt(self, what: Callable[[Session], T]) -> T | None:
        """What came of it; None where the token refused. Nothing else is swallowed."""
        self.attempts += 1
        session = self.library.open(self.slot)
        try:
            return what(session)
        except Refused:
            return None
        finally:
            session.close()

    def make(self, what: Callable[[Session], int]) -> int | None:
        """As attempt(), for a new object: it lives on in the thief's long session."""
        self.attempts += 1
        try:
            return what(self.session)
        except Refused:
            return None

    def every_mechanism(self) -> Iterator[Mechanism]:
        """All that the token lists, each with every parameter that could fit."""
        for number in self.mechanisms:
            yield Mechanism(number)
            for size in (8, 16):
                yield Mechanism(number, bytes(size))
        for digest, mask in ((0x220, 1), (0x250, 2)):  # SHA-1, SHA-256
            yield oaep(digest, mask)

    def find(self, label: str, kind: ObjectClass = ObjectClass.SECRET_KEY) -> int:
        (key,) = self.session.find({A.LABEL: label, A.CLASS: kind})
        return key

    def plant(self, template: dict[Attribute, Any], weakness: Weakness, **more: Any) -> int:
        """A session object of that template but for its weakness."""
        attributes = {**template, A.TOKEN: False, **weakness}
        named = {A[name]: value for name, value in more.items()}
        return self.session.create(
            {**named, **{a: value for a, value in attributes.items() if value is not None}}
        )


@contextmanager
def break_in(softhsm: SoftHSM, role: str) -> Iterator[Thief]:
    """As the thief of `signer` or `enroller`: that token's label and that PIN, and no other."""
    settings = softhsm.settings
    label, pin_file = {
        "signer": (settings.sign_label, settings.sign_pin_file),
        "enroller": (settings.enrol_label, settings.enrol_pin_file),
    }[role]
    os.environ["SOFTHSM2_CONF"] = str(settings.softhsm_conf)
    library = Library(settings.module)
    with library.initialized():
        yield Thief(library, label, pin_file.read_text().strip())
