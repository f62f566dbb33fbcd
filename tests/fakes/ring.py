"""Keys of audit payloads for tests: a ring that leaves payloads in clear, and one with keys from a seed.

Most tests are about something else and look into payloads by SQL. For them ClearRing stores what was
stored before migration 0021, which every reader still reads. Tests of the sealing itself take the
product's Ring, over the product's Keystore (PlainOpener) or over keys in memory (KeysInMemory).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit.keystore import DataKey, Destroyed, Keys, Name
from audit.ring import Ring, Row
from tenancy.values import TenantID


class PlainOpener:
    """A signer without an HSM: what is "sealed" is the key itself. `calls` counts the openings."""

    def __init__(self) -> None:
        self.calls = 0
        self.failure: Exception | None = None

    async def open_secret(self, sealed: bytes, *, tenant_id: UUID, subject: str) -> bytes:
        if self.failure is not None:
            raise self.failure
        self.calls += 1
        return sealed


class KeysInMemory:
    """A KeySource without a database; `destroy()` is what a shredding does to one subject."""

    def __init__(self) -> None:
        self.made: dict[tuple[UUID, str, int], AESGCM] = {}
        self.erased: dict[tuple[UUID, str], tuple[int, UUID]] = {}
        self.generations: dict[UUID, int] = {}
        self.looks = 0
        self.asked = 0
        self.failure: Exception | None = None

    async def generation(self, tenant: TenantID) -> int:
        self._may_fail()
        self.asked += 1
        return self.generations.setdefault(tenant, 1)

    async def newest(self, tenant: TenantID, subjects: Collection[str]) -> Keys:
        self._may_fail()
        self.looks += 1
        keys = {}
        for subject in subjects:
            version = self.erased.get((tenant, subject), (0, None))[0] + 1
            key = self.made.setdefault(
                (tenant, subject, version), AESGCM(AESGCM.generate_key(bit_length=256))
            )
            keys[subject] = DataKey(version, key)
        return Keys(self.generations.setdefault(tenant, 1), keys)

    async def these(
        self, tenant: TenantID, names: Collection[Name]
    ) -> dict[Name, DataKey | Destroyed]:
        self._may_fail()
        found: dict[Name, DataKey | Destroyed] = {}
        for subject, version in names:
            key = self.made.get((tenant, subject, version))
            erased = self.erased.get((tenant, subject))
            found[subject, version] = (
                DataKey(version, key) if key is not None
                else Destroyed(erased[1] if erased is not None else None)
            )  # fmt: skip
        return found

    def destroy(self, tenant: UUID, subject: str) -> UUID:
        gone = [name for name in self.made if name[:2] == (tenant, subject)]
        for name in gone:
            del self.made[name]
        receipt = uuid4()
        self.erased[tenant, subject] = (max(name[2] for name in gone), receipt)
        self.generations[tenant] += 1
        return receipt

    def _may_fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class ClearRing(Ring):
    """Stores payloads as they are."""

    def __init__(self) -> None:
        super().__init__(KeysInMemory())

    async def seal_all(self, rows: Sequence[Row]) -> list[bytes]:
        return [payload for _, _, payload, _ in rows]
