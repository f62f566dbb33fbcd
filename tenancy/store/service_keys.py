"""SQL of service keys: shown once, kept as a hash of a secret with 256 random bits."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable

import msgspec

from tenancy.database import Connection
from tenancy.scope import TenantScope

PREFIX = "pck_"


class NewKey(msgspec.Struct, frozen=True):
    """`key` is `pck_<key id>_<secret>`: the one time that it is seen."""

    key_id: str
    key: str
    secret_sha256: bytes

    def __repr__(self) -> str:
        return f"NewKey({self.key_id!r}, key=…)"


def make_key() -> NewKey:
    """A fresh key, not yet kept anywhere."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).digest()
    return NewKey(key_id, f"{PREFIX}{key_id}_{secret}", digest)


async def create_service_key(
    conn: Connection, scope: TenantScope, name: str, scopes: Iterable[str]
) -> str:
    """A new key with these scopes (tenancy.roles.ACTIONS), without end and from anywhere."""
    made = make_key()
    await conn.execute(
        "INSERT INTO service_keys (key_id, tenant_id, name, secret_sha256, scopes)"
        " VALUES (%s, %s, %s, %s, %s)",
        (made.key_id, scope.tenant_id, name, made.secret_sha256, sorted(scopes)),
    )
    return made.key
