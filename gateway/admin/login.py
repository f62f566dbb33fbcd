"""Coming in: from what somebody claims to an open session. The order of the writes:

1. **Count** the guess as a failure, for the person and for the source address, and commit. Refused
   here, nothing is checked. *Crash after: one failure too many.*
2. **Check** the password, in a thread. Unknown, disabled and wrong are one answer after one hash; a
   known person's failure costs one INSERT more, which 50 guesses an address cannot tell from the hash.
3. Wrong: an audit record, on its own. Each guess that was checked has one; how many there can be is
   what step 1 bounds.
4. Right, and a second factor is enrolled: with a code it is checked now; else the count is taken
   back and a half-session of five minutes goes on at `second_factor`, whose guesses count as step 1's.
5. **Open** the session, in one transaction with the record of it, the used-up code and the
   person's failures forgotten. *Crash before the commit: nobody came in. After: a session nobody has.*

The tenant scope is made from whom the caller *claims* to be (tenancy/store/sign_in.py); before step 5
it writes records and counts, and reads nothing that goes back to the caller.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
import structlog

from gateway import metrics
from gateway.admin import login_records, passkeys, second_factor
from gateway.admin.operation import Call
from gateway.admin.refusals import (
    LoginFailed,
    LoginSlowed,
    SecondFactorFailed,
    SecondFactorRequired,
    SessionOver,
)
from tenancy.database import Connection
from tenancy.people import PersonID, normal_email
from tenancy.scope import TenantScope
from tenancy.sessions import Opened, Transport, limits_of
from tenancy.store import factors, sessions, throttles
from tenancy.store import people as people_store
from tenancy.store.sign_in import Found, FoundStep, find_login_step, find_person
from tenancy.throttle import LOCK_FROM, Verdict, address_subject, person_subject

log = structlog.get_logger()

Method = Literal["password", "totp", "recovery", "webauthn", "oidc"]


class CameIn(msgspec.Struct, frozen=True, kw_only=True):
    """Who is in, by which transport."""

    opened: Opened
    scope: TenantScope
    person_id: PersonID
    second_factor: bool
    transport: Transport


class Guess(msgspec.Struct, frozen=True, kw_only=True):
    """For whom and from where: what failures are counted for. `scope` None: nobody we know."""

    scope: TenantScope | None
    person: bytes
    address: bytes


async def by_password(
    call: Call, tenant: str, email: str, password: str, code: str | None, transport: Transport
) -> CameIn:
    """Raises LoginFailed, LoginSlowed, SecondFactorRequired, SecondFactorFailed, Overloaded."""
    address = _address(email)
    found = await find_person(call.services.database, tenant, address) if address else None
    guess = Guess(
        scope=found.scope if found else None,
        person=person_subject(tenant, address or email),
        address=address_subject(call.client),
    )
    await count(call, guess)
    may = found is not None and found.state == "active"
    kept = found.password_hash if found is not None and may else None
    if not await call.sign_in.passwords.verify(kept, password) or found is None:
        await failed(call, guess, "password", found.state if found else "unknown")
        raise LoginFailed("tenant, e-mail or password is wrong, or this person may not come in")
    await _hash_again(call, found, password)
    return await _after_the_first(call, guess, found.scope, found.person_id, code, transport)


async def _after_the_first(
    call: Call, guess: Guess, scope: TenantScope, person: PersonID, code: str | None,
    transport: Transport,
) -> CameIn:  # fmt: skip
    """The password was right."""
    async with call.services.database.tenant(scope) as conn:
        methods = await second_factor.methods(conn, person)
        if not methods:
            return await open_for(call, conn, guess, scope, person, "password", transport)
        if code is None:
            await throttles.refund(conn, person=guess.person, address=guess.address)
            half = await half_way(call, conn, guess.person, scope, person, transport)
        else:
            method = await second_factor.check_code(call, conn, scope, person, code)
            if method is not None:
                return await open_for(call, conn, guess, scope, person, method, transport)
    if code is None:
        raise SecondFactorRequired(half, methods)
    await failed(call, guess, "code", "active")
    raise SecondFactorFailed("this code does not fit, or it was used before")


async def half_way(
    call: Call, conn: Connection, subject: bytes, scope: TenantScope, person: PersonID,
    transport: Transport,
) -> str:  # fmt: skip
    """The token of a half-session, whose guesses count for `subject`."""
    metrics.LOGINS.labels("half_way").inc()
    return await sessions.begin_step(
        conn, scope, person, subject=subject, transport=transport, now=call.services.clock.now()
    )


async def by_code(call: Call, token: str, code: str) -> CameIn:
    """Go on with an app's or a recovery code. Raises SessionOver, LoginSlowed, SecondFactorFailed."""
    step, guess = await _going_on(call, token)
    async with call.services.database.tenant(step.scope) as conn:
        method = await second_factor.check_code(call, conn, step.scope, step.person_id, code)
        if method is not None and await sessions.end_step(conn, token):
            return await open_for(
                call, conn, guess, step.scope, step.person_id, method, step.transport
            )
    await failed(call, guess, "code", "active")
    raise SecondFactorFailed("this code does not fit, or it was used before")


async def challenge(call: Call, token: str) -> dict[str, Any]:
    """What the browser asks an authenticator; the answer comes to by_webauthn(). Raises SessionOver."""
    step = await _step(call, token)
    fresh = passkeys.new_challenge()
    async with call.services.database.tenant(step.scope) as conn:
        known = [
            one.credential_id
            for one in await factors.factors_of(conn, step.person_id)
            if one.credential_id is not None
        ]
        await sessions.put_challenge(conn, token, fresh)
    party = call.sign_in.relying_party
    return passkeys.authentication_options(party, challenge=fresh, known=known)


async def by_webauthn(call: Call, token: str, credential: dict[str, Any]) -> CameIn:
    """Go on with an authenticator's answer. Raises SessionOver, LoginSlowed, SecondFactorFailed."""
    step, guess = await _going_on(call, token)
    async with call.services.database.tenant(step.scope) as conn:
        # Taken in a transaction of its own: whatever comes of it, it is not answered twice.
        asked = await sessions.take_challenge(conn, token)
    async with call.services.database.tenant(step.scope) as conn:
        fits = asked is not None and await second_factor.check_credential(
            call, conn, step.person_id, credential, asked
        )
        if fits and await sessions.end_step(conn, token):
            return await open_for(
                call, conn, guess, step.scope, step.person_id, "webauthn", step.transport
            )
    await failed(call, guess, "webauthn", "active")
    raise SecondFactorFailed("the authenticator's answer does not fit, or it was used before")


async def open_for(
    call: Call, conn: Connection, guess: Guess | None, scope: TenantScope, person: PersonID,
    method: Method, transport: Transport, *, vouched: bool = False,
) -> CameIn:  # fmt: skip
    """Step 5, in the caller's transaction. `guess` None: nothing was counted. `vouched`: a provider
    says that it saw a second factor."""
    second = vouched or method not in ("password", "oidc")
    row = await (await conn.execute("SELECT settings::text FROM tenants")).fetchone()
    assert row is not None
    if guess is not None:
        await throttles.forgive(conn, person=guess.person, address=guess.address)
    now = call.services.clock.now()
    await people_store.join(conn, person, now)
    opened = await sessions.open_session(
        conn, scope, person, transport=transport, second_factor=second, client=call.client,
        user_agent=call.headers.get("user-agent", ""), limits=limits_of(row[0]), now=now,
    )  # fmt: skip
    facts = {"method": method, "session": str(opened.session_id), "second_factor": second}
    await login_records.record(call, conn, scope, "login", facts)
    metrics.LOGINS.labels("in").inc()
    return CameIn(
        opened=opened, scope=scope, person_id=person, second_factor=second, transport=transport
    )


async def count(call: Call, guess: Guess) -> None:
    """Step 1. Raises LoginSlowed."""
    now = call.services.clock.now()
    database = call.services.database
    async with database.tenant(guess.scope) if guess.scope else database.shared() as conn:
        verdict = await throttles.charge(conn, person=guess.person, address=guess.address, now=now)
    if verdict.kind != "allowed":
        _refuse(call, guess, verdict)


def _refuse(call: Call, guess: Guess, verdict: Verdict) -> None:
    assert verdict.until is not None
    metrics.LOGINS.labels(verdict.kind).inc()
    log.warning(
        "login_refused", outcome=verdict.kind, client=call.client, subject=guess.person.hex()[:12]
    )
    wait = (verdict.until - call.services.clock.now()).total_seconds()
    raise LoginSlowed(max(1, math.ceil(wait)))


async def failed(call: Call, guess: Guess, what: str, state: str) -> None:
    """Step 3: on record where the person exists, in the log and the metrics in any case."""
    metrics.LOGINS.labels(f"wrong_{what}").inc()
    person = guess.person.hex()[
        :12
    ]  # of a hash: an address that somebody mistyped is nobody's business
    log.warning("login_failed", what=what, client=call.client, subject=person)
    if guess.scope is None:
        return
    async with call.services.database.tenant(guess.scope) as conn:
        failures = await throttles.failures_of(conn, guess.person)
        facts = {"what": what, "state": state, "failures": failures}
        await login_records.record_claim(call, conn, guess.scope, "login_failed", facts)
        if failures >= LOCK_FROM:
            await login_records.record_claim(call, conn, guess.scope, "login_locked", {})


async def _going_on(call: Call, token: str) -> tuple[FoundStep, Guess]:
    step = await _step(call, token)
    guess = Guess(scope=step.scope, person=step.subject, address=address_subject(call.client))
    await count(call, guess)
    return step, guess


async def _step(call: Call, token: str) -> FoundStep:
    step = await find_login_step(call.services.database, token)
    if step is None or step.expires_at <= call.services.clock.now():
        raise SessionOver("this login is over: begin again with the password")
    return step


async def _hash_again(call: Call, found: Found, password: str) -> None:
    """A hash with yesterday's parameters becomes one with today's."""
    passwords = call.sign_in.passwords
    if found.password_hash is None or not passwords.outdated(found.password_hash):
        return
    kept = await passwords.hash(password)
    async with call.services.database.tenant(found.scope) as conn:
        await people_store.put_password(
            conn, found.scope, found.person_id, kept, call.services.clock.now()
        )


def _address(email: str) -> str:
    try:
        return normal_email(email)
    except ValueError:
        return ""
