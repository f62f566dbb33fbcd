"""The anchor log as it is written: at once after a start, then each interval, whatever the logs did meanwhile.

1. Take every log's published head; give a log that has none its slot, for good.
2. In one transaction: the leaf, and for each head that was not anchored before its salt and its proof.
   *Crash before: nothing happened. After: the leaf stands, and the next start publishes it.*
3. Publish the leaf as any log does (audit/integrator.py, steps 2 to 5), signed by the anchor's own key.
4. Ask the witnesses (audit/cosigning.py), keep their lines, replace `checkpoint` with all of them.
   *Crash before the end: the checkpoint is out without them, and the next anchor follows at once.*
5. Into each log's own directory the file `anchor`: its slot's proof, the leaf, the leaf's proof under the
   cosigned checkpoint. *Crash between: some logs' files are those of the anchor before.*

It runs beside sequencing and integration and never holds them up: a slow witness delays anchors alone. The
rows are written by the session that holds the recorder's lock. That an anchor has always the same form, how
much or little happened, is audit/anchor.py's matter; that one is made however little happened is this one's.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import msgspec
import structlog

from audit import anchor, merkle, metrics
from audit.anchor import Anchored, SlotProof, Tree, join_proof
from audit.checkpoint import Checkpoint
from audit.cosigning import Line, Witnesses
from audit.integrator import Integrator
from audit.logs import Log, Tail
from audit.merkle import leaf_hash
from audit.policy import Policy
from audit.proof import Proof
from audit.record import Kind, compose
from audit.threads import in_thread
from audit.tiles import Reader
from audit.worm.port import Store
from tenancy.clock import Clock
from tenancy.clock_quality import Quality
from tenancy.database import Connection, commit
from tenancy.pause import pause
from tenancy.values import TenantID

FILE = "anchor"
"""The name of a log's own proof in its directory."""
ACTOR = {"id": "recorder", "kind": "sys"}
CLS = "anchor"

log_event = structlog.get_logger()


Slot = tuple[UUID, TenantID, int]
"""A log, its tenant, its slot."""


class AnchorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`every_s` between two anchors; `policy`: whose cosignatures are asked for, None: nobody's;
    `witness_timeout_s`: for all of them together."""

    every_s: float = 60.0
    policy: Policy | None = None
    witness_timeout_s: float = 5.0


class Placed(msgspec.Struct, frozen=True):
    """A log's head in the tree of one anchor."""

    log: Log
    head: Checkpoint
    proof: SlotProof


class Round(msgspec.Struct, frozen=True):
    """One anchor as it was decided: its leaf, and every log's place in it."""

    index: int
    rt_ns: int
    leaf: bytes
    placed: list[Placed]


class Slots:
    """Which slot each log has, and how many there are."""

    def __init__(self, taken: Mapping[UUID, int]) -> None:
        self.taken = dict(taken)
        self.width = anchor.width_for(len(self.taken), _reaching(self.taken))

    def give(self, logs: Sequence[Log]) -> list[Slot]:
        """Slots for those that have none; (log, tenant, slot) of the new ones."""
        new = []
        used = set(self.taken.values())
        for log in logs:
            if log.log_id not in self.taken:
                self.width = anchor.width_for(len(self.taken), self.width)
                slot = anchor.free_slot(used, self.width, secrets.randbelow)
                used.add(slot)
                self.taken[log.log_id] = slot
                new.append((log.log_id, log.tenant_id, slot))
        self.width = anchor.width_for(len(self.taken), self.width)
        return new


def _reaching(taken: Mapping[UUID, int]) -> int:
    width = anchor.SLOTS_LEAST
    while width <= max(taken.values(), default=0):
        width *= 2
    return width


def decide(
    log: Log,
    tail: Tail,
    heads: Sequence[tuple[Log, Checkpoint]],
    slots: Slots,
    now_ns: int,
    quality: Quality,
    chance: bytes,
) -> Round:
    """The next anchor. Pure. `quality`: of `now_ns`. `chance`: 32 random bytes for each head, and
    `slots.width` × 32 for the tree.
    """
    salts = merkle.HASH_SIZE * len(heads)
    texts = [(slots.taken[one.log_id], head.text()) for one, head in heads]
    salted = [chance[at : at + 32] for at in range(0, salts, 32)]
    values = {
        slot: anchor.slot_value(salt, text)
        for (slot, text), salt in zip(texts, salted, strict=True)
    }
    tree = Tree(values, slots.width, chance[salts:])
    rt_ns = max(now_ns, tail.rt_ns)
    leaf = compose(
        log=log.origin, index=tail.size, ts_ns=now_ns, rt_ns=rt_ns, clock=quality.leaf,
        kind=Kind.ANCHOR.value, actor=ACTOR, retention=CLS,
        commitment=anchor.commitment(tree.slots, tree.root),
    )  # fmt: skip
    placed = [
        Placed(one, head, SlotProof(slot, tree.slots, salt, text, tuple(tree.proof(slot))))
        for (one, head), (slot, text), salt in zip(heads, texts, salted, strict=True)
    ]
    return Round(tail.size, rt_ns, leaf, placed)


class Anchoring:
    """Writes one anchor log for as long as a recorder's session lives."""

    def __init__(
        self,
        integrator: Integrator,
        tail: Tail,
        settings: AnchorSettings,
        clock: Clock,
        quality: Callable[[], Quality],
    ) -> None:
        """`integrator`: of the anchor log, opened. Raises Malformed for a policy's address."""
        self.integrator = integrator
        self.tail = tail
        self._clock = clock
        self._quality = quality
        self._settings = settings
        self._slots = Slots({})
        self._sizes: dict[UUID, int] = {}
        policy = settings.policy
        self._witnesses = (
            None if policy is None else Witnesses(policy, timeout_s=settings.witness_timeout_s)
        )
        self._lines: list[Line] = []
        self._anchored_at = self._witnessed_at = time.monotonic()

    async def load(self, conn: Connection) -> None:
        """What earlier sessions did: slots, and the last head of each log that was anchored."""
        cursor = await conn.execute("SELECT log_id, slot FROM audit_slots")
        self._slots = Slots({row[0]: row[1] for row in await cursor.fetchall()})
        cursor = await conn.execute("SELECT log_id, max(size) FROM audit_anchored GROUP BY log_id")
        self._sizes = {row[0]: row[1] for row in await cursor.fetchall()}

    async def write(self, conn: Connection, heads: Sequence[tuple[Log, Checkpoint]]) -> Round:
        """Steps 1 and 2, in the session that holds the lock."""
        log = self.integrator.log
        slots = Slots(self._slots.taken)
        new = slots.give([one for one, _ in heads])
        chance = secrets.token_bytes(32 * (len(heads) + slots.width))
        now_ns = self._clock.now_ns()
        quality = self._quality()
        made = await in_thread(decide, log, self.tail, heads, slots, now_ns, quality, chance)
        fresh = [x for x in made.placed if x.head.size > self._sizes.get(x.log.log_id, 0)]
        await conn.execute("BEGIN")
        await _insert(conn, log, made, new, fresh)
        await commit(conn)
        self._slots = slots
        self._sizes |= {x.log.log_id: x.head.size for x in fresh}
        self.tail = Tail(made.index + 1, made.rt_ns)
        return made

    async def cosign(self, head: Checkpoint, note: bytes, reader: Reader) -> bytes:
        """Step 4, but for the file; audit.integrator.Cosign. Raises audit.halts.Refused."""
        self._lines = []
        if self._witnesses is not None:
            known = self.integrator.log.known
            note, self._lines = await self._witnesses.cosign(known, head, note, reader)
        return note

    async def keep_lines(self, conn: Connection) -> None:
        """Step 4: the witnesses' lines, in the database."""
        log = self.integrator.log
        for line in self._lines:
            await conn.execute(
                "INSERT INTO audit_cosignatures (log_id, size, tenant_id, witness, line)"
                " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (log.log_id, self.integrator.size, log.tenant_id, line.witness, line.text),
            )

    async def show(self, made: Round, stores: Mapping[UUID, Store]) -> None:
        """Step 5. `stores`: of the logs, by id."""
        await in_thread(self._show, made, stores)
        self._anchored_at = time.monotonic()
        metrics.ANCHORS.inc()
        quorum = None if self._witnesses is None else self._witnesses.quorum
        if quorum is None or quorum.met:
            self._witnessed_at = self._anchored_at
        else:
            log_event.error("audit_witness_quorum_missing", why=quorum.why())
        if quorum is not None:
            metrics.QUORUM_MET.set(quorum.met)
        self.measure()

    def measure(self) -> None:
        now = time.monotonic()
        metrics.ANCHOR_AGE.set(now - self._anchored_at)
        metrics.UNWITNESSED_AGE.set(0 if self._witnesses is None else now - self._witnessed_at)

    async def rest(self, stop: asyncio.Event) -> None:
        """Until the next anchor is due, or `stop`."""
        due = time.monotonic() + self._settings.every_s
        while (left := due - time.monotonic()) > 0 and not stop.is_set():
            self.measure()
            await pause(stop, min(left, 5.0))

    def _show(self, made: Round, stores: Mapping[UUID, Store]) -> None:
        store, size = self.integrator.store, self.integrator.size
        note = store.read("checkpoint")
        if note is None or made.index >= size:
            raise FileNotFoundError("the anchor log's checkpoint")
        node = Reader(store.read, size).node
        hashes = merkle.inclusion_proof(made.index, size, node)
        proof = Proof(made.index, hashes, note).text()
        for placed in made.placed:
            of_log = stores.get(placed.log.log_id)
            if of_log is not None:
                of_log.replace(FILE, Anchored(placed.proof, made.leaf, proof).as_bytes())


async def _insert(
    conn: Connection,
    log: Log,
    made: Round,
    new: Sequence[Slot],
    fresh: Sequence[Placed],
) -> None:
    for row in new:
        await conn.execute(
            "INSERT INTO audit_slots (log_id, tenant_id, slot) VALUES (%s, %s, %s)", row
        )
    await conn.execute(
        "INSERT INTO audit_leaves (log_id, i, tenant_id, leaf, leaf_hash) VALUES (%s, %s, %s, %s, %s)",
        (log.log_id, made.index, log.tenant_id, made.leaf, leaf_hash(made.leaf)),
    )
    columns = [
        [x.log.log_id for x in fresh], [x.log.tenant_id for x in fresh],
        [x.head.size for x in fresh], [x.proof.slot for x in fresh],
        [x.proof.salt for x in fresh], [join_proof(x.proof.hashes) for x in fresh],
    ]  # fmt: skip
    if fresh:
        await conn.execute(
            "INSERT INTO audit_anchored (log_id, i, tenant_id, size, slots, slot, salt, proof)"
            " SELECT f.log_id, %b, f.tenant_id, f.size, %b, f.slot, f.salt, f.proof FROM"
            " unnest(%b::uuid[], %b::uuid[], %b::bigint[], %b::int[], %b::bytea[], %b::bytea[])"
            " AS f (log_id, tenant_id, size, slot, salt, proof)",
            (made.index, fresh[0].proof.slots, *columns),
        )
