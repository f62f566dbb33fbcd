"""An account's credential at its broker: written, replaced and revoked, never read back.

The API secret arrives encrypted to the enrol token and is sealed before anything else:

1. Seal. *Crash: nothing was written.*
2. Keep what came back in `waiting_credentials`, in place of whatever waited there.
3. The change (gateway/admin/changes.py), whose document names account and public key alone. Where
   it goes through, the sealed row moves to `credentials` in the same transaction, as `proving`, and
   takes the place of another that was being proven. Where a second person is wanted it stays until
   their yes brings the change here again; replaced meanwhile, that yes comes too late and says so.
4. A worker asks the broker and makes it `live`, or `refused` (fanout/proving.py). This process has no
   way to brokers, and the database takes no live credential from it. The one before stays live until
   then; only a revocation ends it earlier.

So no sealed secret is in a proposal, a revision or an audit record, and no key trades that its broker
has not vouched for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from fanout.brokers.sealing import Sealing
from gateway.admin import changes
from gateway.admin.changes import By, ObjectKind, by
from gateway.admin.credential_views import CredentialView, view
from gateway.admin.objects import Proposed
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.references import require_live
from gateway.admin.sealing import enrolment_key, require_sealing, seal_credential
from tenancy.errors import Conflict, NotFound
from tenancy.ids import new_id
from tenancy.store import documents
from tenancy.store.documents import Stored, Table
from tenancy.values import whole

ApiKey = Annotated[str, Meta(min_length=1, max_length=256, pattern=whole("[!-~]+"))]


class CredentialDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a credential is no secret. It is never changed, only replaced."""

    account_id: UUID
    api_key: ApiKey
    test_order: bool = False


class NewCredential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`api_key`: the public half, as the broker names it. `envelope`: base64 of the API secret,
    encrypted to the key of GET /v1/enrolment-key (RSA-OAEP, SHA-1) as docs/api.md says. `sealing`:
    `sdk` for brokers whose own program has to see the secret, and for no other. `test_order`: to
    prove it, also place an order of the smallest size far from the market, and cancel it."""

    api_key: ApiKey
    envelope: Annotated[str, Meta(min_length=1, max_length=4096)]
    sealing: Sealing = "key"
    test_order: bool = False

    def __repr__(self) -> str:
        return f"NewCredential({self.api_key!r}, envelope=…)"


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
            " AND w.account_id = %s AND a.account_id = w.account_id"
            " RETURNING w.sealed, a.broker, w.created_at",
            (object_id, document.account_id),
        )
    ).fetchone()
    if row is None:
        raise Conflict(
            "what was sealed for this credential is gone: another was put in its place, or it was"
            " withdrawn; put the credential again"
        )
    for one in await _standing(by.conn, document.account_id):
        if one.facts["state"] == "proving":
            await changes.remove(by, CREDENTIAL, one)
    return {"sealed": row[0], "broker": row[1], "sealed_at": row[2]}


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
        facts=("broker", "state", "created_at", "revoked_at"),
        fixed=frozenset({"account_id", "api_key", "test_order"}),
        archived="revoked_at",
    ),
    check=_check,
    columns=_columns,
    danger=_danger,
)


async def _standing(conn: Any, account: UUID) -> list[Stored[CredentialDocument]]:
    """The live one and the one that is being proven, the older first."""
    return await documents.page(conn, CREDENTIAL.table, limit=2, where={"account_id": account})


async def end_credentials(by: By, account: UUID) -> bool:
    """Revoke the live one, and forget those that wait or are being proven; whether there was any."""
    gone = await by.conn.execute(
        "DELETE FROM waiting_credentials WHERE account_id = %s", (account,)
    )
    standing = await _standing(by.conn, account)
    for one in standing:
        await changes.remove(by, CREDENTIAL, one)
    return bool(standing) or gone.rowcount > 0


async def _get(call: Call) -> Result:
    account, _ = await _account(call)
    return Result(content=await view(call.conn, account))


async def _put(call: Call) -> Result:
    account, broker = await _account(call)
    wanted: NewCredential = call.body
    require_sealing(broker, wanted.sealing)
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
    document = CredentialDocument(
        account_id=account, api_key=wanted.api_key, test_order=wanted.test_order
    )
    _, made = await changes.create(by(call), CREDENTIAL, document, credential_id)
    if made.proposal is not None:
        return Result(
            status=202,
            content=Proposed(proposal_id=made.proposal),
            location=f"/v1/proposals/{made.proposal}",
        )
    return Result(content=await view(call.conn, account))


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
        summary="The account's credential, what is to take its place, and the broker's word on both.",
        action="accounts:read", handle=_get, answer=CredentialView, problems=("not_found",),
    ),
    Operation(
        name="put_credential", method="PUT", path=_ADDRESS, tag="Credentials",
        summary="Seal an API secret; it becomes the account's live credential once the broker has proven it.",
        action="credentials:write", handle=_put, body=NewCredential, answer=CredentialView,
        also={202: Proposed}, problems=("not_found", "conflict"),
    ),
    Operation(
        name="revoke_credential", method="DELETE", path=_ADDRESS, tag="Credentials",
        summary="Revoke the account's credential: nothing is signed with it any more.",
        action="credentials:write", handle=_revoke, status=204, problems=("not_found",),
    ),
)  # fmt: skip
