"""Sessions as a resource: sign in, go on with a second factor, look, sign out, end the others."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin import login, login_records
from gateway.admin.cookies import no_session_cookie, session_cookie
from gateway.admin.errors import Forbidden
from gateway.admin.login import CameIn
from gateway.admin.operation import Call, Operation, Result
from tenancy.errors import NotFound
from tenancy.people import PersonID
from tenancy.rules import Schema, one_given
from tenancy.sessions import SessionLimits, limits_of
from tenancy.store import sessions
from tenancy.values import Name

TAG = "Sessions"
_TOKEN = Meta(min_length=1, max_length=100)


class LogIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`transport`: "cookie" for browsers, "bearer" for the command line. `code`: of an app, or a
    recovery code."""

    tenant: Name
    email: Annotated[str, Meta(min_length=1, max_length=254)]
    password: Annotated[str, Meta(min_length=1, max_length=256)]
    code: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    transport: Literal["cookie", "bearer"] = "cookie"

    def __repr__(self) -> str:
        return "LogIn(…)"


class SecondFactor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The half-session, and either a code or what navigator.credentials.get() gave."""

    half_session: Annotated[str, _TOKEN]
    code: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    credential: dict[str, Any] | None = None

    rules: ClassVar[Schema] = {"oneOf": one_given("code", "credential")}

    def __post_init__(self) -> None:
        if (self.code is None) == (self.credential is None):
            raise ValueError("one of code and credential is needed")

    def __repr__(self) -> str:
        return "SecondFactor(…)"


class HalfSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    half_session: Annotated[str, _TOKEN]

    def __repr__(self) -> str:
        return "HalfSession(…)"


class SignedIn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`csrf_token` goes into the header Portcullis-CSRF of every change that a cookie's holder makes.
    `token` is there for a bearer session alone, and nowhere else again."""

    session_id: UUID
    person_id: UUID
    csrf_token: str
    expires_at: datetime
    second_factor: bool
    token: str | None = None

    def __repr__(self) -> str:
        return f"SignedIn({self.session_id})"


class CurrentSession(msgspec.Struct, frozen=True, kw_only=True):
    """`must_enrol`: nothing is allowed but enrolling a second factor."""

    session_id: UUID
    person_id: UUID
    tenant_id: UUID
    csrf_token: str
    expires_at: datetime
    second_factor: bool
    must_enrol: bool
    actions: list[str]

    def __repr__(self) -> str:
        return f"CurrentSession({self.session_id})"


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """One of one's own sessions."""

    session_id: UUID
    transport: str
    created_at: datetime
    seen_at: datetime
    second_factor: bool
    client: str
    user_agent: str
    current: bool


class Sessions(msgspec.Struct, frozen=True, kw_only=True):
    items: list[SessionView]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How many sessions were ended."""

    ended: int


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """For navigator.credentials.get() or .create(), in WebAuthn's JSON form."""

    options: dict[str, Any]


def person_of(call: Call) -> PersonID:
    """The person who calls. Raises Forbidden: a service key is nobody, and has no session."""
    if call.principal.person_id is None or call.principal.home is not None:
        raise Forbidden("this is for people signed in to their own tenant")
    return PersonID(call.principal.person_id)


def session_of(call: Call) -> UUID:
    """The session in which the person calls. Raises Forbidden."""
    person_of(call)
    return UUID(call.principal.session_id)


async def tenant_limits(call: Call) -> SessionLimits:
    row = await (await call.conn.execute("SELECT settings::text FROM tenants")).fetchone()
    assert row is not None
    return limits_of(row[0])


def signed_in(came: CameIn) -> Result:
    """The answer that opens a session: a cookie, or a token where one was asked for."""
    bearer = came.transport == "bearer"
    content = SignedIn(
        session_id=came.opened.session_id,
        person_id=came.person_id,
        csrf_token=came.opened.csrf_token,
        expires_at=came.opened.expires_at,
        second_factor=came.second_factor,
        token=came.opened.token if bearer else None,
    )
    headers = () if bearer else (session_cookie(came.opened.token),)
    return Result(content=content, headers=headers)


async def _log_in(call: Call) -> Result:
    asked: LogIn = call.body
    came = await login.by_password(
        call, asked.tenant, asked.email, asked.password, asked.code, asked.transport
    )
    return signed_in(came)


async def _second_factor(call: Call) -> Result:
    shown: SecondFactor = call.body
    if shown.code is not None:
        return signed_in(await login.by_code(call, shown.half_session, shown.code))
    assert shown.credential is not None
    return signed_in(await login.by_webauthn(call, shown.half_session, shown.credential))


async def _challenge(call: Call) -> Result:
    return Result(content=Challenge(options=await login.challenge(call, call.body.half_session)))


async def _current(call: Call) -> Result:
    session = session_of(call)
    row = await (
        await call.conn.execute(
            "SELECT csrf_token, created_at FROM sessions WHERE session_id = %s", (session,)
        )
    ).fetchone()
    if row is None:
        raise NotFound("this session has just ended")
    limits = await tenant_limits(call)
    return Result(
        content=CurrentSession(
            session_id=session,
            person_id=person_of(call),
            tenant_id=call.scope.tenant_id,
            csrf_token=row[0],
            expires_at=row[1] + limits.absolute,
            second_factor=call.principal.second_factor,
            must_enrol=call.principal.must_enrol,
            actions=sorted(call.principal.actions),
        )
    )


async def _list(call: Call) -> Result:
    own = session_of(call)
    rows = await sessions.sessions_of(
        call.conn, person_of(call), await tenant_limits(call), call.services.clock.now()
    )
    views = [
        SessionView(
            session_id=row["session_id"], transport=row["transport"], created_at=row["created_at"],
            seen_at=row["seen_at"], second_factor=row["second_factor_at"] is not None,
            client=row["client"], user_agent=row["user_agent"], current=row["session_id"] == own,
        )
        for row in rows
    ]  # fmt: skip
    return Result(content=Sessions(items=views))


async def _log_out(call: Call) -> Result:
    session = session_of(call)
    await sessions.end_session(call.conn, person_of(call), session)
    await login_records.record(call, call.conn, call.scope, "logout", {"session": str(session)})
    return Result(headers=(no_session_cookie(),))


async def _end(call: Call) -> Result:
    session = call.uuid("session_id")
    if not await sessions.end_session(call.conn, person_of(call), session):
        raise NotFound("there is no such session of yours")
    facts = {"session": str(session)}
    await login_records.record(call, call.conn, call.scope, "session_ended", facts)
    return Result()


async def _end_others(call: Call) -> Result:
    ended = await sessions.end_sessions(call.conn, person_of(call), but=session_of(call))
    await login_records.record(call, call.conn, call.scope, "sessions_ended", {"ended": ended})
    return Result(content=Ended(ended=ended))


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="log_in", method="POST", path="/v1/sessions", tag=TAG, action=None, handle=_log_in,
        summary="Sign in with a password, and a code where a second factor is enrolled.",
        body=LogIn, answer=SignedIn,
        problems=("login_failed", "login_slowed", "second_factor_required", "second_factor_failed",
                  "overloaded"),
    ),
    Operation(
        name="show_second_factor", method="POST", path="/v1/sessions/second-factor", tag=TAG,
        action=None, handle=_second_factor, body=SecondFactor, answer=SignedIn,
        summary="Go on with a code or an authenticator after the password was right.",
        problems=("session_over", "login_slowed", "second_factor_failed"),
    ),
    Operation(
        name="ask_webauthn", method="POST", path="/v1/sessions/webauthn/challenge", tag=TAG,
        action=None, handle=_challenge, body=HalfSession, answer=Challenge,
        summary="What the browser asks an authenticator in order to sign in.",
        problems=("session_over",),
    ),
    Operation(
        name="list_sessions", method="GET", path="/v1/sessions", tag=TAG, action="self",
        handle=_list, answer=Sessions, summary="One's own sessions, newest first.",
    ),
    Operation(
        name="end_other_sessions", method="DELETE", path="/v1/sessions", tag=TAG, action="self",
        handle=_end_others, answer=Ended, summary="End all of one's own sessions but this one.",
    ),
    Operation(
        name="get_current_session", method="GET", path="/v1/sessions/current", tag=TAG,
        action="self", handle=_current, answer=CurrentSession,
        summary="This session: its CSRF token, and what it may do.",
    ),
    Operation(
        name="end_current_session", method="DELETE", path="/v1/sessions/current", tag=TAG,
        action="self", handle=_log_out, status=204, summary="Sign out.",
    ),
    Operation(
        name="end_session", method="DELETE", path="/v1/sessions/{session_id}", tag=TAG,
        action="self", handle=_end, status=204, summary="End one of one's own sessions.",
        problems=("not_found",),
    ),
)  # fmt: skip
