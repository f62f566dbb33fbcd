"""API secrets on their way in: encrypted where they are, sealed by the API, live when the broker has proven them.

The plain text leaves this process only as what the HSM's enrol token alone can open. Who enrols here
comes back when the credential signs, or with the broker's words why it does not:

1. Encrypt and send. *Crash before the answer: it may be sealed; `portcullis credential show` tells.*
2. Ask until it is live or refused. *Crash, or no patience left: a worker goes on proving it all the same.*
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from uuid import UUID

import msgspec

from fanout.brokers.sealing import Sealing
from hsm.enrol import encrypt_key, encrypt_secret
from ops.api_client import Api, Reply
from tenancy.errors import Conflict, Invalid, Unavailable
from tenancy.values import AccountID

AT_ONCE = 8
"""As many as the management listener has connections to PostgreSQL in a fresh installation."""
WAIT_S = 60.0
"""How long a proof may take: a broker that is away is asked again for minutes."""
LOOK_S = (0.1, 0.2, 0.3, 0.5, 1.0)


class CredentialRefused(Invalid):
    """The broker was asked, and the key is not taken: the text says why, in the broker's words."""

    code = "credential_refused"


class NotProvenYet(Unavailable):
    """It is sealed and being proven; no clear answer has come from the broker so far."""

    code = "credential_not_proven_yet"


class Patience:
    """For how long one waits for a proof: `wait_s` from the beginning, or from the last that came."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s
        self.renew()

    def renew(self) -> None:
        """A proof has come: the broker answers, and workers run."""
        self._deadline = asyncio.get_running_loop().time() + self.wait_s

    @property
    def is_over(self) -> bool:
        return asyncio.get_running_loop().time() >= self._deadline


class ApiSecret(msgspec.Struct, frozen=True):
    """An account's credential at its broker, in plain text. `api_key`: the public half."""

    account_id: AccountID
    api_key: str
    secret: bytes
    sealing: Sealing = "key"
    test_order: bool = False

    def __repr__(self) -> str:
        return f"ApiSecret({self.account_id}, {self.api_key!r}, secret=…)"


async def enrol(api: Api, wanted: ApiSecret, *, why: str = "", wait_s: float = WAIT_S) -> Reply:
    """Make it the account's live credential; the answer shows it live, or a proposal (202).

    `wait_s` 0: the answer shows what was sealed. Raises Refused, Unreachable; CredentialRefused,
    NotProvenYet; Conflict where somebody replaced or revoked it meanwhile.
    """
    reply = await _put(api, await _enrolment_key(api), wanted, why)
    if reply.proposal is not None or not wait_s:
        return reply
    live = await _live(api, wanted.account_id, _sealed_as(reply), Patience(wait_s))
    return msgspec.structs.replace(reply, content=live)


async def enrol_many(api: Api, wanted: Iterable[ApiSecret], *, wait_s: float = WAIT_S) -> None:
    """The same for many accounts, `AT_ONCE` at a time, all sealed before the first is waited for.

    `wait_s`: so long without a proof of any of them; thousands take their time. Some are in where one
    was refused. Raises the first of what enrol() raises, when no request is under way any more.
    """
    pem, asked = await _enrolment_key(api), list[tuple[AccountID, UUID]]()

    async def put(one: ApiSecret) -> None:
        reply = await _put(api, pem, one, "")
        if reply.proposal is None:
            asked.append((one.account_id, _sealed_as(reply)))

    await _each(wanted, put)
    patience = Patience(wait_s)

    async def wait(one: tuple[AccountID, UUID]) -> None:
        await _live(api, *one, patience)
        patience.renew()

    await _each(asked, wait)


async def _each(wanted: Iterable[Any], act: Callable[[Any], Awaitable[None]]) -> None:
    left = iter(wanted)

    async def some() -> None:
        for one in left:  # each takes the next: an iterator is shared safely between awaits
            await act(one)

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
    encrypt = encrypt_key if wanted.sealing == "key" else encrypt_secret
    body = {
        "api_key": wanted.api_key,
        "envelope": base64.b64encode(encrypt(pem, wanted.secret)).decode(),
        "sealing": wanted.sealing,
        "test_order": wanted.test_order,
    }
    return await api.ask("PUT", _address(wanted.account_id), body, why=why)


def _sealed_as(reply: Reply) -> UUID:
    return UUID(reply.content["next"]["credential_id"])


async def _live(
    api: Api, account: AccountID, credential: UUID, patience: Patience
) -> dict[str, Any]:
    """Its view once it signs."""
    pauses = list[float](LOOK_S)
    while True:
        seen: dict[str, Any] = await api.get(_address(account))
        if seen["credential_id"] == str(credential):
            return seen
        check_coming(seen["next"], credential)
        if patience.is_over:
            raise NotProvenYet(
                f"the credential of account {account} is not proven after {patience.wait_s:g} s: its"
                " broker gave no clear answer, or no worker runs; it is asked again by itself"
            )
        await asyncio.sleep(_next(pauses))


def check_coming(coming: dict[str, Any] | None, credential: UUID) -> None:
    """Is this one still on its way? Raises CredentialRefused, Conflict."""
    if coming is None or coming["credential_id"] != str(credential):
        raise Conflict("the credential was replaced or revoked while it was being proven")
    if coming["state"] == "refused":
        proof = coming["proof"]
        raise CredentialRefused(f"the key was not taken ({proof['code']}): {proof['words']}")


def _next(pauses: list[float]) -> float:
    return pauses.pop(0) if len(pauses) > 1 else pauses[0]


def _address(account: AccountID) -> str:
    return f"/v1/accounts/{account}/credential"
