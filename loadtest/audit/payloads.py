"""The payloads of audit records, opened by an own reading of docs/audit/payloads.md: imports nothing of ours.

Whoever starts the auditor gives it the tenants' audit keys (a file of their own, JSON: tenant's id →
64 hex digits); data keys are rows. Without the file only what was stored in clear can be read, and every
other payload is one that fits no commitment.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

DATA_KEYS = "SELECT tenant_id::text, subject, version, wrapped FROM audit_data_keys"

Opened = bytes | None


class Payloads:
    """Opens what any of the given tenants stored."""

    def __init__(
        self,
        audit_keys: Mapping[str, bytes] = {},
        rows: Iterable[tuple[str, str, int, bytes]] = (),
    ) -> None:
        """`rows`: of DATA_KEYS. A row that does not open counts as one that is not there."""
        self._keys: dict[tuple[str, bytes], AESGCM] = {}
        for tenant, subject, version, wrapped in rows:
            if tenant in audit_keys:
                name = _name(subject, version)
                bound = b"portcullis/audit-key/v1\0" + UUID(tenant).bytes + name
                try:
                    key = AESGCM(audit_keys[tenant]).decrypt(wrapped[:12], wrapped[12:], bound)
                except InvalidTag:
                    continue
                self._keys[tenant, name] = AESGCM(key)

    def open(self, tenant: str, stored: bytes, commitment: str) -> Opened:
        """The payload; None where no key opens it for this tenant and this record."""
        if stored[:1] == b"{":
            return stored
        end = 3 + int.from_bytes(stored[1:3], "big") + 4
        name, nonce, rest = stored[1:end], stored[end : end + 12], stored[end + 12 :]
        key = self._keys.get((tenant, name))
        if stored[:1] != b"\x01" or key is None:
            return None
        bound = b"portcullis/audit-payload/v1\0" + UUID(tenant).bytes + name
        try:
            return key.decrypt(nonce, rest, bound + bytes.fromhex(commitment))
        except (InvalidTag, ValueError):
            return None


def read_audit_keys(file: Path | None) -> dict[str, bytes]:
    """The file that was given, or none."""
    if file is None:
        return {}
    return {tenant: bytes.fromhex(key) for tenant, key in json.loads(file.read_text()).items()}


def _name(subject: str, version: int) -> bytes:
    text = subject.encode()
    return len(text).to_bytes(2, "big") + text + version.to_bytes(4, "big")
