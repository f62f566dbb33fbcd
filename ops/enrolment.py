"""API secrets on their way in: encrypted where they are, sealed by the enroller, by the API.

The plain text leaves this process only as what the HSM's enrol token alone can open.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable

import msgspec

from hsm.enrol import encrypt_key
from ops.api_client import Api, Reply
from tenancy.values import AccountID

AT_ONCE = 8
"""As many as the management listener has connections to PostgreSQL in a fresh installation."""


class ApiSecret(msgspec.Struct, frozen=True):
    """An account's credential at its broker, in plain text. `api_key`: the public half."""

    account_id: AccountID
    api_key: str
    secret: bytes

    def __repr__(self) -> str:
        return f"ApiSecret({self.account_id}, {self.api_key!r}, secret=…)"


async def enrol(api: Api, wanted: ApiSecret, *, why: str = "") -> Reply:
    """Make it the account's live credential. Raises Refused, Unreachable."""
    return await _put(api, await _enrolment_key(api), wanted, why)


async def enrol_many(api: Api, wanted: Iterable[ApiSecret]) -> None:
    """The same for many accounts, `AT_ONCE` at a time; some are in where one was refused.

    Raises the first of Refused, Unreachable, when no request is under way any more.
    """
    pem, left = await _enrolment_key(api), iter(wanted)

    async def some() -> None:
        for one in left:  # each takes the next: an iterator is shared safely between awaits
            await _put(api, pem, one, "")

    tasks = [asyncio.create_task(some()) for _ in range(AT_ONCE)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _enrolment_key(api: Api) -> bytes:
    pem: str = (await api.get("/v1/enrolment-key"))["public_key_pem"]
    return pem.encode()


async def _put(api: Api, pem: bytes, wanted: ApiSecret, why: str) -> Reply:
    envelope = base64.b64encode(encrypt_key(pem, wanted.secret)).decode()
    body = {"api_key": wanted.api_key, "envelope": envelope}
    return await api.ask("PUT", f"/v1/accounts/{wanted.account_id}/credential", body, why=why)
