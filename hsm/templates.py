"""The exact attributes of every key, by role: what it may do, and that nobody can widen it.

No default of the binding is used: a default AES key may also decrypt, and AES-ECB would then
open what KWP has sealed. Three rules hold for every object here:

- each usage flag is stated, and exactly the needed one is true;
- CKA_MODIFIABLE is false and stands **last**: SoftHSM 2.6.1 applies a template in its order and
  refuses what follows it as read-only;
- a key that unwraps carries CKA_UNWRAP_TEMPLATE, so that even a caller with the PIN gets nothing
  out but what the template says, and CKA_ALLOWED_MECHANISMS, so that no other mechanism can be
  used to open the blob in pieces.
"""

from __future__ import annotations

import ctypes
from typing import Any, Literal
from uuid import UUID

from pkcs11 import MGF, Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.attributes import AttributeMapper

from hsm.module import Attribute as RawAttribute
from hsm.profile import mechanism

Template = dict[Attribute, Any]
Role = Literal["kek", "open", "mac"]

A = Attribute
KWP = Mechanism.AES_KEY_WRAP_PAD
"""SoftHSM gives KWP (NIST SP 800-38F) the number 0x210A; the standard's is 0x210B. These templates
say SoftHSM's: what is sent to a token goes through its profile's `fit()` and `kwp` (hsm/profile.py)."""
OAEP = (Mechanism.SHA_1, MGF.SHA1, None)
"""SoftHSM 2.6.1 knows OAEP with SHA-1 only. OAEP does not rest on collision resistance. Another
token's digest: its profile's `oaep`."""
ED25519 = bytes.fromhex("06032b6570")  # the OID 1.3.101.112, DER
P256 = bytes.fromhex("06082a8648ce3d030107")  # the OID 1.2.840.10045.3.1.7, DER
RSA_BITS = 4096
TRANSPORT_BITS = 3072

USES = (A.ENCRYPT, A.DECRYPT, A.SIGN, A.VERIFY, A.WRAP, A.UNWRAP, A.DERIVE)


def only(*uses: Attribute) -> Template:
    """Every usage flag, true for `uses` alone."""
    return {use: use in uses for use in USES}


HIDDEN: Template = {A.PRIVATE: True, A.SENSITIVE: True, A.EXTRACTABLE: False}
FIXED: Template = {A.MODIFIABLE: False}

_SESSION_SECRET: Template = {
    A.CLASS: ObjectClass.SECRET_KEY,
    A.KEY_TYPE: KeyType.GENERIC_SECRET,
    A.TOKEN: False,
    A.PRIVATE: True,
}

SIGNING_KEY: Template = {
    **_SESSION_SECRET, A.SENSITIVE: True, A.EXTRACTABLE: False, **only(A.SIGN),
}  # fmt: skip
"""What unwrapping with a tenant's KEK gives: it signs, and never comes out."""

OPENED_SECRET: Template = {
    **_SESSION_SECRET, A.SENSITIVE: False, A.EXTRACTABLE: True, **only(),
}  # fmt: skip
"""What unwrapping with a tenant's open KEK gives: readable, and good for nothing else."""

ENROLLED_SECRET: Template = {
    **_SESSION_SECRET, A.SENSITIVE: True, A.EXTRACTABLE: True, **only(),
}  # fmt: skip
"""What the enrol RSA key gives: may be wrapped again, cannot be read."""

_UNWRAPPERS: dict[Role, Template] = {
    "kek": {
        **HIDDEN, **only(A.UNWRAP),
        A.UNWRAP_TEMPLATE: SIGNING_KEY, A.ALLOWED_MECHANISMS: [KWP], **FIXED,
    },
    "open": {
        **HIDDEN, **only(A.UNWRAP),
        A.UNWRAP_TEMPLATE: OPENED_SECRET, A.ALLOWED_MECHANISMS: [KWP], **FIXED,
    },
    "mac": {**HIDDEN, **only(A.VERIFY), A.ALLOWED_MECHANISMS: [Mechanism.SHA256_HMAC], **FIXED},
}  # fmt: skip

SIGN_SIDE = _UNWRAPPERS
"""The sign token's half: opens and verifies, cannot seal."""

ENROL_SIDE: dict[Role, Template] = {
    "kek": {**HIDDEN, **only(A.WRAP), **FIXED},
    "open": {**HIDDEN, **only(A.WRAP), **FIXED},
    "mac": {**HIDDEN, **only(A.SIGN), **FIXED},
}
"""The enrol token's half: seals, cannot open."""

KEY_TYPES: dict[Role, KeyType] = {
    "kek": KeyType.AES, "open": KeyType.AES, "mac": KeyType.GENERIC_SECRET,
}  # fmt: skip

ENROL_PRIVATE: Template = {
    **HIDDEN, A.DECRYPT: False, A.SIGN: False, A.SIGN_RECOVER: False, A.UNWRAP: True,
    A.DERIVE: False,
    A.UNWRAP_TEMPLATE: ENROLLED_SECRET, A.ALLOWED_MECHANISMS: [Mechanism.RSA_PKCS_OAEP], **FIXED,
}  # fmt: skip
ENROL_PUBLIC: Template = {
    A.ENCRYPT: False, A.VERIFY: False, A.VERIFY_RECOVER: False, A.WRAP: False, **FIXED,
}  # fmt: skip

LOG_PRIVATE: Template = {
    **HIDDEN, A.DECRYPT: False, A.SIGN: True, A.SIGN_RECOVER: False, A.UNWRAP: False,
    A.DERIVE: False, **FIXED,
}  # fmt: skip
LOG_PUBLIC: Template = {
    A.EC_PARAMS: ED25519, A.ENCRYPT: False, A.VERIFY: True, A.VERIFY_RECOVER: False,
    A.WRAP: False, **FIXED,
}  # fmt: skip

LOG_P256_PUBLIC: Template = {**LOG_PUBLIC, A.EC_PARAMS: P256}
"""Of a log's second pair, whose private half is as the first's."""

ENROL_LABEL = "enrol"
LOG_PREFIX = "log/"
RECORD_PREFIX = "record/"
"""Of the keys that sign records of ceremonies (hsm/record.py); no daemon signs with them."""


def enrol_label(version: int) -> str:
    """The label of the enrolment pair's version, counted from 1."""
    return ENROL_LABEL if version == 1 else f"{ENROL_LABEL}/v{version}"


def enrol_version(label: str) -> int | None:
    """The inverse of enrol_label(); None for another object's label."""
    if label == ENROL_LABEL:
        return 1
    number = label.removeprefix(f"{ENROL_LABEL}/v")
    return int(number) if number != label and number.isascii() and number.isdecimal() else None


def log_label(origin: str, version: int) -> str:
    """How the signer is asked for a log's key. The first version's is the origin itself."""
    return origin if version == 1 else f"{origin}@v{version}"


_P256 = "#p256"


def p256_label(label: str) -> str:
    """How the signer is asked for the second pair of that version. (As audit.ports.p256_label.)"""
    return label + _P256


def is_p256(label: str) -> bool:
    return label.endswith(_P256)


def key_label(role: Role, tenant_id: UUID, version: int) -> str:
    """The label of a tenant's key; its CKA_ID is the tenant's 16 bytes."""
    return f"{role}/{tenant_id}/v{version}"


class TemplateMapper(AttributeMapper):
    """The binding's packing, and the two array attributes that it lacks.

    A nested template is an array of pointers: what they point to lives as long as this mapper,
    which is as long as its session. Daemons never pack one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._alive: list[Any] = []
        self.register_handler(A.UNWRAP_TEMPLATE, self._pack_template, _unreadable)
        self.register_handler(A.ALLOWED_MECHANISMS, _pack_mechanisms, _unpack_mechanisms)

    def _pack_template(self, template: Template) -> bytes:
        array = (RawAttribute * len(template))()
        for index, (attribute, value) in enumerate(template.items()):
            packed = self.pack_attribute(attribute, value)
            buffer = ctypes.create_string_buffer(packed, len(packed))
            self._alive.append(buffer)
            array[index] = RawAttribute(attribute, ctypes.addressof(buffer), len(packed))
        return bytes(array)


def _unreadable(_: bytes) -> Any:
    raise NotImplementedError("a nested template is read by Module.nested()")


def _pack_mechanisms(mechanisms: list[Mechanism]) -> bytes:
    return b"".join(bytes(ctypes.c_ulong(one)) for one in mechanisms)


def _unpack_mechanisms(value: bytes) -> list[Mechanism]:
    size = ctypes.sizeof(ctypes.c_ulong)
    return [
        mechanism(int.from_bytes(value[at : at + size], "little"))
        for at in range(0, len(value), size)
    ]
