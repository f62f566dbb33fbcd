"""Who calls: a service key, a client certificate or a session makes the Principal; nothing else does.

`Authorization: Bearer pck_<key id>_<secret>`: the key id is public and finds one row; the secret
has 256 random bits, so a plain SHA-256 of it is kept. An unknown id costs the same comparison as a
wrong secret, and an expired key or a strange source address gets the same answer.

A person's session, by cookie or bearer token, is gateway/admin/session_auth.py's matter. Where neither
is shown, a client certificate that TLS has checked is looked up by its SHA-256.

An operator who was let into a customer's tenant names it in `Portcullis-Tenant` and sees it as its
own for as long as the grant lasts (gateway/admin/access.py).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from ipaddress import ip_address, ip_network
from typing import Any
from uuid import UUID

from starlette.requests import Request

from gateway.admin.access import let_in
from gateway.admin.client_certificates import client_certificate_sha256
from gateway.admin.errors import BadKey, BadRequest
from gateway.admin.operation import Principal, Services
from gateway.admin.session_auth import session_caller
from tenancy.roles import scopes_of
from tenancy.scope import Actor, TenantScope
from tenancy.values import TenantID

_BEARER = re.compile(r"[Bb]earer pck_([0-9a-f]{16})_([0-9A-Za-z_-]{43})")
_NOBODY = bytes(32)
_FIND = """
SELECT key_id, tenant_id, tenant_kind, secret_sha256, scopes, expires_at, sources
FROM find_service_key(%b, %b)"""

Headers = tuple[tuple[str, str], ...]


def client_of(request: Request) -> str:
    """The address the request came from; empty behind a Unix socket."""
    return request.client.host if request.client is not None else ""


async def authenticated(request: Request, services: Services) -> tuple[Principal, Headers]:
    """Who calls, and headers that the answer must carry. Raises BadKey; Unavailable, BadRequest."""
    principal, headers = await _caller(request, services)
    wanted = request.headers.get("portcullis-tenant")
    if wanted is None:
        return principal, headers
    try:
        tenant = TenantID(UUID(wanted))
    except ValueError:
        raise BadRequest("Portcullis-Tenant: a tenant's id, a UUID, is needed") from None
    if tenant == principal.scope.tenant_id:
        return principal, headers
    return await let_in(principal, tenant, services), headers


async def _caller(request: Request, services: Services) -> tuple[Principal, Headers]:
    found = _BEARER.fullmatch(request.headers.get("authorization", ""))
    if found is not None:
        return await _key(services, found[1], found[2], client_of(request)), ()
    session = await session_caller(request, services)
    if session is not None:
        return session
    certificate = client_certificate_sha256(request.scope)
    if certificate is not None and "authorization" not in request.headers:
        return await _certificate(services, certificate, client_of(request)), ()
    raise BadKey("a service key or a session is needed: Authorization: Bearer pck_…")


async def _certificate(services: Services, certificate: bytes, client: str) -> Principal:
    """TLS has checked that the client holds its key and that our CA signed it; whose it is, a row says."""
    row = await _find(services, None, certificate)
    if row is None:
        raise BadKey("this client certificate is not valid here")
    return _principal_of(row, services, client)


async def _key(services: Services, key_id: str, secret: str, client: str) -> Principal:
    row = await _find(services, key_id, None)
    expected = bytes(row[3]) if row is not None else _NOBODY
    given = hashlib.sha256(secret.encode()).digest()
    if not hmac.compare_digest(given, expected) or row is None:
        raise BadKey("this service key is not valid")
    return _principal_of(row, services, client)


async def _find(services: Services, key_id: str | None, certificate: bytes | None) -> Any:
    async with services.database.shared() as conn:
        return await (await conn.execute(_FIND, (key_id, certificate))).fetchone()


def _principal_of(row: Any, services: Services, client: str) -> Principal:
    key_id, tenant_id, kind, _, scopes, expires_at, sources = row
    if expires_at is not None and expires_at <= services.clock.now():
        raise BadKey("this service key is not valid")
    if sources and not _comes_from(client, sources):
        raise BadKey("this service key is not valid")
    return Principal(
        scope=TenantScope(TenantID(tenant_id), Actor("api", key_id)),
        kind=kind,
        actions=frozenset(scopes) & scopes_of(kind),
        credential=f"key:{key_id}",
    )


def _comes_from(client: str, sources: list[Any]) -> bool:
    try:
        address = ip_address(client)
    except ValueError:
        return False  # behind a Unix socket the address is not known, so nothing is allowed by it
    return any(address in ip_network(str(source)) for source in sources)
