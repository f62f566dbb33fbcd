"""The ring of audit payload keys of one process (audit/ring.py), wired by the settings.

Every process that writes or reads records is given one before it does: the listeners, the workers, the
recorder, and the commands of the host. Its keys come over a small pool of its own (audit/keystore.py) and
from the signer's door for the purpose `audit`. Only who has the enroller makes a tenant's key: the
management listener; and `init`, at the token itself, before any daemon runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from audit import inbox, ring
from audit.keystore import PURPOSE, SUBJECT, Keystore, SealKey, kept_as
from audit.ports import SecretOpener
from audit.ring import Ring
from audit.sealing import TENANT
from hsm import ceremony, protocol
from hsm.client import EnrollerClient
from hsm.enrol import encrypt_secret
from hsm.enroller import EnrolWorker
from hsm.settings import TokenSettings
from ops.settings import Settings
from ops.tenants import operator_scope
from ops.vault import signer_client
from tenancy.database import Database
from tenancy.errors import NotFound
from tenancy.values import TenantID

POOL = 2


@asynccontextmanager
async def audit_keys(
    settings: Settings, conninfo: str, name: str, enroller: EnrollerClient | None = None
) -> AsyncIterator[Ring]:
    """This process has its ring while the context is open. Raises Unavailable without PostgreSQL."""
    async with signer_client(settings.hsm, settings.hsm.audit_socket) as signer:
        seal_key = None if enroller is None else by_enroller(enroller)
        async with ring_of(conninfo, name, signer, seal_key) as made:
            inbox.wait(settings.audit.append_wait_ms)
            yield made


@asynccontextmanager
async def ring_of(
    conninfo: str, name: str, opener: SecretOpener, seal_key: SealKey | None
) -> AsyncIterator[Ring]:
    """The same from parts."""
    database = Database(conninfo, name=f"{name}-audit-keys", size=POOL)
    await database.open()
    made = Ring(Keystore(database, opener, seal_key))
    before = ring.use(made)
    try:
        yield made
    finally:
        ring.use(before)
        await database.close()


def by_enroller(enroller: EnrollerClient) -> SealKey:
    """Seals a tenant's audit key through the daemon."""

    async def seal(tenant: TenantID, key: bytes) -> bytes:
        ciphertext = encrypt_secret(await enroller.public_key_pem(), key)
        return await enroller.seal_secret(tenant, SUBJECT, PURPOSE, ciphertext)

    return seal


class AtTheToken:
    """Seals by the enrol token itself, for a ceremony while no daemon runs; opens what it has sealed."""

    def __init__(self, tokens: TokenSettings) -> None:
        self._tokens = tokens
        self._sealed: dict[bytes, bytes] = {}

    async def seal(self, tenant: TenantID, key: bytes) -> bytes:
        sealed = await asyncio.to_thread(self._seal, tenant, key)
        self._sealed[sealed] = key
        return sealed

    async def open_secret(self, sealed: bytes, *, tenant_id: UUID, subject: str) -> bytes:
        """Raises NotFound for a row of another time."""
        if sealed not in self._sealed:
            raise NotFound("this audit key was sealed before, and no signer runs that opens it")
        return self._sealed[sealed]

    def _seal(self, tenant: TenantID, key: bytes) -> bytes:
        with ceremony.tokens(self._tokens) as (enrol, _):
            desk = EnrolWorker(enrol[0])
            ciphertext = encrypt_secret(desk.serve(protocol.EnrolKey(1)), key)
            return desk.serve(protocol.SealSecret(2, tenant, SUBJECT, PURPOSE, ciphertext))


async def into_keeping(
    database: Database, settings: Settings, tenant: TenantID, platform: TenantID
) -> None:
    """The audit key of a customer who leaves, sealed under the platform's keys from now on.

    Its own keys are about to be destroyed, and its records must be kept and stay readable. Done again
    it changes nothing. Raises Unavailable, and nothing has changed.
    """
    async with database.tenant(operator_scope(tenant)) as conn:
        row = await (
            await conn.execute(
                "SELECT sealed FROM audit_keys WHERE tenant_id = portcullis_tenant() AND keeper IS NULL"
            )
        ).fetchone()
        if row is None:
            return
        async with (
            signer_client(settings.hsm, settings.hsm.audit_socket) as signer,
            EnrollerClient(settings.hsm.enroller_socket) as enroller,
        ):
            key = await signer.open_secret(row[0], tenant_id=tenant, subject=SUBJECT)
            ciphertext = encrypt_secret(await enroller.public_key_pem(), key)
            sealed = await enroller.seal_secret(platform, kept_as(tenant), PURPOSE, ciphertext)
        await conn.execute(
            "UPDATE audit_keys SET sealed = %s, keeper = %s WHERE tenant_id = %s AND sealed = %s",
            (sealed, platform, tenant, row[0]),
        )


async def make_missing(database: Database, keys: Ring) -> int:
    """An audit key for each tenant from before there were any: how many were made. Raises Unavailable.

    The management listener does this at its start; until then the tenant's records, and with them its
    orders, are refused as `audit_unavailable`.
    """
    async with database.shared() as conn:
        cursor = await conn.execute("SELECT tenant_id FROM find_tenants_without_audit_key()")
        tenants = [TenantID(row[0]) for row in await cursor.fetchall()]
    for tenant in tenants:
        await keys.prepare(tenant, [TENANT])
    return len(tenants)
