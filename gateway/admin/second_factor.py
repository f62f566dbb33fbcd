"""Is this the person's second factor? Each code and each challenge is taken once.

A TOTP secret is opened by the signer for this one comparison and is not kept. The signer away: nobody
gets past this step by code (Unavailable); recovery codes and WebAuthn need no signer.
"""

from __future__ import annotations

from typing import Any, Literal

from webauthn import base64url_to_bytes

from gateway.admin import passkeys, totp
from gateway.admin.operation import Call
from tenancy.database import Connection
from tenancy.people import PersonID
from tenancy.scope import TenantScope
from tenancy.secrecy import Plain
from tenancy.store import factors
from tenancy.store.factors import Factor

PURPOSE = "totp"


async def methods(conn: Connection, person: PersonID) -> list[str]:
    """What the person can show; empty: nothing is enrolled."""
    kinds: set[str] = {one.kind for one in await factors.factors_of(conn, person)}
    if kinds and await factors.codes_left(conn, person):
        kinds.add("recovery")
    return sorted(kinds)


async def check_code(
    call: Call, conn: Connection, scope: TenantScope, person: PersonID, code: str
) -> Literal["totp", "recovery"] | None:
    """Which factor the code is of, used up in this transaction; None for none."""
    code = code.strip()
    if not totp.is_code(code.replace(" ", "")):
        used = await factors.use_recovery(conn, person, totp.recovery_sha256(code))
        return "recovery" if used else None
    for one in await factors.factors_of(conn, person):
        if one.kind == "totp" and await check_totp(call, conn, scope, one, code.replace(" ", "")):
            return "totp"
    return None


async def check_totp(
    call: Call, conn: Connection, scope: TenantScope, one: Factor, code: str
) -> bool:
    """Is it this app's code of now, and was its step not used?"""
    step = await totp_step(call, scope, one, code)
    return step is not None and await factors.use_step(
        conn, one.factor_id, step, call.services.clock.now()
    )


async def totp_step(call: Call, scope: TenantScope, one: Factor, code: str) -> int | None:
    """The step that the code is of; None where it does not fit. Raises Unavailable, SealBroken."""
    assert one.sealed is not None
    secret = await call.services.signer.open_secret(
        one.sealed, tenant_id=scope.tenant_id, subject=str(one.factor_id)
    )
    text = Plain(secret).text()
    return totp.matching_step(text, code, call.services.clock.now(), after=one.last_step)


async def check_credential(
    call: Call, conn: Connection, person: PersonID, credential: dict[str, Any], challenge: bytes
) -> bool:
    """Did one of the person's authenticators sign the challenge?"""
    try:
        wanted = base64url_to_bytes(passkeys.credential_id_of(credential))
    except ValueError:
        return False
    for one in await factors.factors_of(conn, person):
        if one.credential_id != wanted or one.public_key is None:
            continue
        try:
            sign_count = passkeys.authenticated(
                call.sign_in.relying_party, credential, challenge=challenge,
                public_key=one.public_key, sign_count=one.sign_count,
            )  # fmt: skip
        except passkeys.NotVerified:
            return False
        return await factors.use_webauthn(
            conn, one.factor_id, one.sign_count, sign_count, call.services.clock.now()
        )
    return False
