"""Receipts: what a client is told of the record that its request caused, and how it is found again.

A receipt names a record before it has its place in the log: the time that the record gives (`ts`) and
the commitment that its leaf holds (`pc`), as `<ts, 16 hex digits>.<pc, 64 hex digits>`. Whoever caused
the record has it from the answer, which is sent after the commit: so the log either comes to hold exactly
this leaf, or the client holds the proof that it does not. `portcullis audit watch --receipts` looks.

- `collected()` gathers the receipts of every `append()` within it, in their order. They stand only if the
  transaction around is committed: the caller gives them out after that.
- `find()` needs no index over commitments, which would cost every record: recording times never run
  backwards within a log, so two binary searches over indices bound where the record can be, and that
  stretch is looked through. A record is recorded within moments of being made; one that waited longer
  than `LONGEST_WAIT_S` in the inbox (a recorder that was away that long) is looked for up to the log's end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec

from audit.logs import Log
from audit.malformed import Malformed
from audit.record import time_text
from tenancy.database import Connection

HEADER = "Portcullis-Receipt"
MOST = 16
"""Receipts that one answer names; the records beyond stand in the log all the same."""
EARLIER_S = 60
"""How far a clock may be ahead that made a record, of the clock that recorded it."""
LONGEST_WAIT_S = 600
STRETCH = 200_000
"""Leaves that are looked through at most."""

_TEXT = re.compile(r"([0-9a-f]{16})\.([0-9a-f]{64})", re.ASCII)
_TIME = "SELECT convert_from(leaf, 'UTF8')::json ->> 'rt' FROM audit_leaves WHERE log_id = %s AND i = %s"
_SIZE = "SELECT coalesce(max(i) + 1, 0) FROM audit_leaves WHERE log_id = %s"
_LOOK = """
SELECT i, leaf FROM audit_leaves WHERE log_id = %s AND i >= %s AND i < %s
  AND position(%s::bytea IN leaf) > 0 ORDER BY i LIMIT 1"""

_collecting: ContextVar[list[Receipt] | None] = ContextVar("collecting", default=None)


class Receipt(msgspec.Struct, frozen=True):
    """`ts_ns`: Unix nanoseconds. `pc`: 32 bytes."""

    ts_ns: int
    pc: bytes

    def __str__(self) -> str:
        return f"{self.ts_ns:016x}.{self.pc.hex()}"


def parse(text: str) -> Receipt:
    """Raises Malformed."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise Malformed("a receipt is 16 and 64 hexadecimal digits with a point between them")
    return Receipt(int(match[1], 16), bytes.fromhex(match[2]))


def header(receipts: Sequence[Receipt]) -> str:
    """The header's value; empty where nothing was recorded."""
    return ", ".join(map(str, receipts[:MOST]))


@contextmanager
def collected() -> Iterator[list[Receipt]]:
    """The receipts of all that is appended within, by this task and those that it starts."""
    made: list[Receipt] = []
    token = _collecting.set(made)
    try:
        yield made
    finally:
        _collecting.reset(token)


def note(receipts: Sequence[Receipt]) -> None:
    """Called by append()."""
    made = _collecting.get()
    if made is not None:
        made.extend(receipts)


async def find(conn: Connection, log: Log, receipt: Receipt) -> tuple[int, bytes] | None:
    """Index and leaf of the record; None where it is not in the log (yet)."""
    row = await (await conn.execute(_SIZE, (log.log_id,))).fetchone()
    size = 0 if row is None else int(row[0])
    first = await first_at(conn, log, size, receipt.ts_ns - EARLIER_S * 10**9)
    late = await first_at(conn, log, size, receipt.ts_ns + LONGEST_WAIT_S * 10**9)
    pc = receipt.pc.hex().encode()
    for start, end in ((first, late), (late, size)):
        values = (log.log_id, start, min(end, start + STRETCH), pc)
        found = await (await conn.execute(_LOOK, values)).fetchone()
        if found is not None:
            return int(found[0]), bytes(found[1])
    return None


async def first_at(conn: Connection, log: Log, size: int, rt_ns: int) -> int:
    """The first index that was recorded at this time or later; `size` where there is none."""
    wanted, low, high = time_text(max(0, rt_ns)), 0, size
    while low < high:
        middle = (low + high) // 2
        row = await (await conn.execute(_TIME, (log.log_id, middle))).fetchone()
        if row is not None and row[0] < wanted:
            low = middle + 1
        else:
            high = middle
    return low
