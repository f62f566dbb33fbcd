"""One export: a directory that stands by itself, written in an order that survives a crash anywhere.

1. Record that somebody wants these records: who, what, why. Durable before anything is read.
2. Take the log's anchor, where it has one, and then the published checkpoint: it says what the export
   may hold, whatever comes meanwhile, and extends what was anchored (audit/export/anchored.py).
3. Write the records, and the tiles that prove them, into `<directory>.part`.
4. Write what a reader needs: README, programs, keys; the manifest last, with every file's SHA-256.
5. Record that it was made: how many records, and the manifest's SHA-256, by which the package can be
   told years later from one that somebody altered.
6. Give the directory its name.

*A crash before 6 leaves a `.part` that the next attempt removes, and in the log a wish without its
end; a crash between 5 and 6 leaves a record of an export that nobody got.* No file is written twice,
and nothing of another tenant's is read: row-level security shows one tenant's rows, the store's
directory is one log's.
"""

from __future__ import annotations

import asyncio
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import msgspec

from audit import merkle
from audit.anchoring import FILE as ANCHOR
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.export import accompany, regime_files
from audit.export.anchored import Anchoring, read_anchoring
from audit.export.check import AFTER, BEFORE, CHECKPOINT, FORMAT, MANIFEST, file_sha256
from audit.export.columns import values
from audit.export.data_keys import escrows, wrapped_keys
from audit.export.page import Pages
from audit.export.parquet import Parquet, pyarrow
from audit.export.reader import ESCROWS, KEYS
from audit.export.regimes import Name
from audit.export.row import Row
from audit.export.rows import Opener, Owned, Source, nothing_owned
from audit.export.selection import Selection, recorded
from audit.export.tile_copy import Copier
from audit.export.writers import Csv, JsonLines, Writer
from audit.inbox import Entry, append
from audit.logs import Log, read_anchor, read_logs
from audit.malformed import Malformed
from audit.policy import Policy
from audit.proof import Proof
from audit.proving import ProofPending
from audit.record import Kind
from audit.sealing import is_sealed, parse
from audit.tiles import Reader
from audit.worm.posix import PosixStore
from tenancy.clock import Clock
from tenancy.database import Database
from tenancy.errors import Conflict, NotFound
from tenancy.scope import TenantScope

Format = Literal["csv", "parquet", "html"]
FORMATS: tuple[Format, ...] = ("csv", "parquet", "html")
PROOFS_MOST = 1000
"""Up to so many records each has its own `proofs/<i>.tlog-proof` and `leaves/<i>.json` too."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to export. JSON lines and tiles are always there: they are what proves.

    `regime`: whose fields are written besides. `sealed`: payloads stay encrypted, for somebody who
    has a key of their own. `facts`: what the records of this export say besides (a client's address,
    a job's number). `asked`: step 1 was done already.
    """

    export_id: UUID
    selection: Selection
    formats: frozenset[Format] = frozenset({"csv", "html"})
    sealed: bool = False
    why: str = ""
    regime: Name | None = None
    asked: bool = False
    title: str = "Records of the audit log"
    facts: dict[str, Any] = {}


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What was made. `size`, `root`: of the checkpoint. `manifest_sha256`: as the log says it."""

    export_id: UUID
    records: int
    bytes: int
    size: int
    root: str
    manifest_sha256: str
    directory: Path


class Exporter:
    """Makes packages of one tenant's records. `store_dir` as the recorder has it; `policy`: of the
    operator's witnesses, which goes along where the log is anchored."""

    def __init__(
        self,
        database: Database,
        scope: TenantScope,
        store_dir: Path,
        clock: Clock,
        *,
        opener: Opener,
        owned: Owned = nothing_owned,
        policy: Policy | None = None,
    ) -> None:
        self._database, self._scope, self._clock = database, scope, clock
        self._store_dir = store_dir
        self._opener, self._owned, self._policy = opener, owned, policy

    async def make(self, plan: Plan, directory: Path) -> Made:
        """The package, in `directory`, which must not exist yet.

        Raises Conflict where the directory exists, NotFound for a tenant without a log, ProofPending
        where nothing is published yet, ConfigurationError where Parquet cannot be written here,
        Malformed where rows, files and signatures do not fit each other (nothing is given out then),
        OSError.
        """
        if (
            "parquet" in plan.formats
        ):  # before anything is recorded or open; its import takes a while
            await asyncio.to_thread(pyarrow)
        if await asyncio.to_thread(directory.exists):
            raise Conflict(f"{directory} exists already: an export is never written over another")
        async with self._database.tenant(self._scope) as conn:
            logs = await read_logs(conn)
            if not logs:
                raise NotFound("this tenant has no audit log")
            if not plan.asked:
                await self._record(conn, plan, "export_asked", {})  # step 1
            anchor_log = await read_anchor(conn)
        log = logs[0]
        store = PosixStore(self._store_dir / str(log.log_id))
        held, note = store.read(ANCHOR), store.read(CHECKPOINT)  # step 2, in this order
        if note is None:
            raise ProofPending("the log has no published checkpoint yet")
        head = open_checkpoint(note, *log.known)
        tree = Reader(store.read, head.size)
        if head.size and merkle.range_root(0, head.size, tree.node) != head.root:
            raise Malformed("the store's tiles do not give the signed root")
        anchoring = None
        if held is not None:
            anchoring = read_anchoring(held, anchor_log, head, tree, self._policy)
        part = await asyncio.to_thread(_empty, directory.with_name(directory.name + ".part"))
        source = Source(
            self._database, self._scope, log, tree, plan.selection,
            opener=self._opener, owned=self._owned, sealed=plan.sealed,
        )  # fmt: skip
        work = Package(part, plan, log, head, note, tree, self._clock.now(), anchoring)
        try:
            await work.run(source)  # step 3
            if plan.sealed:
                await self._keys(work)
            manifest = await asyncio.to_thread(work.finish, self._scope.actor)  # step 4
        except BaseException:  # what is wrong is told; nothing half-made is left to be taken for it
            work.abandon()
            raise
        facts = {
            "records": work.count, "first": work.first, "last": work.last, "log_size": head.size,
            "manifest_sha256": manifest, "files": len(work.files),
        }  # fmt: skip
        async with self._database.tenant(self._scope) as conn:
            await self._record(conn, plan, "export_made", facts)  # step 5
        part.rename(directory)  # step 6
        return Made(
            export_id=plan.export_id, records=work.count, bytes=sum(work.files.values()),
            size=head.size, root=head.root.hex(), manifest_sha256=manifest, directory=directory,
        )  # fmt: skip

    async def _keys(self, work: Package) -> None:
        """What opens the sealed records, for examiners who were appointed."""
        async with self._database.tenant(self._scope) as conn:
            work.put(KEYS, await wrapped_keys(conn, work.subjects))
            for number, escrow in enumerate(await escrows(conn, self._clock.now()), 1):
                work.put(f"{ESCROWS}/{number}.json", msgspec.json.encode(escrow))

    async def _record(self, conn: Any, plan: Plan, event: str, facts: dict[str, Any]) -> None:
        payload = {
            "event": event, "export": str(plan.export_id),
            "selection": msgspec.to_builtins(plan.selection), "formats": sorted(plan.formats),
            "sealed": plan.sealed, "regime": plan.regime, "why": plan.why, **plan.facts, **facts,
        }  # fmt: skip
        entry = Entry(
            kind=Kind.EXPORT, ts_ns=self._clock.now_ns(), payload=payload, actor=self._scope.actor,
            cls="admin",
        )  # fmt: skip
        await append(conn, [(self._scope.tenant_id, entry)])


class Package:
    """One package while it is written: steps 3 and 4."""

    def __init__(
        self,
        part: Path,
        plan: Plan,
        log: Log,
        head: Checkpoint,
        note: bytes,
        tree: Reader,
        now: datetime,
        anchoring: Anchoring | None = None,
    ) -> None:
        self._part, self._plan, self._log, self._head, self._note = part, plan, log, head, note
        self._tree, self._now, self._anchoring = tree, now, anchoring
        self.files: dict[str, int] = {}
        self.count, self.first, self.last = 0, -1, -1
        self._states: dict[str, int] = {}
        self._range: dict[str, Any] | None = None
        self._copier = Copier(tree, part, self._wrote)
        wanted = regime_files.parts(plan.regime) if plan.regime is not None else []
        self._small: list[Row] = []
        self.subjects: set[tuple[str, int]] = set()
        self._writers: list[Writer] = [Parquet(part)] if "parquet" in plan.formats else []
        self._writers.append(JsonLines(part))
        if "csv" in plan.formats:
            self._writers.append(Csv(part))
        self._writers += [make(part) for make in wanted]

    async def run(self, source: Source) -> None:
        """Step 3."""
        first, end = await source.span()
        if self._plan.selection.is_range:
            await self._neighbours(source, first, end)
        if "html" in self._plan.formats:
            pages = Pages(self._part, self._plan.title, self._facts(first, end))
            self._writers.append(pages)
        async for rows in source.batches(first, end):
            # In a thread: whoever else is served by this event loop is served meanwhile.
            await asyncio.to_thread(self._write, rows)

    async def _neighbours(self, source: Source, first: int, end: int) -> None:
        """The range that is claimed complete, and the records on its both sides, which show it."""
        chosen = self._plan.selection
        self._range = {
            "first": first, "end": end,
            "since": None if chosen.since is None else recorded(chosen.since),
            "until": None if chosen.until is None else recorded(chosen.until),
        }  # fmt: skip
        for name, index in ((BEFORE, first - 1), (AFTER, end)):
            if 0 <= index < self._head.size:
                self._copier.take(index)
                self.put(name, await source.leaf(index))

    def _write(self, rows: list[Row]) -> None:
        cells = [values(row) for row in rows] if any(w.needs_cells for w in self._writers) else []
        for writer in self._writers:
            writer.write(rows, cells)
        for row in rows:
            self._copier.take(row.index)
            self._states[row.state] = self._states.get(row.state, 0) + 1
            if row.sealed is not None and is_sealed(row.sealed):
                self.subjects.add(parse(row.sealed)[:2])
        self.first = rows[0].index if self.count == 0 else self.first
        self.last = rows[-1].index
        self.count += len(rows)
        if self.count <= PROOFS_MOST:
            self._small += rows
        else:
            self._small = []

    def finish(self, actor: Any) -> str:
        """Step 4: what goes with the records; the manifest's SHA-256."""
        for writer in self._writers:
            for name in writer.close():
                self.files[name] = (self._part / name).stat().st_size
        for row in self._small:
            self._own_proof(row)
        self.put(CHECKPOINT, self._note)
        said, anchoring = self._summary(actor), self._anchoring
        for name, data in accompany.files(self._log, self._head, self._note, said, anchoring):
            self.put(name, data)
        manifest = self._summary(actor) | {
            "files": [
                {"name": name, "bytes": size, "sha256": file_sha256(self._part / name)}
                for name, size in sorted(self.files.items())
            ]
        }
        data = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
        (self._part / MANIFEST).write_bytes(data)
        return file_sha256(self._part / MANIFEST)

    def abandon(self) -> None:
        """Close the files and remove them."""
        for writer in self._writers:
            writer.close()
        shutil.rmtree(self._part)

    def _own_proof(self, row: Row) -> None:
        hashes = merkle.inclusion_proof(row.index, self._head.size, self._tree.node)
        proof = Proof(row.index, hashes, self._note)
        proof.check(row.leaf, *self._log.known)
        self.put(f"proofs/{row.index}.tlog-proof", proof.text().encode())
        self.put(f"leaves/{row.index}.json", row.leaf)

    def _summary(self, actor: Any) -> dict[str, Any]:
        return {
            "format": FORMAT, "export": str(self._plan.export_id), "origin": self._log.origin,
            "tenant": str(self._log.tenant_id), "made_at": self._now.isoformat(),
            "made_by": msgspec.to_builtins(actor), "why": self._plan.why,
            "selection": msgspec.to_builtins(self._plan.selection),
            "selection_in_words": self._plan.selection.words(),
            "regime": self._plan.regime, "sealed": self._plan.sealed,
            "log_size": self._head.size, "root": self._head.root.hex(), "records": self.count,
            "first": self.first, "last": self.last, "payloads": self._states, "range": self._range,
            "anchored": None if self._anchoring is None else self._anchoring.size,
        }  # fmt: skip

    def _facts(self, first: int, end: int) -> list[tuple[str, str]]:
        complete = f"yes: every record from serial {first + 1:,} to {end:,}, none left out"
        return [
            ("Chosen", self._plan.selection.words()),
            ("Why", self._plan.why or "—"),
            ("Log", self._log.origin),
            ("Signed at size", f"{self._head.size:,} records, root {self._head.root.hex()}"),
            ("Anchored at size", f"{self._anchoring.size:,} records" if self._anchoring else "—"),
            ("A whole range", complete if self._range else "no: chosen by more than time"),
            ("Made at", f"{self._now:%Y-%m-%d %H:%M:%S} UTC"),
            ("Export", str(self._plan.export_id)),
        ]

    def put(self, name: str, data: bytes) -> None:
        path = self._part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self._wrote(name, data)

    def _wrote(self, name: str, data: bytes) -> None:
        self.files[name] = len(data)


def _empty(part: Path) -> Path:
    """The directory, new. What a crash left of an earlier attempt goes."""
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(parents=True, mode=0o700)
    return part
