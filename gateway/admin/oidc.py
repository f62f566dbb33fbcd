"""Signing in at an identity provider: there and back again.

1. `login`: keep state (as a hash), nonce and PKCE verifier for ten minutes, tied to this browser
   by a cookie; send the browser to the provider.
2. `callback`: take the kept request up, once. *A replayed, foreign or late state ends here.*
3. Trade the code for an ID token and check it (gateway/admin/oidc_client.py).
4. Find the person: by (issuer, subject), or at their first time by an e-mail address that the
   provider verified, within the domains it was configured for. Nobody is made by signing in.
5. Open a session; or, where the person has a second factor of ours and the provider is not
   believed about its own, a half-session, which the page at / goes on with.

The answer of step 5 is a page, not a redirect: a SameSite=Strict cookie set on the way back from
another site is not sent with a redirect that the other site began, but is with what our page asks.
"""

from __future__ import annotations

import base64
import secrets
from datetime import timedelta
from typing import Annotated

import msgspec
import structlog
from msgspec import Meta

from gateway import metrics
from gateway.admin import login, login_records, second_factor
from gateway.admin.cookies import OIDC_COOKIE, no_oidc_cookie, oidc_cookie, session_cookie
from gateway.admin.oidc_client import Identity, Provider
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.refusals import ProviderFailed
from gateway.answers import Answer
from tenancy.database import Connection
from tenancy.errors import NotFound, Unavailable
from tenancy.people import PersonID, normal_email
from tenancy.scope import TenantScope
from tenancy.sessions import hashed
from tenancy.store import people as people_store
from tenancy.store.sign_in import find_tenant, person_scope
from tenancy.throttle import person_subject

log = structlog.get_logger()

TAG = "Sessions"
REQUEST_FOR = timedelta(minutes=10)
_PAGE = b"<!doctype html><title>Portcullis</title><p>Signed in. <a href='%s'>Go on</a>"


class CallbackQuery(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 6749, section 4.1.2; `iss`: RFC 9207. What else a provider adds is passed by."""

    state: Annotated[str, Meta(max_length=200)] = ""
    code: Annotated[str, Meta(max_length=4096)] = ""
    error: Annotated[str, Meta(max_length=200)] = ""
    iss: Annotated[str, Meta(max_length=500)] | None = None

    def __repr__(self) -> str:
        return "CallbackQuery(…)"


class Providers(msgspec.Struct, frozen=True, kw_only=True):
    """Names for /v1/oidc/{provider}/login."""

    items: list[str]


class _Kept(msgspec.Struct, frozen=True):
    nonce: str
    verifier: str

    def __repr__(self) -> str:
        return "_Kept(…)"


async def _list(call: Call) -> Result:
    return Result(content=Providers(items=sorted(call.sign_in.providers)))


async def _login(call: Call) -> Result:
    provider, scope = await _provider(call)
    state, nonce, verifier, browser = (_random() for _ in range(4))
    url = await provider.authorization_url(
        redirect_uri=_redirect_uri(call), state=state, nonce=nonce, verifier=verifier
    )
    now = call.services.clock.now()
    async with call.services.database.tenant(scope) as conn:
        await conn.execute("DELETE FROM oidc_requests WHERE expires_at < %s", (now,))
        await conn.execute(
            "INSERT INTO oidc_requests (state_sha256, tenant_id, provider, browser_sha256, nonce,"
            " code_verifier, expires_at) VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (
                hashed(state), scope.tenant_id, provider.settings.name, hashed(browser), nonce,
                verifier, now + REQUEST_FOR,
            ),
        )  # fmt: skip
    cookie = oidc_cookie(browser, int(REQUEST_FOR.total_seconds()))
    return Result(status=303, headers=(("location", url), cookie))


async def _callback(call: Call) -> Result:
    provider, scope = await _provider(call)
    try:
        kept = await _take_up(call, provider, scope)
        identity = await provider.identity(
            call.query.code, redirect_uri=_redirect_uri(call), verifier=kept.verifier,
            nonce=kept.nonce,
        )  # fmt: skip
        cookie, where = await _come_in(call, provider, scope, identity)
    except (ProviderFailed, Unavailable) as error:
        metrics.LOGINS.labels("oidc_failed").inc()
        log.warning(
            "oidc_failed", provider=provider.settings.name, client=call.client, error=str(error)
        )
        raise
    headers = [
        (name.encode(), value.encode())
        for name, value in (*cookie, no_oidc_cookie(), ("refresh", f"0; url={where}"))
    ]
    page = Answer(200, "signed_in", _PAGE % where.encode(), b"text/html; charset=utf-8",
                  tuple(headers))  # fmt: skip
    return Result(content=page)


async def _take_up(call: Call, provider: Provider, scope: TenantScope) -> _Kept:
    """Step 2. Raises ProviderFailed."""
    query: CallbackQuery = call.query
    async with call.services.database.tenant(scope) as conn:
        cursor = await conn.execute(
            "DELETE FROM oidc_requests WHERE state_sha256 = %s AND browser_sha256 = %s"
            " AND provider = %s RETURNING nonce, code_verifier, expires_at",
            (
                hashed(query.state), hashed(call.cookies.get(OIDC_COOKIE, "")),
                provider.settings.name,
            ),
        )  # fmt: skip
        row = await cursor.fetchone()
    if row is None or row[2] <= call.services.clock.now():
        raise ProviderFailed("this sign-in was not begun in this browser, or is over: begin again")
    if query.error or not query.code:
        raise ProviderFailed("the provider signed nobody in")
    if query.iss is not None and query.iss != provider.settings.issuer:
        raise ProviderFailed("the answer is another provider's")
    return _Kept(row[0], row[1])


async def _come_in(
    call: Call, provider: Provider, scope: TenantScope, identity: Identity
) -> tuple[tuple[tuple[str, str], ...], str]:
    """Steps 4 and 5: the cookie to set, and where the browser goes on."""
    async with call.services.database.tenant(scope) as conn:
        person = await _person(call, conn, provider, scope, identity)
        own = person_scope(scope, person)
        vouched = identity.mfa and provider.settings.second_factor == "provider"
        if vouched or not await second_factor.methods(conn, person):
            came = await login.open_for(
                call, conn, None, own, person, "oidc", "cookie", vouched=vouched
            )
            return (session_cookie(came.opened.token),), "/"
        subject = person_subject(provider.settings.tenant, await _email_of(conn, person))
        half = await login.half_way(call, conn, subject, own, person, "cookie")
        return (), f"/#half_session={half}"


async def _person(
    call: Call, conn: Connection, provider: Provider, scope: TenantScope, identity: Identity
) -> PersonID:
    """Raises ProviderFailed where it is nobody here."""
    person = await people_store.find_by_subject(conn, identity.issuer, identity.subject)
    if person is not None:
        return person
    if identity.email is None or not provider.speaks_for(identity.email):
        raise ProviderFailed("the provider gave no verified address of a domain that it speaks for")
    try:
        email = normal_email(identity.email)
    except ValueError:
        raise ProviderFailed("the provider's address cannot be read") from None
    person = await people_store.bind_subject(conn, email, identity.issuer, identity.subject)
    if person is None:
        raise ProviderFailed("nobody with this address was invited here")
    facts = {"issuer": identity.issuer}
    await login_records.record(call, conn, person_scope(scope, person), "provider_bound", facts)
    return person


async def _provider(call: Call) -> tuple[Provider, TenantScope]:
    """Raises NotFound for a name that is not configured, or whose tenant is not there."""
    provider = call.sign_in.providers.get(call.path["provider"])
    if provider is None:
        raise NotFound("there is no such identity provider")
    found = await find_tenant(call.services.database, provider.settings.tenant)
    if found is None:
        log.error("oidc_tenant_missing", provider=provider.settings.name)
        raise NotFound("there is no such identity provider")
    return provider, found[0]


async def _email_of(conn: Connection, person: PersonID) -> str:
    row = await (
        await conn.execute("SELECT email FROM people WHERE person_id = %s", (person,))
    ).fetchone()
    assert row is not None
    return str(row[0])


def _redirect_uri(call: Call) -> str:
    return f"{call.sign_in.base_url}/v1/oidc/{call.path['provider']}/callback"


def _random() -> str:
    """256 bits, of the characters that RFC 7636 allows in a verifier."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="list_oidc_providers", method="GET", path="/v1/oidc", tag=TAG, action=None,
        handle=_list, answer=Providers, summary="The identity providers that people sign in at.",
    ),
    Operation(
        name="begin_oidc", method="GET", path="/v1/oidc/{provider}/login", tag=TAG, action=None,
        handle=_login, status=303, problems=("not_found",),
        summary="Send the browser to an identity provider.",
    ),
    Operation(
        name="finish_oidc", method="GET", path="/v1/oidc/{provider}/callback", tag=TAG,
        action=None, handle=_callback, query=CallbackQuery, foreign_query=True, html=True,
        problems=("not_found", "oidc_failed"),
        summary="Where the identity provider sends the browser back to.",
    ),
)  # fmt: skip
