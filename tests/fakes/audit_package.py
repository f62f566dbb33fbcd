"""Exported packages made in memory, without database or recorder: a log whose payloads open, and its records."""

from __future__ import annotations

import asyncio
import hmac
import json
import uuid
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from audit import merkle, sealing
from audit.checkpoint import open_checkpoint
from audit.export.package import Package, Plan
from audit.export.row import Row
from audit.export.selection import Selection
from audit.logs import Log
from audit.tiles import Reader
from tenancy.scope import Actor
from tests.fakes.audit_log import KEY, leaf, write_log

TENANT = uuid.UUID(int=7)
LOG = Log(uuid.UUID(int=8), TENANT, KEY.name, "log-key", KEY.public_key)
AUDITOR = Actor("human", "auditor")
WHEN = datetime(2026, 11, 21, tzinfo=UTC)


class Records:
    """`count` records with payloads, dealt out over `orders` orders; their rows and their bytes."""

    def __init__(self, count: int, orders: int = 3) -> None:
        self.rows: list[Row] = []
        heads: dict[str, tuple[int, bytes | None]] = {}
        for index in range(count):
            oid = f"o-{index % orders}"
            number, head = heads.get(oid, (0, None))
            said = {
                "symbol": "ETH_USDT", "side": "buy", "order_qty": "3", "ord_type": "limit",
                "price": "2000.5", "time_in_force": "gtc", "text": "=1+1 <script>", "n": index,
            }  # fmt: skip
            key = sha256(b"k_rec %d" % index).digest()
            payload = json.dumps(said | {"k_rec": key.hex()}).encode()
            pc = hmac.digest(key, payload, "sha256")
            data = leaf(
                index,
                oid=oid,
                on=number + 1,
                op=head,
                commitment=pc,
                acct=f"account-{index % 2}",
                rt_ns=10**18 + index * 1_000_000,
            )
            digest = merkle.leaf_hash(data)
            self.rows.append(Row(index, data, digest, json.loads(data), "open", payload, said))
            heads[oid] = (number + 1, digest)

    def publish(self, store: Path) -> None:
        write_log(store, [row.leaf for row in self.rows])

    def sealed(self, key: sealing.AESGCM, subject: str = "account:a") -> list[Row]:
        """The same, as they are stored."""
        return [
            Row(
                row.index, row.leaf, row.digest, row.members, "sealed",
                sealed=sealing.seal(
                    key, TENANT, subject, 1, row.payload, bytes.fromhex(row.members["pc"])
                ),
            )
            for row in self.rows
        ]  # fmt: skip


class ListSource:
    """audit.export.rows.Source over rows in a list."""

    def __init__(self, every: list[Row], chosen: list[Row], span: tuple[int, int]) -> None:
        self._every, self._chosen, self._span = every, chosen, span

    async def span(self):
        return self._span

    async def leaf(self, index):
        return self._every[index].leaf

    async def batches(self, first, end):
        for at in range(0, len(self._chosen), 100):
            yield self._chosen[at : at + 100]


def make_package(
    directory: Path,
    records: Records,
    chosen: list[Row] | None = None,
    span: tuple[int, int] | None = None,
    *,
    formats: tuple[str, ...] = ("csv", "html"),
    selection: Selection | None = None,
    sealed: bool = False,
    beside: dict[str, bytes] | None = None,
    regime=None,
) -> Path:
    """A finished package of those rows (all of them), and the log beside it in `<directory>.log`."""
    store = directory.with_name(directory.name + ".log")
    records.publish(store)
    note = (store / "checkpoint").read_bytes()
    head = open_checkpoint(note, KEY)
    directory.mkdir(parents=True)
    tree = Reader(lambda name: _read(store / name), head.size)
    plan = Plan(
        export_id=uuid.UUID(int=9), selection=selection or Selection(), why="an examination",
        formats=frozenset(formats), sealed=sealed, regime=regime,
    )  # fmt: skip
    package = Package(directory, plan, LOG, head, note, tree, WHEN)
    rows = records.rows if chosen is None else chosen
    source = ListSource(records.rows, rows, span or (0, head.size))
    asyncio.run(package.run(source))
    for name, data in (beside or {}).items():
        package.put(name, data)
    package.finish(AUDITOR)
    return directory


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
