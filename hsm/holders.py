"""M of N: the tokens' PINs are under a secret that no single person has.

When the tokens are made, a secret of 128 random bits is made with them. The PINs of all tokens, users'
and security officers', are encrypted to it and kept in one file; the secret itself is split by Shamir's
method into N phrases of twenty words (SLIP-39, which has a checksum in every phrase and knows which
belong together), of which any M give it again and fewer than M tell nothing. Each holder keeps one, on
paper. A ceremony asks M of them to type theirs; the secret and the PINs are then in the ceremony's
process, and gone with it.

What it guards against: one officer, or whoever finds one paper or the file, making, changing or ending
keys. What it does not: root on the ceremony's host while a ceremony runs; and a daemon's own user PIN,
which it has to have without people, from systemd's credentials. HSMs with a quorum of their own (Luna's
PED keys, nShield's card sets) do this in hardware: use theirs, and `prompt:` here.

The phrases come from `shamir-mnemonic`, SLIP-39's reference implementation (MIT).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.share import Share

from hsm.errors import PinRefused
from tenancy.errors import UNREADABLE, Invalid

SECRET_BYTES = 16
MOST = 16
"""Holders; SLIP-39 has four bits for it."""
_INFO = b"portcullis/held-pins/v1"
_OTHERS = "of other tokens"


class SealedPins(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="held-pins/1"):
    """The file: AES-256-GCM under a key that HKDF-SHA-256 makes of the secret and the salt."""

    salt: bytes
    nonce: bytes
    ciphertext: bytes


def new_phrases(quorum: int, holders: int) -> tuple[bytes, list[str]]:
    """A fresh secret, and its phrases. Raises Invalid: a quorum is at least two of at most 16 holders."""
    if not 2 <= quorum <= holders <= MOST:
        raise Invalid(
            f"a quorum is at least 2, and at most the number of holders, who are at most {MOST};"
            f" got {quorum} of {holders}"
        )
    secret = secrets.token_bytes(SECRET_BYTES)
    (phrases,) = generate_mnemonics(1, [(quorum, holders)], secret)
    return secret, list(phrases)


def gather(ask: Callable[[str], str]) -> bytes:
    """The secret, from as many holders as the first phrase says; a phrase that is none is asked for again.

    `ask(question)` is what the holder types. Raises PinRefused where somebody types nothing.
    """
    found: dict[int, Share] = {}
    question = "Phrase of a holder: "
    while True:
        typed = " ".join(ask(question).split()).lower()
        if not typed:
            raise PinRefused("a holder typed nothing: the ceremony ends, nothing was done")
        first = next(iter(found.values()), None)
        try:
            share = Share.from_mnemonic(typed)
            if first is not None and share.identifier != first.identifier:
                raise MnemonicError(_OTHERS)
        except MnemonicError as error:
            question = f"That is no phrase of this set ({_why(error)}). Again: "
            continue
        found[share.index] = share
        wanted = share.member_threshold
        if len(found) >= wanted:
            break
        question = f"Phrase of holder {len(found) + 1} of {wanted}: "
    try:
        return bytes(combine_mnemonics([each.mnemonic() for each in found.values()]))
    except MnemonicError as error:
        raise PinRefused(f"the phrases do not fit together: {_why(error)}") from None


def seal(pins: Mapping[str, str], secret: bytes) -> bytes:
    """The file's bytes."""
    salt, nonce = os.urandom(16), os.urandom(12)
    plain = msgspec.json.encode(pins)
    ciphertext = AESGCM(_key(secret, salt)).encrypt(nonce, plain, _INFO)
    return msgspec.json.encode(SealedPins(salt, nonce, ciphertext))


def unseal(data: bytes, secret: bytes) -> dict[str, str]:
    """The PINs by name. Raises Invalid (not such a file), PinRefused (another secret, or altered)."""
    try:
        sealed = msgspec.json.decode(data, type=SealedPins)
        plain = AESGCM(_key(secret, sealed.salt)).decrypt(sealed.nonce, sealed.ciphertext, _INFO)
    except UNREADABLE as error:
        raise Invalid(f"the file of held PINs cannot be read: {error}") from None
    except (InvalidTag, ValueError):
        raise PinRefused(
            "the file of held PINs does not open with these phrases: it belongs to others, or was altered"
        ) from None
    return msgspec.json.decode(plain, type=dict[str, str])


def _key(secret: bytes, salt: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=_INFO).derive(secret)


def _why(error: MnemonicError) -> str:
    """Never the library's words: they quote what was typed."""
    return (
        "it belongs to other tokens" if error.args == (_OTHERS,) else "a word is wrong, or missing"
    )
