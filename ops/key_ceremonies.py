"""New versions of keys: the ceremony in the tokens, its proof by the running daemons, and its row. No pause.

1. Read what is registered. 2. Make the next version in the tokens (hsm/rotation.py). *Crash: it is in use
by the enroller and not registered; the same command takes it as it is.* 3. Use it once, through the
daemons that trade: something sealed, opened or signed under exactly this version. *Crash or a daemon
away: as after 2.* 4. One transaction: the new row `current`, the one before it `old`, the records in the
tenant's log and in the platform's. From then on everything tells of it.

After 2 the ceremony's signed record is written (hsm/record.py); the platform's log has its hash.

One ceremony at a time over all hosts, by a lock of the session in the database: it goes with the process.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from audit.checkpoint import Checkpoint
from audit.inbox import Entry, append
from audit.malformed import Malformed
from audit.note import ECDSA_P256, VerifierKey
from audit.record import Kind
from gateway.admin import sealed_rows
from gateway.admin.key_probe import EMPTY_ROOT, PURPOSE, SUBJECT
from hsm import rotation
from hsm.client import EnrollerClient, SignerClient
from hsm.enrol import encrypt_secret
from hsm.envelope import unpack
from hsm.facts import Facts
from hsm.templates import enrol_label, log_label, p256_label
from ops import control
from ops.audit_keys import audit_keys
from ops.ceremonies import recorded, token_settings
from ops.settings import Settings
from ops.tenants import operator_scope
from tenancy.clock import SystemClock
from tenancy.database import Connection, Database, across
from tenancy.errors import Conflict, NotFound, Unavailable
from tenancy.scope import TenantScope
from tenancy.store import hsm_keys
from tenancy.store.hsm_keys import PlatformKey
from tenancy.values import TenantID

DAYS = {"kek": 365, "enrol": 730, "log": 730, "anchor": 730}
"""As hsm_key_days() in the schema: how long a key of each kind is the current one."""
MOST_NAMED = 1000
"""Accounts in one record's list."""


class House(msgspec.Struct, frozen=True):
    """What a ceremony has in its hands: the settings, the database as the admin's role, the platform."""

    settings: Settings
    database: Database
    platform: TenantScope

    def now(self) -> datetime:
        return SystemClock().now()


class Rotated(msgspec.Struct, frozen=True, kw_only=True):
    """What was made, and which rows somebody has to enrol anew because of it."""

    facts: Facts
    due_at: datetime
    reenrol: tuple[str, ...] = ()


@asynccontextmanager
async def house(settings: Settings) -> AsyncIterator[House]:
    """Alone, for one ceremony. Raises Unavailable where the database is not there, Conflict at another's."""
    control.check_runs(settings)
    database = Database(settings.database.admin, name="portcullis-ceremony", size=3)
    await database.open()
    try:
        async with database.connection() as conn:
            taken = await conn.execute(
                "SELECT pg_try_advisory_lock(hashtextextended('portcullis.ceremony', 0)),"
                " platform_tenant()"
            )
            row = await taken.fetchone()
            if row is None or not row[0]:
                raise Conflict("another ceremony is under way: wait until it has ended")
            async with audit_keys(settings, settings.database.admin, "portcullis-ceremony"):
                yield House(settings, database, operator_scope(TenantID(row[1])))
    finally:
        await database.close()  # and with its session the lock


async def rotate_kek(at: House, tenant: TenantID, days: int = DAYS["kek"]) -> Rotated:
    """The next version of a tenant's keys. Raises NotFound, CeremonyRefused, Unavailable."""
    scope = operator_scope(tenant)
    async with at.database.tenant(scope) as conn:
        keys = await hsm_keys.read_keys(conn, "kek")
    if not keys or keys[-1].state != "current":
        raise NotFound(f"tenant {tenant} has no current keys: it does not exist, or is off-boarded")
    facts = await asyncio.to_thread(
        rotation.rotate_tenant_keys, token_settings(at.settings), tenant, keys[-1].version
    )
    (version,) = facts.versions
    await _prove_tenant(at.settings, tenant, version)
    kept = await signed(at, facts)
    made_at, due_at = at.now(), at.now() + timedelta(days=days)
    async with at.database.tenant(scope) as conn:
        label = f"kek/{tenant}/v{version}"
        await hsm_keys.add_version(
            conn, scope, "kek", version, label, made_at=made_at, due_at=due_at
        )
        below = sealed_rows.below(await sealed_rows.read(conn), version)
        rows = [row for row in below if row.source not in sealed_rows.BY_ITSELF]
        said = {"event": "kek_rotated", "key": label, "version": version, "reenrol": len(rows)}
        await told(conn, scope, said)
        if rows:
            accounts = sorted({row.owner_id for row in rows if row.source == "credential"})
            due = {**said, "event": "reenrolment_due", "accounts": accounts[:MOST_NAMED]}
            await told(conn, scope, due)
        await told_platform(at, conn, {**said, **kept})
    named = tuple(f"{row.source} {row.object_id} of {row.owner_id}" for row in rows)
    return Rotated(facts=facts, due_at=due_at, reenrol=named)


async def rotate_enrol_key(at: House, days: int = DAYS["enrol"]) -> Rotated:
    """The next enrolment pair; the one before it opens until it is retired."""
    async with at.database.tenant(at.platform) as conn:
        known = max(key.version for key in await hsm_keys.read_keys(conn, "enrol"))
    facts = await asyncio.to_thread(rotation.rotate_enrol_key, token_settings(at.settings), known)
    (version,) = facts.versions
    await _prove_enrol(at.settings, at.platform.tenant_id, facts.public_key)
    kept = await signed(at, facts)
    made_at, due_at = at.now(), at.now() + timedelta(days=days)
    async with at.database.tenant(at.platform) as conn:
        label = enrol_label(version)
        await hsm_keys.add_version(
            conn, at.platform, "enrol", version, label, made_at=made_at, due_at=due_at
        )
        said = {"event": "enrol_key_rotated", "key": label, "version": version}
        await told(conn, at.platform, {**said, **kept})
    return Rotated(facts=facts, due_at=due_at)


async def rotate_log_key(at: House, origin: str, days: int = DAYS["log"]) -> Rotated:
    """A second key for a log: the recorder signs with both from its next checkpoint on."""
    owner = await log_owner(at, origin)
    scope = operator_scope(TenantID(owner.tenant_id))
    async with at.database.tenant(scope) as conn:
        keys = await hsm_keys.read_keys(conn, owner.kind)
    if any(key.state == "old" for key in keys):
        raise Conflict(f"log {origin} has two keys already: retire the old one first")
    version = keys[-1].version + 1
    facts = await asyncio.to_thread(
        rotation.rotate_log_key, token_settings(at.settings), origin, version
    )
    public_key, label = bytes.fromhex(facts.public_key), log_label(origin, version)
    p256_key = bytes.fromhex(facts.p256_key)
    second = VerifierKey(origin, p256_key, ECDSA_P256)
    await _prove_log(at.settings, label, VerifierKey(origin, public_key))
    await _prove_log(at.settings, p256_label(label), second)
    kept = await signed(at, facts)
    made_at, due_at = at.now(), at.now() + timedelta(days=days)
    async with at.database.tenant(scope) as conn:
        await hsm_keys.add_version(
            conn, scope, owner.kind, version, label, made_at=made_at, due_at=due_at,
            public_key=public_key, p256_key=p256_key,
        )  # fmt: skip
        said = {
            "event": "log_key_rotated", "key": label, "version": version,
            "vkey": str(VerifierKey(origin, public_key)), "vkey_p256": str(second),
            "vkey_before": str(VerifierKey(origin, keys[-1].public_key or b"")),
        }  # fmt: skip
        await told(conn, scope, said)
        await told_platform(at, conn, {**said, **kept})
    return Rotated(facts=facts, due_at=due_at)


async def tenants_with_keys(at: House) -> list[TenantID]:
    """Whose keys can be rotated: every tenant's that has a current version."""
    async with at.database.tenant(at.platform) as conn:
        every = [key async for key in hsm_keys.all_of_platform(conn)]
    return [TenantID(key.tenant_id) for key in every if (key.kind, key.state) == ("kek", "current")]


async def log_owner(at: House, origin: str) -> PlatformKey:
    """The first key of the log of that origin. Raises NotFound."""
    async with at.database.tenant(at.platform) as conn:
        async for key in hsm_keys.all_of_platform(conn):
            if key.kind in ("log", "anchor") and (key.version, key.label) == (1, origin):
                return key
    raise NotFound(f"there is no log {origin!r}: `portcullis hsm calendar` lists them")


async def told(
    conn: Connection, scope: TenantScope, payload: dict[str, Any], kind: Kind = Kind.KEY_ROTATION
) -> None:
    """A record in the log of that scope's tenant, in this transaction."""
    entry = Entry(
        kind=kind, ts_ns=SystemClock().now_ns(), payload=payload, actor=scope.actor, cls="admin"
    )
    await append(conn, [(scope.tenant_id, entry)])


async def told_platform(
    at: House, conn: Connection, payload: dict[str, Any], kind: Kind = Kind.KEY_ROTATION
) -> None:
    """The same in the platform's log, in the same transaction."""
    async with across(conn, at.platform):
        await told(conn, at.platform, payload, kind)


async def signed(at: House, facts: Facts, **more: Any) -> dict[str, Any]:
    """The ceremony's signed record (hsm/record.py), and what the platform's log says of it."""
    said = {**msgspec.to_builtins(facts), **more}
    what = f"{facts.what} {facts.kind}"
    kept = await asyncio.to_thread(lambda: recorded(at.settings, what, ceremony=said))
    return {"ceremony": said, "record": kept.record.number, "record_sha256": kept.sha256}


async def _prove_tenant(settings: Settings, tenant: UUID, version: int) -> None:
    """Seal and open something, through the daemons. Raises Unavailable where they do not see the key yet."""
    secret = secrets.token_bytes(32)
    async with (
        EnrollerClient(settings.hsm.enroller_socket, timeout_s=10) as enroller,
        SignerClient(settings.hsm.door(PURPOSE), timeout_s=10) as signer,
    ):
        ciphertext = encrypt_secret(await enroller.public_key_pem(), secret)
        sealed = await enroller.seal_secret(tenant, SUBJECT, PURPOSE, ciphertext)
        opened = await signer.open_secret(sealed, tenant_id=tenant, subject=SUBJECT)
    if opened != secret or unpack(sealed).kek_version != version:
        raise Unavailable(f"the daemons do not use version {version} of tenant {tenant} yet")


async def _prove_enrol(settings: Settings, platform: UUID, modulus_sha256: str) -> None:
    """The enroller gives out exactly this key, and opens what is encrypted to it."""
    async with EnrollerClient(settings.hsm.enroller_socket, timeout_s=10) as enroller:
        pem = await enroller.public_key_pem()
        key = load_pem_public_key(pem)
        assert isinstance(key, RSAPublicKey)
        modulus = key.public_numbers().n.to_bytes(key.key_size // 8, "big")
        if sha256(modulus).hexdigest() != modulus_sha256:
            raise Unavailable("the enroller does not give out the new enrolment key yet")
        ciphertext = encrypt_secret(pem, secrets.token_bytes(32))
        await enroller.seal_secret(platform, SUBJECT, PURPOSE, ciphertext)


async def _prove_log(settings: Settings, label: str, key: VerifierKey) -> None:
    """The head of the empty log, true of every log before its first record."""
    head = Checkpoint(key.name, 0, EMPTY_ROOT)
    async with SignerClient(settings.hsm.signer_socket, timeout_s=10) as signer:
        signature = await signer.sign_note(label, head.text().encode())
    try:
        head.note((key, signature))
    except Malformed as error:
        raise Unavailable(f"the signer's key {label!r} is another one: {error}") from None
