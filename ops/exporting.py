"""What an export on this host is made with: the store, the pool, and what opens payloads."""

from __future__ import annotations

from pathlib import Path

from audit.export.package import Exporter
from audit.export.rows import InClear, Opener
from fanout.owned import orders_of_strategies
from gateway.admin.archive import Archive
from ops.settings import Settings
from ops.tenants import operator_scope
from tenancy.clock import SystemClock
from tenancy.database import Database
from tenancy.values import TenantID


def opener() -> Opener:
    """The one place that says how payloads are opened for an export."""
    return InClear()


def archive(settings: Settings) -> Archive:
    """What the management listener reads the log with; its packages lie beside the settings' state."""
    exports = settings.admin.exports or settings.recorder.store.parent / "exports"
    return Archive(store=settings.recorder.store, exports=exports, opener=opener())


def exporter(database: Database, tenant: TenantID, store_dir: Path) -> Exporter:
    """For an operator on the host."""
    return Exporter(
        database, operator_scope(tenant), store_dir, SystemClock(), opener=opener(),
        owned=orders_of_strategies,
    )  # fmt: skip
