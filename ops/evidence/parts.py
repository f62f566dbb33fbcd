"""Everything that is collected, in the order in which it is lost: what changes soonest comes first."""

from __future__ import annotations

from ops.evidence import attached, audit_log, database, host, product, vault
from ops.evidence.collection import Part

PARTS = (
    Part("processes", host.processes, 10.0),
    Part("metrics and readiness", product.pages, 60.0),
    Part("database activity", database.activity, 40.0),
    Part("kill switch, drifts, leases, audit standing", database.work, 30.0),
    Part("clock", host.clock, 15.0),
    Part("HSM", vault.vault, 30.0),
    Part("Redis", database.redis, 10.0),
    Part("host", host.host, 15.0),
    Part("doctor", product.doctor, 30.0),
    Part("logs", product.logs, 120.0),
    Part("what was attached", attached.attached, 60.0),
    Part("versions and settings", host.releases, 20.0),
    Part("audit log's heads", audit_log.heads, 120.0),
    Part("stores' manifests", audit_log.manifests, 300.0),
)
