"""How long an export takes: `python -m tests.longer.export_speed --records N --format csv`, on own stores.

Leaves and payloads of the size of an order's intent go straight into PostgreSQL and into tiles, because
making them is not what is measured. The export is the product's, checked afterwards by the package's reader.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import os
import resource
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import orjson
import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import merkle, record, ring
from audit.checkpoint import Checkpoint
from audit.export.check import describe, verify_package
from audit.export.package import Exporter, Plan
from audit.export.rows import InClear
from audit.export.selection import Selection
from audit.note import VerifierKey
from audit.tiles import Builder
from ops.bench.stores import stores
from ops.garbage import collect_garbage_rarely
from tenancy.clock import SystemClock
from tenancy.database import Database
from tenancy.scope import Actor, TenantScope
from tenancy.values import TenantID
from tests.fakes.ring import ClearRing

PRIVATE = Ed25519PrivateKey.generate()
LOG, TENANT = uuid.uuid4(), TenantID(uuid.uuid4())
KEY = VerifierKey(f"portcullis.invalid/log/{LOG}", PRIVATE.public_key().public_bytes_raw())


def rows(count: int) -> Iterator[tuple[int, str, bytes, bytes]]:
    """Index, order, leaf, payload."""
    for n in range(count):
        key = n.to_bytes(32, "big")
        payload = orjson.dumps({
            "cl_ord_id": f"{n:024}.1", "signal_id": str(uuid.UUID(int=n)), "symbol": "BTC_USDT",
            "side": "buy", "order_qty": "12", "ord_type": "limit", "price": "60000.5", "broker": "gateio",
            "time_in_force": "gtc", "reduce_only": False, "place": 1, "leg": 0, "attempt": 1,
            "k_rec": key.hex(),
        })  # fmt: skip
        oid = f"o-{n:022}"
        leaf = record.compose(
            log=KEY.name, index=n, ts_ns=10**18 + n, rt_ns=10**18 + n, kind="order.intent",
            clock={"err": None, "src": "system", "state": "unknown"}, retention="trade",
            actor={"id": "fanout", "kind": "algo"}, acct=str(uuid.UUID(int=n % 1000)), oid=oid, on=1,
            commitment=hmac.digest(key, payload, "sha256"), cor="c" * 32,
        )  # fmt: skip
        yield n, oid, leaf, payload


def fill(superuser: str, store: Path, count: int) -> None:
    """The log: rows, tiles and a checkpoint."""
    builder = Builder()
    with psycopg.connect(superuser) as conn:
        conn.execute("INSERT INTO tenants (tenant_id, name) VALUES (%s, 'bench')", (TENANT,))
        conn.execute(
            "INSERT INTO audit_logs (log_id, tenant_id, origin, key_label, public_key)"
            " VALUES (%s, %s, %s, 'k', %s)",
            (LOG, TENANT, KEY.name, KEY.public_key),
        )
        payloads = []
        with conn.cursor().copy(
            "COPY audit_leaves (log_id, i, tenant_id, oid, leaf, leaf_hash) FROM STDIN"
        ) as copy:
            for index, oid, leaf, payload in rows(count):
                digest = merkle.leaf_hash(leaf)
                builder.append(leaf, digest)
                copy.write_row((LOG, index, TENANT, oid, leaf, digest))
                payloads.append(payload)
        with conn.cursor().copy(
            "COPY audit_payloads (log_id, i, tenant_id, payload) FROM STDIN"
        ) as copy:
            for index, payload in enumerate(payloads):
                copy.write_row((LOG, index, TENANT, payload))
    for tile, data in builder.take_full() + builder.partials():
        if tile.level >= 0:
            path = store / str(LOG) / tile.path()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    head = Checkpoint(KEY.name, builder.size, builder.root())
    note = head.note((KEY, PRIVATE.sign(head.text().encode())))
    (store / str(LOG) / "checkpoint").write_bytes(note)


async def export(conninfo: str, store: Path, out: Path, formats: frozenset[str]) -> float:
    """Seconds for the whole log."""
    database = Database(conninfo, name="export-speed", size=2)
    await database.open()
    scope = TenantScope(TENANT, Actor("human", "bench"))
    exporter = Exporter(database, scope, store, SystemClock(), opener=InClear())
    plan = Plan(export_id=uuid.uuid4(), selection=Selection(), formats=formats, why="speed")
    began = time.perf_counter()
    try:
        await exporter.make(plan, out)
    finally:
        await database.close()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--format", action="append", default=[])
    parser.add_argument(
        "--verify", action="store_true", help="check the package too, which takes longer"
    )
    given = parser.parse_args()
    ring.use(ClearRing())
    with stores() as here:
        store, out = here.directory / "audit", here.directory / "package"
        fill(here.superuser, store, given.records)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        worked = time.process_time()
        collect_garbage_rarely()  # as every process that exports
        took = asyncio.run(export(here.roles.admin, store, out, frozenset(given.format)))
        worked = time.process_time() - worked
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        sys.stdout.write(
            f"{given.records} records, jsonl {' '.join(given.format)}: {took:.1f} s,"
            f" {given.records / took:,.0f}/s; processor {worked:.1f} s; {size / 1e6:,.0f} MB;"
            f" memory grew {(after - before) / 1e3:.0f}"
            f" MB; load {os.getloadavg()[0]:.1f}\n"
        )
        sys.stdout.flush()
        if given.verify:
            began = time.perf_counter()
            sys.stdout.write(describe(verify_package(out, str(KEY))) + "\n")
            sys.stdout.write(f"verified in {time.perf_counter() - began:.1f} s\n")


if __name__ == "__main__":
    main()
