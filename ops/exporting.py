"""What an export on this host is made with: the store, the pool, the witnesses' list, and what opens payloads."""

from __future__ import annotations

import structlog

from audit import ring
from audit.export.package import Exporter
from audit.keystore import SUBJECT
from audit.malformed import Malformed
from audit.policy import Policy, parse_policy
from fanout.owned import orders_of_strategies
from gateway.admin.archive import Archive, NoAuditKey
from ops.settings import Settings
from ops.tenants import operator_scope
from ops.vault import signer_client
from tenancy.clock import SystemClock
from tenancy.database import Database
from tenancy.scope import TenantScope
from tenancy.values import TenantID

log = structlog.get_logger()


def archive(settings: Settings, database: Database) -> Archive:
    """What the management listener reads the log with; its ring must be in use."""
    exports = settings.admin.exports or settings.recorder.store.parent / "exports"

    async def audit_key(scope: TenantScope) -> bytes:
        """For an examiner's escrow. Raises Unavailable."""
        async with database.tenant(scope) as conn:
            cursor = await conn.execute("SELECT sealed FROM audit_keys WHERE keeper IS NULL")
            row = await cursor.fetchone()
        if row is None:
            raise NoAuditKey("this tenant has no audit key of its own")
        async with signer_client(settings.hsm, settings.hsm.audit_socket) as signer:
            return await signer.open_secret(row[0], tenant_id=scope.tenant_id, subject=SUBJECT)

    return Archive(
        store=settings.recorder.store, exports=exports, opener=ring.current(), audit_key=audit_key,
        policy=witness_policy(settings),
    )  # fmt: skip


def exporter(database: Database, tenant: TenantID, settings: Settings) -> Exporter:
    """For an operator on the host."""
    return Exporter(
        database, operator_scope(tenant), settings.recorder.store, SystemClock(), opener=ring.current(),
        owned=orders_of_strategies, policy=witness_policy(settings),
    )  # fmt: skip


def witness_policy(settings: Settings) -> Policy | None:
    """Whom the recorder asks to cosign. None where nobody is asked, and where this process cannot read the
    list: a package proves as much without it, so it holds up neither an export nor a start."""
    file = settings.recorder.witness_policy
    if file is None:
        return None
    try:
        return parse_policy(file.read_bytes())
    except (OSError, Malformed) as error:
        log.warning("witness_policy_left_out_of_exports", why=str(error))
        return None
