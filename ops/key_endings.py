"""The end of keys, between the tokens and the database: refused while anything needs them, proven afterwards.

Retiring an old version:

1. One transaction: nothing needs it (no live row is sealed under it, its grace is over, its successor
   has taken over), and it is `ending`. *Crash: the calendar shows it; the same command goes on.*
2. The ceremony destroys and searches (hsm/ending.py). *Crash: the same.*
3. One transaction: `destroyed`, and the records in both logs.

Off-boarding a customer is the same for all of its versions, with more before and after:

0. Two people of the platform have agreed (POST /v1/tenants/…/offboarding), trading is halted, and the
   books hold nothing that its keys would be needed for: no open order, no position.
1. `ending`. The key of its audit payloads goes into the platform's keeping, sealed under the platform's
   keys. The other sealed rows are tried at the token: they open. That is the control of what follows.
2. Destroyed and searched for in every token; the rows are tried again at the token: none opens.
3. The running signer is asked to use each row until it says that the key is gone: it may hold some
   unwrapped for hsm.pool.WRAPPER_SEEN_S. A signer that does not answer ends the command here, without
   proof; the same command goes on with it later.
4. `destroyed`, the off-boarding done, `tenant.keys_destroyed` in the platform's log and in the customer's.

The customer's log keeps its key: what happened must stay provable. So does what was
recorded, and it can be read until its time is over (docs/audit/payloads.md).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import msgspec

from audit.checkpoint import open_checkpoint
from audit.logs import read_anchor, read_logs, read_signed
from audit.malformed import Malformed
from audit.record import Kind
from gateway.admin import sealed_rows
from gateway.admin.sealed_rows import SealedRow
from hsm import ending
from hsm.client import SignerClient
from hsm.envelope import Sealed, SealedKey, unpack
from hsm.errors import CeremonyRefused, KeyMissing
from hsm.facts import Facts, Tried
from ops.audit_keys import into_keeping
from ops.ceremonies import token_settings
from ops.key_ceremonies import House, log_owner, signed, told, told_platform
from ops.settings import Settings
from ops.tenants import operator_scope
from tenancy.database import Connection
from tenancy.errors import Conflict, PortcullisError, Unavailable
from tenancy.store import hsm_keys
from tenancy.store.hsm_keys import PlatformKey, StoredKey
from tenancy.values import TenantID

GRACE = timedelta(hours=24)
"""From a successor's making to its predecessor's end: pages with the old enrolment key, readers of a log."""
ON_ITS_WAY = timedelta(hours=1)
"""What was sealed just before a rotation is a row by then."""
MOST_TRIED = 200
SIGNER_FORGETS_S = 15.0


class Destroyed(msgspec.Struct, frozen=True, kw_only=True):
    """The proof. `before` and `facts.tried`: each row at the token, before and after; `signer`: at the daemon."""

    facts: Facts
    before: tuple[Tried, ...]
    signer: tuple[Tried, ...]


async def retire_kek(
    at: House, tenant: TenantID, version: int, *, after: timedelta = ON_ITS_WAY
) -> Facts:
    """Destroy an old version of a tenant's keys. Raises Conflict while a row needs it, or it is current."""
    scope = operator_scope(tenant)
    async with at.database.tenant(scope) as conn:
        key = await hsm_keys.version_of(conn, "kek", version)
        _replaced(at, key, after)
        needing = sealed_rows.needing(await sealed_rows.read(conn), version)
        if needing:
            raise Conflict(
                f"{len(needing)} rows are sealed under version {version} (or cannot be read): enrol"
                f" them anew first; the first is the {needing[0].source} {needing[0].object_id}"
            )
        await hsm_keys.end(conn, "kek", [version])
    tokens = token_settings(at.settings)
    facts = await asyncio.to_thread(ending.retire_tenant_keys, tokens, tenant, version)
    kept = await signed(at, facts)
    async with at.database.tenant(scope) as conn:
        await hsm_keys.destroyed(conn, "kek", [version], at.now())
        said = {"event": "kek_destroyed", "key": key.label, "version": version}
        await told(conn, scope, said)
        await told_platform(at, conn, {**said, **kept})
    return facts


async def retire_enrol_key(at: House, version: int, *, after: timedelta = GRACE) -> Facts:
    """Destroy an old enrolment pair. Raises Conflict for the current one, and within the grace."""
    async with at.database.tenant(at.platform) as conn:
        key = await hsm_keys.version_of(conn, "enrol", version)
        _replaced(at, key, after)
        await hsm_keys.end(conn, "enrol", [version])
    tokens = token_settings(at.settings)
    facts = await asyncio.to_thread(ending.retire_enrol_key, tokens, version)
    kept = await signed(at, facts)
    async with at.database.tenant(at.platform) as conn:
        await hsm_keys.destroyed(conn, "enrol", [version], at.now())
        said = {"event": "enrol_key_destroyed", "key": key.label, "version": version}
        await told(conn, at.platform, {**said, **kept})
    return facts


async def retire_log_key(
    at: House, origin: str, version: int, *, after: timedelta = GRACE
) -> Facts:
    """Destroy a log's old key. Raises Conflict within the overlap, or while its successor has not signed."""
    owner = await log_owner(at, origin)
    scope = operator_scope(TenantID(owner.tenant_id))
    async with at.database.tenant(scope) as conn:
        key = await hsm_keys.version_of(conn, owner.kind, version)
        _replaced(at, key, after)
        await _successor_signs(conn, owner)
        await hsm_keys.end(conn, owner.kind, [version])
    tokens = token_settings(at.settings)
    facts = await asyncio.to_thread(ending.retire_log_key, tokens, origin, version, version + 1)
    kept = await signed(at, facts)
    async with at.database.tenant(scope) as conn:
        await hsm_keys.destroyed(conn, owner.kind, [version], at.now())
        said = {"event": "log_key_destroyed", "key": key.label, "version": version}
        await told(conn, scope, said)
        await told_platform(at, conn, {**said, **kept})
    return facts


async def destroy_tenant(
    at: House, tenant: TenantID, *, despite_positions: bool = False
) -> Destroyed:
    """Off-board: steps 0 to 4. Raises Conflict, CeremonyRefused; Unavailable without proof."""
    scope, tokens = operator_scope(tenant), token_settings(at.settings)
    async with at.database.tenant(at.platform) as conn:
        await _agreed(conn, tenant)
    async with at.database.tenant(scope) as conn:
        await _at_rest(conn, despite_positions)
        keys = await hsm_keys.read_keys(conn, "kek", lock=True)
        versions = [key.version for key in keys if key.state != "destroyed"]
        if not versions:
            raise Conflict(f"the keys of tenant {tenant} are destroyed already")
        await hsm_keys.end(conn, "kek", versions)
        every = await sealed_rows.read(conn)
    rows = _samples([row for row in every if row.source != "audit_key"])  # kept: see step 1
    await into_keeping(at.database, at.settings, tenant, at.platform.tenant_id)
    sealed = [row.sealed for row in rows]
    before = await asyncio.to_thread(ending.tried, tokens, sealed)
    facts = await asyncio.to_thread(ending.destroy_tenant_keys, tokens, tenant, sealed)
    signer = await _forgotten(at.settings, rows)
    proof = Destroyed(facts=facts, before=tuple(before), signer=tuple(signer))
    more = {"before": msgspec.to_builtins(before), "signer": msgspec.to_builtins(signer)}
    kept = await signed(at, facts, **more)
    async with at.database.tenant(scope) as conn:
        await hsm_keys.destroyed(conn, "kek", versions, at.now())
        said = {"event": "keys_destroyed", "tenant": str(tenant), "versions": versions}
        await told(conn, scope, said, Kind.TENANT_KEYS_DESTROYED)
        proven = {**said, "proof": msgspec.to_builtins(proof), **kept}
        await told_platform(at, conn, proven, Kind.TENANT_KEYS_DESTROYED)
    async with at.database.tenant(at.platform) as conn:
        await conn.execute(
            "UPDATE offboardings SET destroyed_at = now() WHERE customer_id = %s"
            " AND destroyed_at IS NULL",
            (tenant,),
        )
    return proof


def _replaced(at: House, key: StoredKey, after: timedelta) -> None:
    """Raises Conflict unless the key has a successor for so long, and is not destroyed yet."""
    if key.state == "destroyed":
        raise Conflict(f"{key.label} is destroyed already, since {key.destroyed_at:%Y-%m-%d}")
    if key.replaced_at is None:
        raise Conflict(f"{key.label} is the current one: rotate first")
    if key.state == "old" and at.now() < key.replaced_at + after:
        raise Conflict(f"{key.label} is needed until {key.replaced_at + after:%Y-%m-%d %H:%M} UTC")


async def _successor_signs(conn: Connection, owner: PlatformKey) -> None:
    """The newest checkpoint must open under the newest key alone: else readers of it have nothing."""
    origin = owner.label
    logs = await read_logs(conn) if owner.kind == "log" else [await read_anchor(conn)]
    (log,) = [log for log in logs if log is not None and log.origin == origin]
    signed = await read_signed(conn, log)
    if signed is None:
        return
    try:
        open_checkpoint(signed.note, log.key)
    except Malformed:
        raise Conflict(
            f"the newest checkpoint of {origin} is not signed by {log.history[-1].label}: the"
            " recorder has to run, and publish, with both keys first"
        ) from None


async def _agreed(conn: Connection, customer: UUID) -> None:
    row = await (
        await conn.execute(
            "SELECT 1 FROM offboardings WHERE customer_id = %s AND destroyed_at IS NULL",
            (customer,),
        )
    ).fetchone()
    if row is None:
        raise Conflict(
            f"nobody has agreed that tenant {customer} leaves: POST /v1/tenants/{customer}/offboarding,"
            " and a second operator's yes"
        )


async def _at_rest(conn: Connection, despite_positions: bool) -> None:
    """Raises Conflict while the customer trades, or has something open that only its keys can close."""
    row = await (
        await conn.execute(
            "SELECT (SELECT state FROM tenants), (SELECT count(*) FROM orders WHERE state IN"
            " ('held', 'waiting', 'intent', 'new', 'partially_filled', 'in_doubt')),"
            " (SELECT count(*) FROM positions p JOIN accounts a USING (account_id) WHERE p.qty <> 0"
            " AND a.broker <> 'paper' AND NOT starts_with(a.broker, 'shadow-'))"
        )
    ).fetchone()
    assert row is not None
    state, orders, positions = row
    if state != "halted":
        raise Conflict(f"the tenant is {state}: halt it first (portcullis halt on)")
    if orders or (positions and not despite_positions):
        raise Conflict(
            f"{orders} orders and {positions} positions are open: without keys nobody here can"
            " close them"
        )


def _samples(rows: list[SealedRow]) -> list[SealedRow]:
    """Some of every table and version, most of them where there are few."""
    chosen: list[SealedRow] = []
    groups = sorted({(row.source, row.kek_version) for row in rows if row.kek_version})
    share = max(1, MOST_TRIED // max(1, len(groups)))
    for group in groups:
        chosen += [row for row in rows if (row.source, row.kek_version) == group][:share]
    return chosen


async def _forgotten(settings: Settings, rows: list[SealedRow]) -> list[Tried]:
    """Step 3. Raises Unavailable for a signer that is away, CeremonyRefused for one that still uses a key."""
    deadline = time.monotonic() + SIGNER_FORGETS_S
    tried: list[Tried] = []
    signers: dict[Path, SignerClient] = {}
    async with AsyncExitStack() as clients:
        for row in rows:
            sealed = unpack(row.sealed)
            door = settings.hsm.door(sealed.purpose)
            if door not in signers:
                client = SignerClient(door, timeout_s=10)
                signers[door] = await clients.enter_async_context(client)
            signer = signers[door]
            while (outcome := await _ask(signer, row, sealed)) == "opens":
                if time.monotonic() > deadline:
                    raise CeremonyRefused(
                        f"the running signer still uses {row.source} {row.object_id}"
                    )
                await asyncio.sleep(0.2)
            tried.append(Tried(row.object_id, row.kek_version, outcome))
    return tried


async def _ask(signer: SignerClient, row: SealedRow, sealed: Sealed) -> str:
    """What the signer says: a signature that nobody sends, or a secret that nobody keeps."""
    try:
        if isinstance(sealed, SealedKey):
            await signer.sign_request(
                row.sealed, tenant_id=sealed.tenant_id, account_id=UUID(sealed.subject),
                scheme=sealed.purpose, method="GET", path="/api/v4/account/detail", query="",
                body=b"", timestamp=int(time.time()),
            )  # fmt: skip
        else:
            await signer.open_secret(row.sealed, tenant_id=sealed.tenant_id, subject=sealed.subject)
    except KeyMissing:
        return KeyMissing.code
    except Unavailable as error:
        raise Unavailable(
            f"the signer does not answer ({error}): the keys are destroyed, and that no process"
            " uses them any more is not shown; run this again when it is up"
        ) from None
    except PortcullisError as error:
        return error.code
    return "opens"
