"""Records read for an export: in order, in small steps, each shown to be the one that was signed.

The log only grows, so nothing has to be held still while it is read: every window is a transaction
of its own, and what the export may hold is fixed by the checkpoint that it was begun with. While one
window is being written the next is being read. Bounded memory: two windows.

A row whose hash is not in the signed tree is not exported: the export ends and names it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Any, Protocol

import orjson

from audit.export.row import Row
from audit.export.selection import Chooser, Selection, recorded
from audit.logs import Log
from audit.malformed import Malformed
from audit.merkle import leaf_hash
from audit.tiles import WIDTH, Reader
from tenancy.database import Connection, Database
from tenancy.errors import PortcullisError
from tenancy.scope import TenantScope
from tenancy.values import TenantID

WINDOW = 2048

_WINDOW = """
SELECT l.i, l.leaf, p.payload FROM audit_leaves l LEFT JOIN audit_payloads p USING (log_id, i)
WHERE l.log_id = %b AND l.i >= %b AND l.i < %b ORDER BY l.i"""
_NAMED = """
SELECT l.i, l.leaf, p.payload FROM audit_leaves l LEFT JOIN audit_payloads p USING (log_id, i)
WHERE l.log_id = %b AND l.i = ANY(%b) ORDER BY l.i"""
_OF_ORDERS = """
SELECT i FROM audit_leaves WHERE log_id = %b AND oid = ANY(%b) AND i >= %b AND i < %b ORDER BY i"""
_RECORDED = """
SELECT convert_from(leaf, 'UTF8')::json ->> 'rt' FROM audit_leaves WHERE log_id = %b AND i = %b"""


class Opener(Protocol):
    """Opens stored payloads; audit.ring.Ring is one."""

    async def open_all(
        self, tenant: TenantID, rows: Sequence[tuple[bytes, bytes]]
    ) -> Sequence[bytes | PortcullisError]:
        """The JSON of each (stored, commitment), or an error with the code `erased` where its key is
        destroyed. Raises Unavailable where keys cannot be had; Malformed."""
        ...


class InClear:
    """The opener of payloads that are stored as they are."""

    async def open_all(
        self, tenant: TenantID, rows: Sequence[tuple[bytes, bytes]]
    ) -> Sequence[bytes | PortcullisError]:
        return [stored for stored, _ in rows]


Owned = Callable[[Connection, Sequence[Any], Sequence[str]], Awaitable[Collection[str]]]
"""(conn, strategies, orders) → those of the orders that are of these strategies."""
Raw = tuple[int, bytes, bytes | None]


async def nothing_owned(
    conn: Connection, strategies: Sequence[Any], orders: Sequence[str]
) -> Collection[str]:
    return ()


class Source:
    """The records of one log below `size`, for one selection."""

    def __init__(
        self,
        database: Database,
        scope: TenantScope,
        log: Log,
        tree: Reader,
        selection: Selection,
        *,
        opener: Opener,
        owned: Owned = nothing_owned,
        sealed: bool = False,
    ) -> None:
        """`sealed`: give payloads as they are stored, for whoever has a key of their own."""
        self._database, self._scope, self._log = database, scope, log
        self._tree, self._selection = tree, selection
        self._chooser = Chooser(selection)
        self._opener, self._owned, self._sealed = opener, owned, sealed

    async def span(self) -> tuple[int, int]:
        """The indices [first, end) that the selection's times leave."""
        size, chosen = self._tree.size, self._selection
        async with self._database.tenant(self._scope) as conn:
            first = 0 if chosen.since is None else await self._at(conn, recorded(chosen.since))
            end = size if chosen.until is None else await self._at(conn, recorded(chosen.until))
        return first, end

    async def _at(self, conn: Connection, moment: str) -> int:
        """The first index recorded at that moment or later: recording time never runs backwards."""
        low, high = 0, self._tree.size
        while low < high:
            middle = (low + high) // 2
            cursor = await conn.execute(_RECORDED, (self._log.log_id, middle))
            row = await cursor.fetchone()
            if row is None:
                raise Malformed(f"the database has no record {middle}")
            low, high = (middle + 1, high) if row[0] < moment else (low, middle)
        return low

    async def leaf(self, index: int) -> bytes:
        """One leaf as it was signed. Raises Malformed."""
        rows = await self._named([index])
        if not rows:
            raise Malformed(f"the database has no record {index}")
        self._check(index, leaf_hash(rows[0][1]))
        return rows[0][1]

    async def batches(self, first: int, end: int) -> AsyncIterator[list[Row]]:
        """The chosen records of that span, in order. Raises Malformed, naming a record that the
        signed tree does not hold or a payload that is not what was committed to."""
        steps = self._steps(first, end)
        reading = await _next(steps)
        while reading is not None:
            raw, owned = await reading
            reading = await _next(steps)
            if rows := await self._chosen(raw, owned):
                yield rows

    async def _steps(
        self, first: int, end: int
    ) -> AsyncIterator[asyncio.Task[tuple[list[Raw], Collection[str]]]]:
        if self._selection.orders:
            async with self._database.tenant(self._scope) as conn:
                cursor = await conn.execute(
                    _OF_ORDERS,
                    (self._log.log_id, list(self._selection.orders), first, end),
                )
                named = [row[0] for row in await cursor.fetchall()]
            for at in range(0, len(named), WINDOW):
                yield asyncio.create_task(self._read(named=named[at : at + WINDOW]))
            return
        for start in range(first, end, WINDOW):
            yield asyncio.create_task(self._read(start=start, stop=min(end, start + WINDOW)))

    async def _read(
        self, *, start: int = 0, stop: int = 0, named: list[int] | None = None
    ) -> tuple[list[Raw], Collection[str]]:
        if named is not None:
            raw = await self._named(named)
        else:
            raw = await self._window(start, stop)
        if not self._selection.strategies:
            return raw, ()
        orders = sorted({oid for _, leaf, _ in raw if (oid := orjson.loads(leaf).get("oid"))})
        async with self._database.tenant(self._scope) as conn:
            return raw, await self._owned(conn, self._selection.strategies, orders)

    async def _window(self, start: int, stop: int) -> list[Raw]:
        async with self._database.tenant(self._scope) as conn:
            cursor = await conn.execute(_WINDOW, (self._log.log_id, start, stop), binary=True)
            rows = await cursor.fetchall()
        for expected, row in enumerate(rows, start):
            if row[0] != expected:
                raise Malformed(f"the database has no record {expected}")
        if len(rows) != stop - start:
            raise Malformed(f"the database has no record {start + len(rows)}")
        return [(row[0], row[1], row[2]) for row in rows]

    async def _named(self, indices: list[int]) -> list[Raw]:
        async with self._database.tenant(self._scope) as conn:
            cursor = await conn.execute(_NAMED, (self._log.log_id, indices), binary=True)
            rows = await cursor.fetchall()
        return [(row[0], row[1], row[2]) for row in rows]

    async def _chosen(self, raw: list[Raw], owned: Collection[str]) -> list[Row]:
        rows = []
        leaves: list[dict[str, Any]] = [orjson.loads(leaf) for _, leaf, _ in raw]
        for (index, leaf, stored), members, payload in zip(
            raw, leaves, await self._opened(raw, leaves), strict=True
        ):
            digest = leaf_hash(leaf)
            self._check(index, digest)
            erased = isinstance(payload, PortcullisError)
            given = payload if isinstance(payload, bytes) else None
            if not self._chooser.takes(members, leaf, given, owned):
                continue
            if erased:
                rows.append(Row(index, leaf, digest, members, "erased"))
            elif stored is not None and self._sealed:
                rows.append(Row(index, leaf, digest, members, "sealed", sealed=stored))
            elif given is None:
                rows.append(Row(index, leaf, digest, members, "absent"))
            else:
                said = _checked(index, members["pc"], given)
                rows.append(Row(index, leaf, digest, members, "open", given, said))
        return rows

    async def _opened(
        self, raw: list[Raw], leaves: list[dict[str, Any]]
    ) -> list[bytes | PortcullisError | None]:
        """Each payload, its erasure, or None: it is not there, or need not be read."""
        if self._sealed and not self._selection.reads_payloads:
            return [None] * len(raw)
        there = [
            (stored, bytes.fromhex(members["pc"]))
            for (_, _, stored), members in zip(raw, leaves, strict=True)
            if stored is not None
        ]
        found = iter(await self._opener.open_all(self._scope.tenant_id, there) if there else ())
        opened = [None if stored is None else next(found) for _, _, stored in raw]
        for one in opened:
            if isinstance(one, PortcullisError) and one.code != "erased":
                raise one
        return opened

    def _check(self, index: int, digest: bytes) -> None:
        """Is this the leaf of that place in the tree? The tiles themselves are checked against the
        signed root when the package is verified."""
        hashes = self._tree.hashes(0, index // WIDTH)
        if hashes[index % WIDTH] != digest:
            raise Malformed(f"record {index} in the database is not the one that was signed")


def _checked(index: int, pc: str, payload: bytes) -> dict[str, Any]:
    try:
        said: dict[str, Any] = orjson.loads(payload)
        key = bytes.fromhex(said.pop("k_rec"))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Malformed(f"the payload of record {index} is not one of ours") from None
    if hmac.digest(key, payload, "sha256").hex() != pc:
        raise Malformed(f"the payload of record {index} is not what was committed to")
    return said


async def _next(steps: AsyncIterator[Any]) -> Any:
    return await anext(steps, None)
