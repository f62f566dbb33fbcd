"""The bytes of a sealed payload and of a wrapped data key: AES-256-GCM, bound to where they belong. Pure.

Two levels. Each tenant has an **audit key** (32 bytes; the database holds it sealed by the HSM). Under
it lie the **data keys**, one or more versions for each *subject* (`account:<id>`, `person:<id>`,
`tenant`): 32 bytes each, in the table `audit_data_keys`, which is not write-once. A payload is
encrypted under its subject's key. Destroying that key erases the payload and, with the `k_rec` inside
it, the opening of the leaf's commitment, in every copy that there is; leaves and proofs stay.

    stored payload, version 1
        1   0x01
        2   length of the subject, big-endian       n  subject, UTF-8
        4   version of the subject's key, big-endian
        12  nonce, random
        …   AES-256-GCM(data key, payload); its last 16 bytes are the tag
        associated data: "portcullis/audit-payload/v1", 0x00, the tenant's 16 bytes, then the subject
        with its length and the version as above, then the 32 bytes of the leaf's commitment `pc`

    wrapped data key
        12  nonce, random
        48  AES-256-GCM(audit key, data key)
        associated data: "portcullis/audit-key/v1", 0x00, tenant, subject with its length, version

So a payload that is moved to another record, subject or tenant does not open. What begins with `{` was
written in clear before migration 0021. Nonces are random: NIST SP 800-38D section 8.3 bounds that at
2^32 payloads under one key, which is 130 a second for a year.

Standard library and `cryptography` only: an examiner's reader opens payloads with this file.
"""

from __future__ import annotations

import os
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit.malformed import Malformed

VERSION = 1
KEY_BYTES = 32
NONCE_BYTES, TAG_BYTES = 12, 16
TENANT = "tenant"
"""The subject of what is about nobody in particular."""
LONGEST_SUBJECT = 512
"""Bytes."""
CLEAR = 0x7B
"""`{`: the first byte of a payload from before there were keys."""

_PAYLOAD = b"portcullis/audit-payload/v1\x00"
_KEY = b"portcullis/audit-key/v1\x00"


class Sealed(NamedTuple):
    """A stored payload, taken apart."""

    subject: str
    version: int
    nonce: bytes
    ciphertext: bytes


def account(account_id: object) -> str:
    """The subject of an account's records."""
    return f"account:{account_id}"


def person(person_id: object) -> str:
    """The subject of a person's records."""
    return f"person:{person_id}"


def named(subject: str, version: int) -> bytes:
    """Subject and version as they stand in a stored payload and under each tag. Raises Malformed."""
    text = subject.encode()
    if not 0 < len(text) <= LONGEST_SUBJECT:
        raise Malformed(f"a subject has 1 to {LONGEST_SUBJECT} bytes, got {len(text)}")
    return len(text).to_bytes(2, "big") + text + version.to_bytes(4, "big")


def seal(key: AESGCM, tenant: UUID, subject: str, version: int, payload: bytes, pc: bytes) -> bytes:
    """The stored form of `payload`, whose commitment is `pc`."""
    return seal_named(key, tenant.bytes, named(subject, version), payload, pc)


def seal_named(key: AESGCM, tenant: bytes, name: bytes, payload: bytes, pc: bytes) -> bytes:
    """seal() for who has many: `name` is named(), `tenant` the id's bytes."""
    nonce = os.urandom(NONCE_BYTES)
    return b"\x01" + name + nonce + key.encrypt(nonce, payload, _PAYLOAD + tenant + name + pc)


def is_sealed(stored: bytes) -> bool:
    """False for a payload in clear, from before migration 0021."""
    return not stored or stored[0] != CLEAR


def parse(stored: bytes) -> Sealed:
    """Whose key opens it. Raises Malformed for what is no stored payload of version 1."""
    if len(stored) < 3 or stored[0] != VERSION:
        raise Malformed("not a sealed payload of version 1")
    end = 3 + int.from_bytes(stored[1:3], "big")
    body = end + 4 + NONCE_BYTES
    if len(stored) < body + TAG_BYTES or not 3 < end <= 3 + LONGEST_SUBJECT:
        raise Malformed("a sealed payload that is too short")
    try:
        subject = stored[3:end].decode()
    except UnicodeDecodeError:
        raise Malformed("a sealed payload whose subject is no text") from None
    version = int.from_bytes(stored[end : end + 4], "big")
    return Sealed(subject, version, stored[end + 4 : body], stored[body:])


def open_sealed(key: AESGCM, tenant: UUID, sealed: Sealed, pc: bytes) -> bytes:
    """The payload. Raises Malformed under another key, for another tenant, record or altered bytes."""
    name = named(sealed.subject, sealed.version)
    try:
        return key.decrypt(sealed.nonce, sealed.ciphertext, _PAYLOAD + tenant.bytes + name + pc)
    except InvalidTag:
        raise Malformed("the payload does not open: altered, moved, or another key") from None


def wrap(audit_key: AESGCM, tenant: UUID, subject: str, version: int, key: bytes) -> bytes:
    """A data key as the table keeps it."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + audit_key.encrypt(nonce, key, _KEY + tenant.bytes + named(subject, version))


def unwrap(audit_key: AESGCM, tenant: UUID, subject: str, version: int, wrapped: bytes) -> bytes:
    """The 32 bytes of a data key. Raises Malformed under another audit key or for an altered row."""
    nonce, rest = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
    try:
        key = audit_key.decrypt(nonce, rest, _KEY + tenant.bytes + named(subject, version))
    except (InvalidTag, ValueError):
        raise Malformed(f"the data key of {subject!r} does not open: altered or moved") from None
    if len(key) != KEY_BYTES:
        raise Malformed(f"the data key of {subject!r} has {len(key)} bytes")
    return key
