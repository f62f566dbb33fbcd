"""One's own second factors: begin, confirm, list, remove; recovery codes.

A factor counts from its confirmation, which shows that the person has it. The first one ends every
other session that was opened without one. Once there is one, only a session that showed one changes
any: a stolen password alone does not add the thief's.

A TOTP secret is made here, encrypted to the enrol token at once, sealed by the enroller, and shown
in this one answer; afterwards only the signer opens it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin import login_records, passkeys, second_factor, totp
from gateway.admin.errors import Forbidden
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.refusals import SecondFactorFailed
from gateway.admin.sessions import person_of, session_of
from hsm.enrol import encrypt_secret
from tenancy.errors import Conflict, NotFound
from tenancy.ids import new_id
from tenancy.people import needs_second_factor
from tenancy.rules import Schema, one_given
from tenancy.store import documents, factors, sessions
from tenancy.store.factors import Factor
from tenancy.store.people import PEOPLE
from tenancy.values import PRINTABLE, whole

TAG = "Me"
PATH = "/v1/me/factors"


class Label(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the person calls it: "phone", "blue key"."""

    label: Annotated[str, Meta(max_length=100, pattern=whole(PRINTABLE + "*"))] = ""


class Confirmation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The app's code, or what navigator.credentials.create() gave."""

    code: Annotated[str, Meta(min_length=6, max_length=10)] | None = None
    credential: dict[str, Any] | None = None

    rules: ClassVar[Schema] = {"oneOf": one_given("code", "credential")}

    def __post_init__(self) -> None:
        if (self.code is None) == (self.credential is None):
            raise ValueError("one of code and credential is needed")

    def __repr__(self) -> str:
        return "Confirmation(…)"


class BegunTotp(msgspec.Struct, frozen=True, kw_only=True):
    """`secret` and `uri` (for a QR code) are shown in this answer only."""

    factor_id: UUID
    secret: str | None = None
    uri: str | None = None

    def __repr__(self) -> str:
        return f"BegunTotp({self.factor_id})"


class BegunWebauthn(msgspec.Struct, frozen=True, kw_only=True):
    """`options` for navigator.credentials.create(), in WebAuthn's JSON form."""

    factor_id: UUID
    options: dict[str, Any]


class FactorView(msgspec.Struct, frozen=True, kw_only=True):
    factor_id: UUID
    kind: str
    label: str
    created_at: datetime
    used_at: datetime | None


class Factors(msgspec.Struct, frozen=True, kw_only=True):
    items: list[FactorView]
    recovery_codes_left: int


class RecoveryCodes(msgspec.Struct, frozen=True, kw_only=True):
    """`codes` are shown in this answer only; each is good once. Older ones are void."""

    codes: list[str] | None = None

    def __repr__(self) -> str:
        return "RecoveryCodes(…)"


async def _list(call: Call) -> Result:
    return Result(content=await _factors(call))


async def _begin_totp(call: Call) -> Result:
    await _may_change(call)
    factor_id, secret = new_id(), totp.new_secret()
    key = await call.services.enroller.public_key_pem()
    sealed = await call.services.enroller.seal_secret(
        call.scope.tenant_id, str(factor_id), second_factor.PURPOSE,
        encrypt_secret(key, secret.encode()),
    )  # fmt: skip
    await factors.begin(
        call.conn, call.scope, person_of(call), factor_id, kind="totp", label=call.body.label,
        sealed=sealed, now=call.services.clock.now(),
    )  # fmt: skip
    person = (await documents.read(call.conn, PEOPLE, person_of(call))).document
    name = call.sign_in.relying_party.name
    uri = totp.provisioning_uri(secret, email=person.email, issuer=name)
    return Result(content=BegunTotp(factor_id=factor_id), once={"secret": secret, "uri": uri})


async def _begin_webauthn(call: Call) -> Result:
    await _may_change(call)
    factor_id, challenge = new_id(), passkeys.new_challenge()
    person = (await documents.read(call.conn, PEOPLE, person_of(call))).document
    known = [
        one.credential_id
        for one in await factors.factors_of(call.conn, person_of(call))
        if one.credential_id is not None
    ]
    await factors.begin(
        call.conn, call.scope, person_of(call), factor_id, kind="webauthn",
        label=call.body.label, challenge=challenge, now=call.services.clock.now(),
    )  # fmt: skip
    options = passkeys.registration_options(
        call.sign_in.relying_party, challenge=challenge,
        person_id=person_of(call).bytes, email=person.email, name=person.name, known=known,
    )  # fmt: skip
    return Result(content=BegunWebauthn(factor_id=factor_id, options=options))


async def _confirm(call: Call) -> Result:
    await _may_change(call)
    now = call.services.clock.now()
    begun = await factors.factor(call.conn, person_of(call), call.uuid("factor_id"))
    if (
        begun is None
        or begun.confirmed_at is not None
        or now >= begun.created_at + factors.BEGUN_FOR
    ):
        raise NotFound("there is no second factor that waits to be confirmed: begin again")
    first = not await factors.factors_of(call.conn, person_of(call))
    await _confirmed(call, begun)
    await sessions.second_factor_shown(call.conn, session_of(call), now)
    ended = 0
    if first:
        ended = await sessions.end_sessions(
            call.conn, person_of(call), but=session_of(call), without_second_factor=True
        )
    facts = {"factor": str(begun.factor_id), "kind": begun.kind, "ended": ended}
    await login_records.record(call, call.conn, call.scope, "factor_enrolled", facts)
    return Result(content=await _factors(call))


async def _confirmed(call: Call, begun: Factor) -> None:
    """Raises SecondFactorFailed, Conflict."""
    shown: Confirmation = call.body
    now = call.services.clock.now()
    if begun.kind == "totp" and shown.code is not None:
        step = await second_factor.totp_step(call, call.scope, begun, shown.code.replace(" ", ""))
        if step is None:
            raise SecondFactorFailed("this code does not fit: check the clock of the device")
        await factors.confirm_totp(call.conn, begun.factor_id, step, now)
    elif begun.kind == "webauthn" and shown.credential is not None:
        assert begun.challenge is not None
        party = call.sign_in.relying_party
        key = passkeys.registered(party, shown.credential, challenge=begun.challenge)
        await factors.confirm_webauthn(
            call.conn, begun.factor_id, credential_id=key.credential_id,
            public_key=key.public_key, sign_count=key.sign_count, now=now,
        )  # fmt: skip
    else:
        raise SecondFactorFailed(f"a factor of kind {begun.kind} is confirmed in another way")


async def _new_codes(call: Call) -> Result:
    await _may_change(call)
    if not await factors.factors_of(call.conn, person_of(call)):
        raise Conflict("recovery codes stand in for a second factor: enrol one first")
    codes = totp.new_recovery_codes()
    hashes = [totp.recovery_sha256(code) for code in codes]
    now = call.services.clock.now()
    await factors.put_recovery(call.conn, call.scope, person_of(call), hashes, now)
    await login_records.record(call, call.conn, call.scope, "recovery_codes_made", {})
    return Result(content=RecoveryCodes(), once={"codes": codes})


async def _remove(call: Call) -> Result:
    await _may_change(call)
    factor_id, own = call.uuid("factor_id"), await factors.factors_of(call.conn, person_of(call))
    person = (await documents.read(call.conn, PEOPLE, person_of(call), lock=True)).document
    if [one.factor_id for one in own] == [factor_id] and needs_second_factor(person.roles):
        raise Conflict("your roles need a second factor: enrol another one first")
    if not await factors.remove(call.conn, person_of(call), factor_id):
        raise NotFound("there is no such second factor of yours")
    facts = {"factor": str(factor_id)}
    await login_records.record(call, call.conn, call.scope, "factor_removed", facts)
    return Result()


async def _may_change(call: Call) -> None:
    """Raises Forbidden where a factor is enrolled and this session showed none."""
    if call.principal.second_factor:
        return
    if await factors.factors_of(call.conn, person_of(call)):
        raise Forbidden("sign in with your second factor to change second factors")


async def _factors(call: Call) -> Factors:
    rows = await factors.listed(call.conn, person_of(call))
    return Factors(
        items=[FactorView(**row) for row in rows],
        recovery_codes_left=await factors.codes_left(call.conn, person_of(call)),
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="list_factors", method="GET", path=PATH, tag=TAG, action="self", handle=_list,
        answer=Factors, summary="One's own second factors.",
    ),
    Operation(
        name="enrol_totp", method="POST", path=f"{PATH}/totp", tag=TAG, action="self",
        handle=_begin_totp, body=Label, status=201, answer=BegunTotp,
        shows_once=("secret", "uri"), problems=("conflict",),
        summary="Begin with an authenticator app; its first code confirms it.",
    ),
    Operation(
        name="enrol_webauthn", method="POST", path=f"{PATH}/webauthn", tag=TAG, action="self",
        handle=_begin_webauthn, body=Label, status=201, answer=BegunWebauthn,
        problems=("conflict",), summary="Begin with a security key or passkey.",
    ),
    Operation(
        name="confirm_factor", method="POST", path=f"{PATH}/{{factor_id}}/confirm", tag=TAG,
        action="self", handle=_confirm, body=Confirmation, answer=Factors,
        problems=("not_found", "second_factor_failed", "conflict"),
        summary="Show that one has it: from now on it is a second factor.",
    ),
    Operation(
        name="remove_factor", method="DELETE", path=f"{PATH}/{{factor_id}}", tag=TAG,
        action="self", handle=_remove, status=204, problems=("not_found", "conflict"),
        summary="Remove a second factor; with the last one the recovery codes go.",
    ),
    Operation(
        name="make_recovery_codes", method="POST", path="/v1/me/recovery-codes", tag=TAG,
        action="self", handle=_new_codes, status=201, answer=RecoveryCodes, shows_once=("codes",),
        problems=("conflict",), summary="Ten new recovery codes in place of all older ones.",
    ),
)  # fmt: skip
