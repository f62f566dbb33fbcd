"""An account's credential at its broker: written, replaced and revoked, never read back.

The API secret arrives encrypted to the enrol token and is sealed before anything else:

1. Seal. *Crash: nothing was written.*
2. Keep what came back in `waiting_credentials`, in place of whatever waited there.
3. The change (gateway/admin/changes.py), whose document names account and public key alone. Where
   it goes through, the sealed row moves to `credentials` in the same transaction and the one before
   it is revoked. Where a second person is wanted it stays until their yes brings the change here
   again; replaced meanwhile, that yes comes too late and says so.

So no sealed secret is in a proposal, a revision or an audit record.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin import changes, sealed_rows
from gateway.admin.changes import By, ObjectKind, by
from gateway.admin.objects import Proposed
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.references import require_live
from gateway.admin.sealing import enrolment_key, seal_credential
from tenancy.errors import Conflict, NotFound
from tenancy.ids import new_id
from tenancy.store import documents
from tenancy.store.documents import Stored, Table
from tenancy.values import whole

ApiKey = Annotated[str, Meta(min_length=1, max_length=256, pattern=whole("[!-~]+"))]
CredentialState = Literal["live", "waiting", "missing"]
"""`waiting`: one is sealed, and a second person has not agreed yet."""

LIVE = "EXISTS (SELECT FROM credentials c WHERE c.account_id = accounts.account_id AND c.revoked_at IS NULL)"
_OPEN = """
SELECT w.created_at FROM waiting_credentials w JOIN proposals p
ON p.kind = 'credential' AND p.object_id = w.credential_id::text AND p.state IN ('open', 'approved')"""
WAITING = f"EXISTS ({_OPEN} WHERE w.account_id = accounts.account_id)"
"""Of a row of `accounts`. What a second person refused waits no more, and nothing brings it back."""


class CredentialDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a credential is no secret. It is never changed, only replaced."""

    account_id: UUID
    api_key: ApiKey


class NewCredential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`api_key`: the public half, as the broker names it. `envelope`: base64 of the API secret,
    encrypted to the key of GET /v1/enrolment-key (RSA-OAEP, SHA-1) as docs/api.md says."""

    api_key: ApiKey
    envelope: Annotated[str, Meta(min_length=1, max_length=4096)]

    def __repr__(self) -> str:
        return f"NewCredential({self.api_key!r}, envelope=…)"


class CredentialView(msgspec.Struct, frozen=True, kw_only=True):
    """What signs for the account now, and whether another one waits for a second person."""

    account_id: UUID
    state: CredentialState
    credential_id: UUID | None
    api_key: str | None
    created_at: datetime | None
    waiting_since: datetime | None
    reenrolment_due: bool = False
    """It is sealed under an old version of the tenant's keys: put the same secret once more."""


class EnrolmentKey(msgspec.Struct, frozen=True, kw_only=True):
    """To what an API secret is encrypted where it is typed. PEM, SubjectPublicKeyInfo."""

    public_key_pem: str
    algorithm: Literal["RSA-OAEP"] = "RSA-OAEP"
    digest: Literal["SHA-1"] = "SHA-1"
    padded_to_bytes: tuple[int, ...] = (64, 128)
    """The secret is filled with zero bytes to the first of these that holds it; one longer than the
    last is its SHA-512 digest instead, filled likewise (as HMAC-SHA-512 itself does, RFC 2104)."""


async def _check(by: By, before: Any, after: CredentialDocument | None) -> None:
    if after is not None:
        await require_live(by, "account_id", after.account_id)


async def _columns(by: By, object_id: Any, document: CredentialDocument) -> Mapping[str, Any]:
    row = await (
        await by.conn.execute(
            "DELETE FROM waiting_credentials w USING accounts a WHERE w.credential_id = %s"
            " AND w.account_id = %s AND a.account_id = w.account_id RETURNING w.sealed, a.broker",
            (object_id, document.account_id),
        )
    ).fetchone()
    if row is None:
        raise Conflict(
            "what was sealed for this credential is gone: another was put in its place, or it was"
            " withdrawn; put the credential again"
        )
    live = await _live(by.conn, document.account_id)
    if live is not None:
        await changes.remove(by, CREDENTIAL, live)
    return {"sealed": row[0], "broker": row[1]}


def _danger(before: Any, after: Any, facts: Mapping[str, Any]) -> frozenset[str]:
    """Revoking is safe and never waits."""
    return frozenset() if after is None else frozenset({"credentials"})


CREDENTIAL: ObjectKind[CredentialDocument] = ObjectKind(
    name="credential",
    table=Table(
        noun="credential",
        table="credentials",
        key="credential_id",
        document=CredentialDocument,
        facts=("broker", "created_at", "revoked_at"),
        fixed=frozenset({"account_id", "api_key"}),
        archived="revoked_at",
    ),
    check=_check,
    columns=_columns,
    danger=_danger,
)


async def _live(conn: Any, account: UUID) -> Stored[CredentialDocument] | None:
    rows = await documents.page(conn, CREDENTIAL.table, limit=1, where={"account_id": account})
    return rows[0] if rows else None


async def end_credentials(by: By, account: UUID) -> bool:
    """Revoke the live one and forget the one that waits; whether there was any."""
    gone = await by.conn.execute(
        "DELETE FROM waiting_credentials WHERE account_id = %s", (account,)
    )
    live = await _live(by.conn, account)
    if live is not None:
        await changes.remove(by, CREDENTIAL, live)
    return live is not None or gone.rowcount > 0


async def _get(call: Call) -> Result:
    account, _ = await _account(call)
    return Result(content=await _view(call, account))


async def _put(call: Call) -> Result:
    account, broker = await _account(call)
    wanted: NewCredential = call.body
    sealed = await seal_credential(
        call.services, call.scope.tenant_id, account, broker, wanted.envelope
    )
    credential_id = new_id()
    await call.conn.execute("DELETE FROM waiting_credentials WHERE account_id = %s", (account,))
    await call.conn.execute(
        "INSERT INTO waiting_credentials (credential_id, tenant_id, account_id, sealed)"
        " VALUES (%s, %s, %s, %s)",
        (credential_id, call.scope.tenant_id, account, sealed),
    )
    document = CredentialDocument(account_id=account, api_key=wanted.api_key)
    _, made = await changes.create(by(call), CREDENTIAL, document, credential_id)
    if made.proposal is not None:
        return Result(
            status=202,
            content=Proposed(proposal_id=made.proposal),
            location=f"/v1/proposals/{made.proposal}",
        )
    return Result(content=await _view(call, account))


async def _revoke(call: Call) -> Result:
    account, _ = await _account(call)
    if not await end_credentials(by(call), account):
        raise NotFound("this account has no credential")
    return Result()


_BROKER = {
    False: "SELECT broker FROM accounts WHERE account_id = %s",
    True: "SELECT broker FROM accounts WHERE account_id = %s FOR UPDATE",
}


async def _account(call: Call) -> tuple[UUID, str]:
    """Id and broker, locked against a change of the credential at the same moment. Raises NotFound."""
    account = call.uuid("account_id")
    row = await (await call.conn.execute(_BROKER[call.operation.changes], (account,))).fetchone()
    if row is None:
        raise NotFound(f"there is no account {account} in this tenant")
    return account, row[0]


async def _view(call: Call, account: UUID) -> CredentialView:
    live = await _live(call.conn, account)
    row = await (
        await call.conn.execute(f"{_OPEN} WHERE w.account_id = %s".encode(), (account,))
    ).fetchone()
    due = await _is_due(call.conn, live.object_id) if live else False
    state: CredentialState = "live" if live else ("waiting" if row else "missing")
    return CredentialView(
        account_id=account,
        state=state,
        credential_id=UUID(live.object_id) if live else None,
        api_key=live.document.api_key if live else None,
        created_at=live.facts["created_at"] if live else None,
        waiting_since=row[0] if row else None,
        reenrolment_due=due,
    )


async def _is_due(conn: Any, credential: str) -> bool:
    row = await (
        await conn.execute(
            "SELECT c.sealed, (SELECT max(k.version) FROM hsm_keys k WHERE k.kind = 'kek')"
            " FROM credentials c WHERE c.credential_id = %s",
            (credential,),
        )
    ).fetchone()
    return row is not None and sealed_rows.UNREADABLE < sealed_rows.version(row[0]) < (row[1] or 0)


async def _enrolment_key(call: Call) -> Result:
    pem = await enrolment_key(call.services)
    return Result(content=EnrolmentKey(public_key_pem=pem.decode("ascii")))


_ADDRESS = "/v1/accounts/{account_id}/credential"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="get_enrolment_key", method="GET", path="/v1/enrolment-key", tag="Credentials",
        summary="The public key that API secrets are encrypted to before they are sent.",
        action="credentials:write", handle=_enrolment_key, answer=EnrolmentKey,
    ),
    Operation(
        name="get_credential", method="GET", path=_ADDRESS, tag="Credentials",
        summary="Whether the account has a live credential; never its secret.",
        action="accounts:read", handle=_get, answer=CredentialView, problems=("not_found",),
    ),
    Operation(
        name="put_credential", method="PUT", path=_ADDRESS, tag="Credentials",
        summary="Seal an API secret and make it the account's live credential.",
        action="credentials:write", handle=_put, body=NewCredential, answer=CredentialView,
        also={202: Proposed}, problems=("not_found", "conflict"),
    ),
    Operation(
        name="revoke_credential", method="DELETE", path=_ADDRESS, tag="Credentials",
        summary="Revoke the account's credential: nothing is signed with it any more.",
        action="credentials:write", handle=_revoke, status=204, problems=("not_found",),
    ),
)  # fmt: skip
