"""The keys of audit payloads in one process: seal before anything is written, open for who reads.

`use()` is called once per process (ops/audit_keys.py); without it append() raises AuditUnavailable, and
never writes in clear. What costs a round trip is rare: a subject's key is looked up when it is first
needed, all of a batch's subjects in one look, and stays in a bounded memory (least recently used goes
first).

A key that is to be destroyed must not be sealed with any more. So its tenant's *generation* is asked for
every FRESH_S, and where it has changed everything that is held of that tenant is forgotten. A shredding
retires the keys first and destroys them RETIRED_S later at the earliest (audit/shredding.py): by then no
process seals with them, not even one that was frozen within its transaction, which PostgreSQL has ended
(tenancy.database.IDLE_S). Opening follows the same clock: what was erased is shown for FRESH_S at most.

Signer or database away: what is held goes on for its FRESH_S; beyond, AuditUnavailable.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit import sealing
from audit.keystore import DataKey, Destroyed, Keys, Name
from audit.ports import AuditUnavailable
from tenancy.errors import PortcullisError
from tenancy.values import TenantID

FRESH_S = 15.0
RETIRED_S = 60.0
MOST_KEYS = 50_000
"""Held at once for sealing, and as many for opening: about 1 kB each."""

Row = tuple[TenantID, str, bytes, bytes]
"""Tenant, subject, payload, commitment."""


class KeySource(Protocol):
    """audit.keystore.Keystore is one."""

    async def generation(self, tenant: TenantID) -> int: ...

    async def newest(self, tenant: TenantID, subjects: Collection[str]) -> Keys: ...

    async def these(
        self, tenant: TenantID, names: Collection[Name]
    ) -> dict[Name, DataKey | Destroyed]: ...


class Erased(PortcullisError):
    """The key of this payload was destroyed; the leaf and its proofs stand. `receipt`: of which erasure."""

    code = "erased"

    def __init__(self, receipt: UUID | None) -> None:
        super().__init__("the content of this record was erased")
        self.receipt = receipt


class _Held(NamedTuple):
    """A key to seal with: `name` is its subject and version as every payload bears them."""

    aes: AESGCM
    name: bytes


class Ring:
    """Seals and opens payloads. One per process."""

    def __init__(
        self,
        source: KeySource,
        *,
        most: int = MOST_KEYS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._most = most
        self._monotonic = monotonic
        self._sealing: OrderedDict[tuple[UUID, str], _Held] = OrderedDict()
        self._opening: OrderedDict[tuple[UUID, str, int], AESGCM | Destroyed] = OrderedDict()
        self._generations: dict[UUID, tuple[int, float]] = {}  # and until when it is taken as such

    def __repr__(self) -> str:
        return f"<Ring {len(self._sealing)} keys to seal with, {len(self._opening)} to open>"

    async def seal(self, tenant: TenantID, subject: str, payload: bytes, pc: bytes) -> bytes:
        """The stored form of one payload. Raises AuditUnavailable."""
        return (await self.seal_all([(tenant, subject, payload, pc)]))[0]

    async def seal_all(self, rows: Sequence[Row]) -> list[bytes]:
        """The stored form of each, in order. Raises AuditUnavailable where a key cannot be had."""
        needed: dict[TenantID, set[str]] = {}
        for tenant, subject, _, _ in rows:
            needed.setdefault(tenant, set()).add(subject)
        held = {tenant: await self._held(tenant, names) for tenant, names in needed.items()}
        return [
            sealing.seal_named(key.aes, tenant.bytes, key.name, payload, pc)
            for tenant, subject, payload, pc in rows
            for key in (held[tenant][subject],)
        ]

    def at_hand(self, tenant: TenantID, subjects: Iterable[str]) -> bool:
        """Whether `prepare` would ask nobody for these."""
        known = self._generations.get(tenant)
        fresh = known is not None and self._monotonic() < known[1]
        return fresh and all((tenant, subject) in self._sealing for subject in subjects)

    async def prepare(self, tenant: TenantID, subjects: Iterable[str]) -> None:
        """Have the keys at hand before a transaction begins. Raises AuditUnavailable."""
        await self._held(tenant, set(subjects))

    async def open(self, tenant: TenantID, stored: bytes, pc: bytes) -> bytes:
        """The payload. Raises Erased, AuditUnavailable; Malformed where it is not what was sealed."""
        opened = (await self.open_all(tenant, [(stored, pc)]))[0]
        if isinstance(opened, Erased):
            raise opened
        return opened

    async def open_all(
        self, tenant: TenantID, rows: Sequence[tuple[bytes, bytes]]
    ) -> list[bytes | Erased]:
        """Each payload of (stored, commitment), or that it was erased.

        Raises AuditUnavailable; Malformed where one is not what was sealed for that record.
        """
        parsed = [sealing.parse(row[0]) if sealing.is_sealed(row[0]) else None for row in rows]
        names = {(one.subject, one.version) for one in parsed if one is not None}
        keys = await self._open_with(tenant, names) if names else {}
        opened: list[bytes | Erased] = []
        for (stored, pc), one in zip(rows, parsed, strict=True):
            if one is None:
                opened.append(stored)
                continue
            key = keys[one.subject, one.version]
            if isinstance(key, Destroyed):
                opened.append(Erased(key.erasure_id))
            else:
                opened.append(sealing.open_sealed(key, tenant, one, pc))
        return opened

    def forget(self, tenant: TenantID) -> None:
        """Ask anew for every key of the tenant: some were destroyed in this process just now."""
        self._generations.pop(tenant, None)
        for sealed in [key for key in self._sealing if key[0] == tenant]:
            del self._sealing[sealed]
        for opened in [key for key in self._opening if key[0] == tenant]:
            del self._opening[opened]

    async def _held(self, tenant: TenantID, subjects: Collection[str]) -> dict[str, _Held]:
        await self._refresh(tenant)
        found: dict[str, _Held] = {}
        for subject in subjects:
            held = self._sealing.get((tenant, subject))
            if held is not None:
                self._sealing.move_to_end((tenant, subject))
                found[subject] = held
        missing = [subject for subject in subjects if subject not in found]
        if not missing:
            return found
        asked_at = self._monotonic()
        made = await self._source.newest(tenant, missing)
        self._generations.setdefault(tenant, (made.generation, asked_at + FRESH_S))
        for subject, key in made.keys.items():
            held = _Held(key.aes, sealing.named(subject, key.version))
            found[subject] = self._sealing[tenant, subject] = held
        _shrink(self._sealing, self._most)
        return found

    async def _open_with(
        self, tenant: TenantID, names: Collection[Name]
    ) -> dict[Name, AESGCM | Destroyed]:
        await self._refresh(tenant)
        found: dict[Name, AESGCM | Destroyed] = {}
        for name in names:
            key = self._opening.get((tenant, *name))
            if key is not None:
                self._opening.move_to_end((tenant, *name))
                found[name] = key
        missing = [name for name in names if name not in found]
        if missing:
            for name, one in (await self._source.these(tenant, missing)).items():
                key = one if isinstance(one, Destroyed) else one.aes
                found[name] = self._opening[(tenant, *name)] = key
            _shrink(self._opening, self._most)
        return found

    async def _refresh(self, tenant: TenantID) -> None:
        """Forget the tenant's keys where its generation has changed. Asks once in FRESH_S."""
        known = self._generations.get(tenant)
        now = self._monotonic()
        if known is not None and now < known[1]:
            return
        generation = await self._source.generation(tenant)
        if known is None or known[0] != generation:
            self.forget(tenant)
        if generation:
            self._generations[tenant] = (generation, now + FRESH_S)


def _shrink(held: OrderedDict[object, object] | OrderedDict, most: int) -> None:
    while len(held) > most:
        held.popitem(last=False)


_rings: list[Ring] = []


def use(ring: Ring | None) -> Ring | None:
    """The ring of this process from now on, None: there is none any more; which one it was before."""
    before = _rings[0] if _rings else None
    _rings[:] = [] if ring is None else [ring]
    return before


def current() -> Ring:
    """The ring of this process. Raises AuditUnavailable where it has none."""
    if not _rings:
        raise AuditUnavailable("this process was given no keys for audit payloads")
    return _rings[0]


async def opened(
    tenant: TenantID, rows: Sequence[tuple[bytes | None, bytes]]
) -> list[bytes | Erased | None]:
    """The payload of each (stored, commitment), or that it was erased; None where there is no row.

    Raises AuditUnavailable; Malformed where one is not what was sealed for that record.
    """
    there = [(stored, pc) for stored, pc in rows if stored is not None]
    found = iter(await current().open_all(tenant, there) if there else ())
    return [None if stored is None else next(found) for stored, _ in rows]


async def shown(tenant: TenantID, rows: Sequence[tuple[bytes | None, bytes]]) -> list[bytes | None]:
    """The same for people: what was erased is `{"erased": true, "receipt": …}`."""
    return [_said(one) if isinstance(one, Erased) else one for one in await opened(tenant, rows)]


def _said(erased: Erased) -> bytes:
    receipt = "null" if erased.receipt is None else f'"{erased.receipt}"'
    return f'{{"erased":true,"receipt":{receipt}}}'.encode()
