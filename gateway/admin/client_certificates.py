"""The certificate that a client showed during the TLS handshake: found where ops/serve.py put it.

ASGI's TLS extension is not spoken by Hypercorn 0.18; the state of the connection, which Hypercorn
copies into each request's scope, carries the fingerprint instead. Only a certificate that the
listener's `client_ca` signed gets so far: any other ends the handshake.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

STATE_KEY = "portcullis.client_certificate_sha256"


def fingerprint(certificate_der: bytes) -> bytes:
    """What `service_keys.certificate_sha256` holds: SHA-256 of the whole certificate, DER."""
    return hashlib.sha256(certificate_der).digest()


def client_certificate_sha256(scope: Mapping[str, Any]) -> bytes | None:
    """The fingerprint of the connection's client certificate; None where it showed none."""
    state = scope.get("state")
    found = state.get(STATE_KEY) if isinstance(state, Mapping) else None
    return found if isinstance(found, bytes) else None
