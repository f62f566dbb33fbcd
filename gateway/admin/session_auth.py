"""Whose session is this? A cookie or a bearer token makes the Principal of a person.

1. Find the session by the token's hash, and judge its life (tenancy/sessions.py).
2. Over a cookie, whatever is not a GET needs `Portcullis-CSRF` with the session's own token, which
   only a page of ours can have read. SameSite=Strict alone would hang on the browser.
3. A cookie's token that is due is replaced; the answer carries the new one. *Answer lost: the old
   token is good for another minute, then the person signs in again.*
4. A token that was replaced and comes back after that minute: the session ends, with a record.

Roles are read with the session, so what was taken away is gone with the next request. A person who
must show a second factor and has none yet has no action at all, only what leads to enrolling one.
"""

from __future__ import annotations

import hmac
import re
from datetime import datetime

import structlog
from starlette.requests import Request

from audit.inbox import Entry, append
from audit.record import Kind
from gateway import metrics
from gateway.admin.cookies import session_cookie, session_token
from gateway.admin.login_records import DOOR
from gateway.admin.operation import Principal, Services
from gateway.admin.refusals import CsrfFailed, SessionOver
from tenancy.people import needs_second_factor
from tenancy.roles import actions_of
from tenancy.sessions import Transport, judge
from tenancy.store import sessions
from tenancy.store.sign_in import FoundSession, find_session

log = structlog.get_logger()

CSRF_HEADER = "portcullis-csrf"
_BEARER = re.compile(r"[Bb]earer (pcs_[0-9A-Za-z_-]{43})")
_COOKIE = re.compile(r"pcs_[0-9A-Za-z_-]{43}")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

Headers = tuple[tuple[str, str], ...]

BEFORE_ENROLMENT = frozenset(
    {
        "get_me", "get_current_session", "end_current_session", "list_factors", "enrol_totp",
        "enrol_webauthn", "confirm_factor",
    }
)  # fmt: skip
"""What somebody may do who must have a second factor and has none yet."""


async def session_caller(request: Request, services: Services) -> tuple[Principal, Headers] | None:
    """The person, and headers that the answer must carry; None where no session is shown at all.

    Raises SessionOver, CsrfFailed, Unavailable.
    """
    shown = _shown(request)
    if shown is None:
        return None
    token, transport = shown
    found = await find_session(services.database, token)
    if found is None or found.times.transport != transport:
        raise SessionOver("this session is over: sign in again")
    headers = await _live(services, found, token, services.clock.now())
    if transport == "cookie" and request.method not in _SAFE:
        _check_csrf(request, found)
    return principal_of(found), headers


def principal_of(found: FoundSession) -> Principal:
    """What the session's person may do."""
    second = found.second_factor_at is not None
    must_enrol = needs_second_factor(found.roles) and not second
    return Principal(
        scope=found.scope,
        kind=found.kind,
        actions=frozenset() if must_enrol else actions_of(found.roles, found.kind),
        credential=f"session:{found.session_id}",
        person_id=found.person_id,
        session_id=str(found.session_id),
        second_factor=second,
        must_enrol=must_enrol,
    )


def _shown(request: Request) -> tuple[str, Transport] | None:
    """A bearer token that is there is the one that counts; a cookie is looked at where there is none."""
    authorization = request.headers.get("authorization")
    if authorization is not None:
        bearer = _BEARER.fullmatch(authorization)
        return (bearer[1], "bearer") if bearer is not None else None
    cookie = session_token(request.cookies)
    if cookie is None:
        return None
    if _COOKIE.fullmatch(cookie) is None:
        raise SessionOver("this session is over: sign in again")
    return cookie, "cookie"


async def _live(services: Services, found: FoundSession, token: str, now: datetime) -> Headers:
    """Note that it lives, or end it. Raises SessionOver."""
    life = judge(found.times, found.limits, now)
    if life == "live":
        return ()
    headers: Headers = ()
    async with services.database.tenant(found.scope) as conn:
        if life == "seen":
            await sessions.seen(conn, found.session_id, now)
        elif life == "rotate":
            fresh = await sessions.rotate(conn, found.session_id, token, now)
            headers = (session_cookie(fresh),) if fresh is not None else ()
        else:
            await sessions.end_session(conn, found.person_id, found.session_id)
            if life == "replayed":
                await append(conn, [(found.scope.tenant_id, _replayed(services, found))])
    if life == "replayed":
        metrics.LOGINS.labels("replayed").inc()
        log.warning("session_replayed", session=str(found.session_id))
    if life in ("expired", "replayed"):
        raise SessionOver("this session is over: sign in again")
    return headers


def _replayed(services: Services, found: FoundSession) -> Entry:
    return Entry(
        kind=Kind.LOGIN,
        ts_ns=services.clock.now_ns(),
        payload={
            "event": "session_replayed",
            "person": str(found.person_id),
            "session": str(found.session_id),
        },
        actor=DOOR,
        cls="admin",
    )


def _check_csrf(request: Request, found: FoundSession) -> None:
    given = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode(), found.csrf_token.encode()):
        raise CsrfFailed(
            "a change over a cookie needs Portcullis-CSRF with the session's token:"
            " GET /v1/sessions/current says it"
        )
