"""What the API tells of an account's credentials: the one that signs, the one on its way, and their proofs.

Never a secret, and never what is sealed: of that only under which version of the tenant's key.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from fanout.brokers.sealing import Sealing
from hsm.envelope import SealedSecret, unpack
from hsm.errors import SealBroken
from tenancy.database import Connection

CredentialState = Literal["live", "proving", "waiting", "refused", "missing"]
"""`live`: it signs. Without one: `proving`, the broker is being asked; `waiting`, a second person has
not agreed yet; `refused`, the last one was not taken; `missing`, there is none."""

_OF = "FROM credentials c WHERE c.account_id = accounts.account_id"
_IS = f"EXISTS (SELECT {_OF} AND c.revoked_at IS NULL AND c.state = "
_LAST = f"(SELECT c.state {_OF} ORDER BY c.credential_id DESC LIMIT 1)"
_OPEN = """
FROM waiting_credentials w JOIN proposals p
ON p.kind = 'credential' AND p.object_id = w.credential_id::text AND p.state IN ('open', 'approved')"""
STATE_SQL = f"""CASE WHEN {_IS}'live') THEN 'live' WHEN {_IS}'proving') THEN 'proving'
WHEN EXISTS (SELECT {_OPEN} WHERE w.account_id = accounts.account_id) THEN 'waiting'
WHEN {_LAST} = 'refused' THEN 'refused' ELSE 'missing' END"""
"""Of a row of `accounts`. What a second person refused waits no more, and nothing brings it back."""
_WAITING = f"""
SELECT w.credential_id, w.sealed, w.created_at, p.after ->> 'api_key',
       coalesce((p.after ->> 'test_order')::boolean, false) {_OPEN} WHERE w.account_id = %s"""
_KEPT = """
SELECT c.credential_id, c.api_key, c.state, c.revoked_at IS NOT NULL, c.sealed, c.sealed_at, c.created_at,
       c.test_order, p.code, p.words, p.scopes, p.checks, p.broker_user, p.proved_at, p.due_at
FROM credentials c LEFT JOIN credential_proofs p USING (credential_id)
WHERE c.account_id = %s AND (c.revoked_at IS NULL OR c.credential_id =
      (SELECT n.credential_id FROM credentials n WHERE n.account_id = %s ORDER BY n.credential_id DESC LIMIT 1))
ORDER BY c.credential_id"""


class ProofView(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker said of the key last. `code` and `words`: why not. `scopes` in the broker's
    words, `checks`: what was asked, in ours."""

    proven: bool
    code: str | None
    words: str | None
    scopes: list[str]
    checks: list[str]
    broker_user: str | None
    proved_at: datetime
    due_at: datetime | None
    """When it is asked again; of a live one."""


class NextCredential(msgspec.Struct, frozen=True, kw_only=True):
    """One that does not sign (yet): `waiting` for a second person, `proving`, or `refused`."""

    credential_id: UUID
    api_key: str
    state: Literal["waiting", "proving", "refused"]
    sealing: Sealing
    kek_version: int | None
    sealed_at: datetime
    test_order: bool
    proof: ProofView | None


class CredentialView(msgspec.Struct, frozen=True, kw_only=True):
    """What signs for the account now, and what is to take its place.

    `sealing` `sdk`: the broker's own program has to see the secret, which is opened for it at login.
    `kek_version`: of the tenant's key that it is sealed under; null where the row cannot be read.
    """

    account_id: UUID
    state: CredentialState
    credential_id: UUID | None = None
    api_key: str | None = None
    sealing: Sealing | None = None
    kek_version: int | None = None
    sealed_at: datetime | None = None
    created_at: datetime | None = None
    proof: ProofView | None = None
    waiting_since: datetime | None = None
    next: NextCredential | None = None
    reenrolment_due: bool = False
    """It is sealed under an old version of the tenant's keys: put the same secret once more."""


async def view(conn: Connection, account: UUID) -> CredentialView:
    """As it stands in this transaction."""
    rows = await (await conn.execute(_KEPT, (account, account))).fetchall()
    waits = await (await conn.execute(_WAITING.encode(), (account,))).fetchone()
    live = next((row for row in rows if row[2] == "live" and not row[3]), None)
    coming = _waiting(waits) if waits is not None else _coming(rows)
    state: CredentialState = "live" if live else (coming.state if coming else "missing")
    found = CredentialView(
        account_id=account, state=state, waiting_since=waits[2] if waits else None, next=coming
    )
    if live is None:
        return found
    sealing, version = _sealed(live[4])
    return msgspec.structs.replace(
        found, credential_id=live[0], api_key=live[1], sealing=sealing, kek_version=version,
        sealed_at=live[5], created_at=live[6], proof=_proof(live, live=True),
        reenrolment_due=version is not None and version < await _newest(conn),
    )  # fmt: skip


async def _newest(conn: Connection) -> int:
    """The version of the tenant's keys that is sealed under now."""
    wanted = "SELECT coalesce(max(version), 0) FROM hsm_keys WHERE kind = 'kek'"
    row = await (await conn.execute(wanted)).fetchone()
    assert row is not None
    return int(row[0])


def _waiting(row: Any) -> NextCredential:
    sealing, version = _sealed(row[1])
    return NextCredential(
        credential_id=row[0], api_key=row[3], state="waiting", sealing=sealing, kek_version=version,
        sealed_at=row[2], test_order=row[4], proof=None,
    )  # fmt: skip


def _coming(rows: list[Any]) -> NextCredential | None:
    """The one that is being proven; else the newest of all, if the broker refused it."""
    row = next((one for one in rows if one[2] == "proving" and not one[3]), None)
    if row is None and rows and rows[-1][2] == "refused":
        row = rows[-1]
    if row is None:
        return None
    sealing, version = _sealed(row[4])
    return NextCredential(
        credential_id=row[0], api_key=row[1], state=row[2], sealing=sealing, kek_version=version,
        sealed_at=row[5], test_order=row[7], proof=_proof(row, live=False),
    )  # fmt: skip


def _proof(row: Any, *, live: bool) -> ProofView | None:
    code, words, scopes, checks, user, proved_at, due_at = row[8:]
    if code is None:
        return None
    return ProofView(
        proven=not code, code=code or None, words=words or None, scopes=scopes, checks=checks,
        broker_user=user, proved_at=proved_at, due_at=due_at if live else None,
    )  # fmt: skip


def _sealed(blob: bytes) -> tuple[Sealing, int | None]:
    try:
        sealed = unpack(bytes(blob))
    except SealBroken:
        return "key", None
    return ("sdk" if isinstance(sealed, SealedSecret) else "key"), sealed.kek_version
