"""SQL of a tenant's audit log: which origin and which key. The log itself belongs to audit/."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from tenancy.database import Connection
from tenancy.scope import TenantScope


async def create_audit_log(
    conn: Connection,
    scope: TenantScope,
    log_id: UUID,
    *,
    origin: str,
    key_label: str,
    public_key: bytes,
    p256_key: bytes | None = None,
    kind: Literal["records", "anchor"] = "records",
) -> None:
    """The tenant's one log; of the platform, by `kind`, also the anchor log.

    `public_key`: Ed25519, 32 bytes; `p256_key`: the second pair's, SubjectPublicKeyInfo in DER.
    """
    await conn.execute(
        "INSERT INTO audit_logs (log_id, tenant_id, origin, key_label, public_key, p256_key, kind)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (log_id, scope.tenant_id, origin, key_label, public_key, p256_key, kind),
    )
