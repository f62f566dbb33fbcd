"""Oneself: who am I, my name, my password."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin import changes, login, login_records
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.people import PERSON
from gateway.admin.refusals import LoginFailed
from gateway.admin.sessions import person_of, session_of
from tenancy.errors import Conflict
from tenancy.passwords import check_password
from tenancy.people import Person, PersonID
from tenancy.store import documents, factors, sessions, throttles
from tenancy.store import people as people_store
from tenancy.store.documents import Stored
from tenancy.store.people import PEOPLE
from tenancy.throttle import address_subject, person_subject
from tenancy.values import Name

TAG = "Me"


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """The person signed in. `recovery_codes_left` of ten."""

    person_id: UUID
    tenant_id: UUID
    tenant: str
    email: str
    name: str
    roles: tuple[str, ...]
    actions: list[str]
    second_factor: bool
    must_enrol: bool
    recovery_codes_left: int


class OwnName(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name


class NewPassword(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """12 to 256 characters. All of one's other sessions end."""

    current_password: Annotated[str, Meta(min_length=1, max_length=256)]
    password: Annotated[str, Meta(min_length=1, max_length=1024)]

    def __repr__(self) -> str:
        return "NewPassword(…)"


async def _get(call: Call) -> Result:
    stored = await _stored(call)
    return Result(
        content=Me(
            person_id=person_of(call),
            tenant_id=call.scope.tenant_id,
            tenant=await _tenant_name(call),
            email=stored.document.email,
            name=stored.document.name,
            roles=stored.document.roles,
            actions=sorted(call.principal.actions),
            second_factor=call.principal.second_factor,
            must_enrol=call.principal.must_enrol,
            recovery_codes_left=await factors.codes_left(call.conn, person_of(call)),
        ),
        revision=stored.revision,
    )


async def _rename(call: Call) -> Result:
    stored = await _stored(call, lock=True)
    document = msgspec.structs.replace(stored.document, name=call.body.name)
    await changes.change(changes.by(call), PERSON, stored, document)
    return await _get(call)


async def _put_password(call: Call) -> Result:
    """As a login guesses, so does whoever sits at somebody's open session: it counts the same."""
    wanted: NewPassword = call.body
    stored, tenant = await _stored(call), await _tenant_name(call)
    person, passwords = person_of(call), call.sign_in.passwords
    await _alone(call, person)
    kept = await people_store.password_of(call.conn, person)
    if kept is None:
        raise Conflict("there is no password to change: ask an administrator for an invitation")
    guess = login.Guess(
        scope=call.scope,
        person=person_subject(tenant, stored.document.email),
        address=address_subject(call.client),
    )
    await login.count(call, guess)
    if not await passwords.verify(kept, wanted.current_password):
        await login.failed(call, guess, "password", "active")
        raise LoginFailed("the current password is wrong")
    await throttles.forgive(call.conn, person=guess.person, address=guess.address)
    names = (tenant, stored.document.email, stored.document.name)
    fresh = await passwords.hash(check_password(wanted.password, names=names))
    now = call.services.clock.now()
    await people_store.put_password(call.conn, call.scope, person, fresh, now)
    ended = await sessions.end_sessions(call.conn, person, but=session_of(call))
    await login_records.record(call, call.conn, call.scope, "password_changed", {"ended": ended})
    return Result()


async def _alone(call: Call, person: PersonID) -> None:
    """One change at a time, and the others do not wait: each holds a connection and needs a second
    one to count its guess, so a few at once could take all there are. Raises Conflict."""
    cursor = await call.conn.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (f"password:{person}",)
    )
    if await cursor.fetchone() != (True,):
        raise Conflict("another change of this password is under way")


async def _stored(call: Call, *, lock: bool = False) -> Stored[Person]:
    return await documents.read(call.conn, PEOPLE, person_of(call), lock=lock)


async def _tenant_name(call: Call) -> str:
    row = await (await call.conn.execute("SELECT name FROM tenants")).fetchone()
    assert row is not None
    return str(row[0])


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="get_me", method="GET", path="/v1/me", tag=TAG, action="self", handle=_get, answer=Me,
        summary="Who is signed in, and what they may do.",
    ),
    Operation(
        name="change_me", method="PATCH", path="/v1/me", tag=TAG, action="self", handle=_rename,
        body=OwnName, answer=Me, summary="Change one's own name.",
    ),
    # PUT, not POST: nothing of a password is kept for repeats, not even a digest of the request.
    Operation(
        name="put_password", method="PUT", path="/v1/me/password", tag=TAG, action="self",
        handle=_put_password, body=NewPassword, status=204,
        summary="Change one's own password; one's other sessions end.",
        problems=("login_failed", "login_slowed", "conflict", "overloaded"),
    ),
)  # fmt: skip
