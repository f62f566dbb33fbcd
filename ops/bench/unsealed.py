"""Secrets of the benches that run without an HSM: what lies in the database opens as it lies there.

The signer opens each once in a process's life, not on the way of a signal or a record; what that costs
`bench hsm` says.
"""

from __future__ import annotations

import secrets
from uuid import UUID

from tenancy.database import Connection
from tenancy.scope import TenantScope


class OpensUnsealed:
    """Stands where the product has the signer's client (hsm/client.py)."""

    async def open_secret(self, sealed: bytes, *, tenant_id: UUID, subject: str) -> bytes:
        return sealed


async def give_audit_key(conn: Connection, scope: TenantScope) -> None:
    """A new tenant's audit key, which the product has the enroller seal."""
    await conn.execute(
        "INSERT INTO audit_keys (tenant_id, sealed) VALUES (%s, %s)",
        (scope.tenant_id, secrets.token_bytes(32)),
    )
