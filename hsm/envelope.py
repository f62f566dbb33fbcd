"""The sealed rows that the database keeps: wrapped key, to whom it belongs, and the row's MAC.

AES-KWP has no associated data, so the MAC binds the blob to its tenant, its account (or hook
secret), its purpose and its KEK version. The enroller makes the MAC inside its token, the signer
verifies it inside the other; neither half of the MAC key can do the other's work.

The bytes are msgpack arrays, tagged with kind and version: what a later version changes gets
another tag, and this code refuses it.
"""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

import msgspec

from hsm.errors import SealBroken
from tenancy.errors import UNREADABLE

MAX_SEALED_BYTES = 4096


class _Sealed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    tenant_id: UUID
    subject: str
    purpose: str
    kek_version: int
    wrapped: bytes
    mac: bytes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.purpose} of {self.subject}, KEK v{self.kek_version}>"

    def under_mac(self) -> bytes:
        """What the MAC covers: everything but itself, kind and version included."""
        fields = (
            type(self).__name__, self.tenant_id, self.subject, self.purpose,
            self.kek_version, self.wrapped,
        )  # fmt: skip
        return b"portcullis/sealed/v1\x00" + msgspec.msgpack.encode(fields)


class SealedKey(_Sealed, frozen=True, array_like=True, forbid_unknown_fields=True, tag="key/1"):
    """A broker's API secret: usable inside the token, never readable. `purpose` is the broker."""


class SealedSecret(
    _Sealed, frozen=True, array_like=True, forbid_unknown_fields=True, tag="secret/1"
):
    """A secret that one kind of process has to see (a hook's). `purpose` says which."""


Sealed = SealedKey | SealedSecret

_decoder: msgspec.msgpack.Decoder[Sealed] = msgspec.msgpack.Decoder(SealedKey | SealedSecret)


def pack(sealed: Sealed) -> bytes:
    """The bytes for the database's `sealed` column."""
    return msgspec.msgpack.encode(sealed)


def unpack(data: bytes) -> Sealed:
    """The row that `data` says, unverified. Raises SealBroken."""
    if len(data) > MAX_SEALED_BYTES:
        raise SealBroken(f"a sealed row has at most {MAX_SEALED_BYTES} bytes, got {len(data)}")
    try:
        return _decoder.decode(data)
    except UNREADABLE as error:
        raise SealBroken(f"not a sealed row: {error}") from None


def name_of(data: bytes) -> bytes:
    """The 16 bytes by which client and daemon speak of a sealed row: SHA-256, cut."""
    return sha256(data).digest()[:16]
