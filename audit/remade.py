"""A log's files made of its rows, up to what is signed: a set that is new on a host, behind, or restored.

A log's tiles are a function of its leaves, so whoever has the rows can make them; that they are the ones that were
signed, the signature says. In this order:

1. Take what the set has: its checkpoint must be the log's, and its tiles must give that root.
2. Append the rows' leaves, each with its hash; write full bundles and tiles as they come.
   *Crash: files that no checkpoint names; the same bytes come again.*
3. The root must be the signed one.
4. Write the partial tiles.   *Crash: the same.*
5. Replace the file `checkpoint`: whoever calls.

So a host that comes to write a log which another wrote goes on where that one ended, and no file is fetched from
anywhere. What a set has more than the rows is not this module's: that halts the log (audit/integrator.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from audit import merkle
from audit.checkpoint import Checkpoint
from audit.logs import Log, read_leaves
from audit.malformed import Malformed
from audit.threads import in_thread
from audit.tiles import Builder, Reader
from audit.worm.port import Store
from tenancy.database import Connection

LEAVES_AT_ONCE = 8192

Files = Sequence[tuple[str, bytes]]
Write = Callable[[Files], None]


async def remake(
    conn: Connection, log: Log, store: Store, has: Checkpoint | None, head: Checkpoint
) -> Builder:
    """Steps 1 to 4, after the same without writing: the tree under `head`, of which the set shows `has` already.

    Raises Malformed where set, rows and signature do not agree, FileNotFoundError where a file that `has` needs
    is gone, LogHalted for a hole in the rows, Conflict for a file of other bytes; OSError, psycopg.Error.
    """
    await _grown(conn, log, await in_thread(_begun, store, has), head, _nowhere)
    builder = await in_thread(_begun, store, has)
    await _grown(conn, log, builder, head, lambda files: store.create(files, seal=True))
    await in_thread(_end, builder, store)
    return builder


async def _grown(
    conn: Connection, log: Log, builder: Builder, head: Checkpoint, write: Write
) -> None:
    """Steps 2 and 3."""
    while builder.size < head.size:
        most = min(LEAVES_AT_ONCE, head.size - builder.size)
        leaves = await read_leaves(conn, log, builder.size, most)
        if not leaves:
            raise Malformed(f"the rows end at {builder.size}, and {head.size} were signed")
        await in_thread(_append, builder, leaves, write)
    if builder.root() != head.root:
        raise Malformed(f"the rows do not give the root that was signed at size {head.size}")


def _nowhere(files: Files) -> None:
    """Rows that were tampered with leave no file behind, which nothing could take away again."""


def _begun(store: Store, has: Checkpoint | None) -> Builder:
    if has is None or has.size == 0:
        return Builder()
    builder = Builder.resume(Reader(store.read, has.size))
    if builder.root() != has.root:
        raise Malformed(f"the files do not give the signed root at size {has.size}")
    return builder


def _append(builder: Builder, leaves: list[tuple[bytes, bytes]], write: Write) -> None:
    for leaf, hashed in leaves:
        if merkle.leaf_hash(leaf) != hashed:
            raise Malformed(f"the leaf {builder.size} and its hash differ")
        builder.append(leaf, hashed)
    write([(tile.path(), data) for tile, data in builder.take_full()])


def _end(builder: Builder, store: Store) -> None:
    store.create([(tile.path(), data) for tile, data in builder.partials()], seal=False)
