"""Tenants whose keys are known, in a token made for the purpose: ten thousand accounts for a bench.

A real enrolment costs an RSA-4096 operation each, and its secrets are nobody's to know. Here the
caller says the keys, and a row is sealed outside any token (AES-KWP and HMAC by `cryptography`). What
opens it is the signer as it is. Refused in a token whose label does not begin with "drill": a key that
somebody knows has no place beside real ones.
"""

from __future__ import annotations

import hmac
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from pkcs11 import Attribute, ObjectClass

from hsm.enrol import hmac_key
from hsm.envelope import SealedKey, pack
from hsm.errors import CeremonyRefused
from hsm.templates import KEY_TYPES, SIGN_SIDE, Role, key_label
from hsm.token import Anchor

LABEL = "drill"
VERSION = 1


class KnownTenant:
    """A tenant with a KEK and a MAC key that this object holds."""

    def __init__(self, tenant_id: UUID, kek: bytes, mac: bytes) -> None:
        """32 bytes each."""
        self.tenant_id = tenant_id
        self._kek = kek
        self._mac = mac

    def __repr__(self) -> str:
        return f"<KnownTenant {self.tenant_id}>"

    def put(self, anchor: Anchor) -> None:
        """The sign token's halves, with the templates that the ceremony gives. Raises CeremonyRefused."""
        if not anchor.label.startswith(LABEL):
            raise CeremonyRefused(f"token {anchor.label!r} is not for drills: its keys are secret")
        halves: tuple[tuple[Role, bytes], ...] = (("kek", self._kek), ("mac", self._mac))
        for role, value in halves:
            template: dict[Attribute, Any] = {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KEY_TYPES[role],
                Attribute.TOKEN: True,
                Attribute.LABEL: key_label(role, self.tenant_id, VERSION),
                Attribute.ID: self.tenant_id.bytes,
                Attribute.VALUE: value,
                **SIGN_SIDE[role],
            }
            anchor.session.create_object(template)

    def sealed(self, account_id: UUID, broker: str, secret: bytes) -> bytes:
        """The row that the enroller would have made of that secret."""
        wrapped = aes_key_wrap_with_padding(self._kek, hmac_key(secret))
        row = SealedKey(self.tenant_id, str(account_id), broker, VERSION, wrapped, b"")
        mac = hmac.digest(self._mac, row.under_mac(), "sha256")
        return pack(SealedKey(self.tenant_id, str(account_id), broker, VERSION, wrapped, mac))
