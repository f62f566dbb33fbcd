"""What the management listener reads the audit log with: its store, and what opens payloads and keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from audit.export.rows import InClear, Opener
from audit.policy import Policy
from tenancy.errors import Unavailable
from tenancy.scope import TenantScope

AuditKey = Callable[[TenantScope], Awaitable[bytes]]


class NoAuditKey(Unavailable):
    """This process cannot reach tenants' audit keys: nothing can be given into escrow."""

    code = "audit_key_unavailable"


async def no_audit_key(scope: TenantScope) -> bytes:
    """Where the process was started without a way to the keys."""
    raise NoAuditKey("this process has no way to the tenant's audit key")


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """`store`: the recorder's write-once directory, read only. `exports`: where packages lie until they
    are fetched or their time is over; on this host alone. `audit_key`: 32 bytes, raises Unavailable.
    `policy`: of the operator's witnesses, which goes along with packages."""

    store: Path
    exports: Path
    opener: Opener = msgspec.field(default_factory=InClear)
    audit_key: AuditKey = no_audit_key
    policy: Policy | None = None
