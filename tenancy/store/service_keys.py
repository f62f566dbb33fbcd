"""SQL of service keys: shown once, kept as a hash of a secret with 256 random bits."""

from __future__ import annotations

import hashlib
import secrets

from tenancy.database import Connection
from tenancy.scope import TenantScope

PREFIX = "pck_"


async def create_service_key(conn: Connection, scope: TenantScope, name: str) -> str:
    """A new key `pck_<key id>_<secret>`: the one time that it is seen."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    await conn.execute(
        "INSERT INTO service_keys (key_id, tenant_id, name, secret_sha256) VALUES (%s, %s, %s, %s)",
        (key_id, scope.tenant_id, name, hashlib.sha256(secret.encode()).digest()),
    )
    return f"{PREFIX}{key_id}_{secret}"
