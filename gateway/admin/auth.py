"""Who calls: a service key, compared in constant time, makes the tenant scope.

`Authorization: Bearer pck_<key id>_<secret>`. The key id is public and finds one row; the
secret has 256 random bits, so a plain SHA-256 of it is kept. An unknown id costs the same
comparison as a wrong secret and gets the same answer.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from starlette.requests import Request

from tenancy.database import Database
from tenancy.errors import PortcullisError
from tenancy.scope import Actor, TenantScope
from tenancy.values import TenantID

_BEARER = re.compile(r"[Bb]earer pck_([0-9a-f]{16})_([0-9A-Za-z_-]{43})")
_NOBODY = bytes(32)


class BadKey(PortcullisError):
    """No key, one that cannot be read, an unknown, revoked or wrong one: not said which."""

    code = "bad_key"


async def authenticated(request: Request, database: Database) -> TenantScope:
    """The scope of the key's tenant. Raises BadKey; Unavailable where nobody could be asked."""
    found = _BEARER.fullmatch(request.headers.get("authorization", ""))
    if found is None:
        raise BadKey("a service key is needed: Authorization: Bearer pck_…")
    key_id, secret = found.groups()
    async with database.shared() as conn:
        cursor = await conn.execute(
            "SELECT tenant_id, secret_sha256 FROM find_service_key(%b, NULL)", (key_id,)
        )
        row = await cursor.fetchone()
    tenant_id, expected = (row[0], bytes(row[1])) if row is not None else (None, _NOBODY)
    given = hashlib.sha256(secret.encode()).digest()
    if not hmac.compare_digest(given, expected) or tenant_id is None:
        raise BadKey("this service key is not valid")
    return TenantScope(TenantID(tenant_id), Actor("api", key_id))
