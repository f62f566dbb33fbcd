"""SQL of proofs: the credential in question, what ends and begins by a proof, and what it leaves behind.

Each function works in the caller's tenant transaction. Rows of one account are locked from the older
to the newer, as the management API locks them: neither waits for the other in a ring.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec

from audit.inbox import Entry
from audit.record import Kind
from fanout.account_stop import changed, revised
from fanout.accounts import as_broker_account
from fanout.ports import BrokerAccount
from fanout.proof import NotProven, Proof
from hsm.envelope import unpack
from hsm.errors import SealBroken
from tenancy.database import Connection
from tenancy.scope import Actor
from tenancy.store.snapshots import read_accounts
from tenancy.values import AccountID, TenantID

PROVER = Actor(kind="algo", id="prover")
_UNPROVEN = (
    "SELECT credential_id, tenant_id, part FROM find_unproven(%s::smallint[], %s::uuid[], %s)"
)
_DUE = """
SELECT credential_id, tenant_id, part FROM find_due_proofs(%s::smallint[], %s::uuid[], %s, %s)"""
_READ = """
SELECT account_id, broker, api_key, sealed, state, revision, test_order FROM credentials
WHERE credential_id = %s AND revoked_at IS NULL"""
_OF_ACCOUNT = """
SELECT credential_id, api_key, state, revision, test_order FROM credentials
WHERE account_id = %s AND revoked_at IS NULL ORDER BY credential_id FOR UPDATE"""
_PROOF = "SELECT code, scopes, broker_user FROM credential_proofs WHERE credential_id = %s"
_LIVE_USER = """
SELECT p.broker_user FROM credentials c JOIN credential_proofs p USING (credential_id)
WHERE c.account_id = %s AND c.state = 'live' AND c.revoked_at IS NULL"""
_KEEP = """
INSERT INTO credential_proofs
    (credential_id, tenant_id, code, words, scopes, checks, broker_user, proved_at, due_at)
VALUES (%(id)s, %(tenant)s, %(code)s, %(words)s, %(scopes)s, %(checks)s, %(user)s, %(at)s, %(due)s)
ON CONFLICT (credential_id) DO UPDATE SET code = excluded.code, words = excluded.words, scopes = excluded.scopes,
    checks = excluded.checks, broker_user = coalesce(excluded.broker_user, credential_proofs.broker_user),
    proved_at = excluded.proved_at, due_at = excluded.due_at"""
_END = """
UPDATE credentials SET revoked_at = now(), revision = revision + 1{} WHERE credential_id = %s"""
_LOCK = "SELECT FROM accounts WHERE account_id = %s FOR NO KEY UPDATE"
_BEGIN = "UPDATE credentials SET state = 'live', revision = revision + 1 WHERE credential_id = %s"


class Waiting(msgspec.Struct, frozen=True):
    """A credential that is to be asked about, and whose it is."""

    credential_id: UUID
    tenant_id: TenantID
    part: int


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """As its row says it. `account` carries this very credential, live or not."""

    credential_id: UUID
    account: BrokerAccount
    broker: str
    state: Literal["proving", "live"]
    test_order: bool
    live_user: str | None
    """Whose the account's live key is, as the broker counts."""


class Standing(msgspec.Struct, frozen=True):
    """One of an account's credentials that are not over."""

    credential_id: UUID
    api_key: str
    state: Literal["proving", "live"]
    revision: int
    test_order: bool


class Said(msgspec.Struct, frozen=True):
    """What the broker said before."""

    code: str
    scopes: tuple[str, ...]
    broker_user: str | None


async def unproven(conn: Connection, parts: list[int], but: list[UUID], most: int) -> list[Waiting]:
    """Those that wait for a proof in these partitions, `but` these; of all tenants, ids only."""
    rows = await (await conn.execute(_UNPROVEN, (parts, but, most))).fetchall()
    return [Waiting(*row) for row in rows]


async def due(
    conn: Connection, parts: list[int], but: list[UUID], most: int, at: datetime
) -> list[Waiting]:
    """Live ones whose last proof is too old, or that never had one."""
    rows = await (await conn.execute(_DUE, (parts, but, most, at))).fetchall()
    return [Waiting(*row) for row in rows]


async def read(conn: Connection, credential: UUID) -> Candidate | None:
    """None: it is over."""
    row = await (await conn.execute(_READ, (credential,))).fetchone()
    if row is None:
        return None
    accounts = await read_accounts(conn, [AccountID(row[0])])
    if not accounts:
        return None
    user = await (await conn.execute(_LIVE_USER, (row[0],))).fetchone()
    account = msgspec.structs.replace(
        as_broker_account(accounts[0]), api_key=row[2], credential=bytes(row[3])
    )
    return Candidate(
        credential_id=credential, account=account, broker=row[1], state=row[4], test_order=row[6],
        live_user=user[0] if user is not None else None,
    )  # fmt: skip


async def standing(conn: Connection, account: AccountID) -> dict[UUID, Standing]:
    """The account's credentials that are not over, locked with it, the older first."""
    await conn.execute(_LOCK, (account,))
    rows = await (await conn.execute(_OF_ACCOUNT, (account,))).fetchall()
    return {row[0]: Standing(*row) for row in rows}


async def said(conn: Connection, credential: UUID) -> Said | None:
    row = await (await conn.execute(_PROOF, (credential,))).fetchone()
    return None if row is None else Said(row[0], tuple(row[1]), row[2])


async def keep(conn: Connection, one: Candidate, proof: Proof, at: datetime, due: datetime) -> None:
    """What the broker says now, in place of what it said before."""
    refused = isinstance(proof, NotProven)
    values = {
        "id": one.credential_id, "tenant": one.account.tenant_id,
        "code": proof.code if isinstance(proof, NotProven) else "",
        "words": proof.words[:1000] if isinstance(proof, NotProven) else "",
        "scopes": list(proof.scopes), "checks": list(proof.checks),
        "user": None if refused and one.state == "live" else proof.broker_user,
        "at": at, "due": due,
    }  # fmt: skip
    await conn.execute(_KEEP, values)


async def begin(conn: Connection, one: Candidate, ours: Standing) -> None:
    """It signs from the commit on. The one before must have ended in this transaction."""
    await conn.execute(_BEGIN, (one.credential_id,))
    change = ("credential", str(one.credential_id), ours.revision + 1)
    why = "proven by the broker"
    await revised(
        conn, one.account.tenant_id, change, {"state": "proving"}, {"state": "live"}, why, PROVER
    )


async def end(
    conn: Connection,
    one: Candidate,
    ended: Standing,
    why: str,
    at_ns: int,
    *,
    refused: bool = False,
) -> None:
    """It is over: its row, a revision and the record of a change, as when a person ends it."""
    query = _END.format(", state = 'refused'" if refused else "")
    await conn.execute(query.encode(), (ended.credential_id,))
    before = {
        "account_id": str(one.account.account_id), "api_key": ended.api_key,
        "test_order": ended.test_order,
    }  # fmt: skip
    change = ("credential", str(ended.credential_id), ended.revision + 1)
    await changed(conn, one.account.tenant_id, change, before, None, why, at_ns, PROVER)


def later(at: datetime, seconds: float) -> datetime:
    """When it is asked again."""
    return at + timedelta(seconds=seconds)


def record(one: Candidate, proof: Proof, *, enrolled: bool, at_ns: int) -> Entry:
    """`credential.proven` or `credential.refused`: who said what of which key. Never the secret, nor its blob."""
    refused = isinstance(proof, NotProven)
    payload: dict[str, Any] = {
        "event": "enrolment" if enrolled else "again", "credential_id": str(one.credential_id),
        "account_id": str(one.account.account_id), "broker": one.broker,
        "api_key": one.account.api_key, "kek_version": _kek_version(one.account.credential),
        "scopes": list(proof.scopes), "checks": list(proof.checks), "broker_user": proof.broker_user,
    }  # fmt: skip
    if isinstance(proof, NotProven):
        payload |= {"code": proof.code, "text": proof.words}
    return Entry(
        kind=Kind.CREDENTIAL_REFUSED if refused else Kind.CREDENTIAL_PROVEN,
        ts_ns=at_ns, payload=payload, actor=PROVER, acct=str(one.account.account_id), cls="admin",
    )  # fmt: skip


def _kek_version(sealed: bytes | None) -> int | None:
    try:
        return unpack(sealed or b"").kek_version
    except SealBroken:
        return None  # the broker's signer has said so, or will
