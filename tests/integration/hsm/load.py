"""Many callers at the signer at once, each answer compared with the plain secret's own HMAC.

And a supervisor that is the product's own, so that a daemon which ends is started again, or is not,
by the rules that hold in production.
"""

from __future__ import annotations

import asyncio
import hmac
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from hsm import ceremony
from hsm.client import SignerClient
from hsm.enrol import encrypt_key
from hsm.policy import Request, text_to_sign
from ops.probe import accepts
from ops.supervisor import Child, Spec, python_child
from tenancy.errors import PortcullisError
from tests.fixtures.softhsm import SoftHSM

PATH = "/api/v4/futures/usdt/orders"
CALLERS = 64


class Account(NamedTuple):
    tenant_id: UUID
    account_id: UUID
    secret: bytes
    sealed: bytes


async def enrolled(vault: SoftHSM, tenants: int, accounts: int) -> list[Account]:
    """So many accounts of each of so many tenants, through the enroller, which runs."""
    made = []
    async with vault.enroller() as enroller:
        pem = await enroller.public_key_pem()
        for _ in range(tenants):
            tenant = uuid4()
            await asyncio.to_thread(ceremony.create_tenant_keys, vault.settings, tenant)
            for _ in range(accounts):
                account, secret = uuid4(), uuid4().hex.encode()
                row = await enroller.seal_key(tenant, account, "gateio", encrypt_key(pem, secret))
                made.append(Account(tenant, account, secret, row))
    return made


async def until(holds: Callable[[], Awaitable[bool]], every_s: float = 0.02) -> None:
    """Return when it holds; the caller sets the limit."""
    while not await holds():  # noqa: ASYNC110  what is waited for is in another process
        await asyncio.sleep(every_s)


class Load:
    """`right` signatures so far, `failed` requests by code, `wrong` ones: the test is over then."""

    def __init__(self, signer: SignerClient, accounts: list[Account], callers: int) -> None:
        self._signer = signer
        self._accounts = accounts
        self._callers = callers
        self._stop = False
        self._more = asyncio.Event()
        self.right = 0
        self.wrong: list[str] = []
        self.failed: Counter[str] = Counter()
        self.slowest_s = 0.0

    async def some_more(self, count: int = 300, within_s: float = 30.0) -> None:
        """Return when so many more were signed, rightly. Raises TimeoutError."""
        goal = self.right + count
        async with asyncio.timeout(within_s):
            while self.right < goal:
                self._more.clear()
                await self._more.wait()

    async def _call(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._stop:
            account = chance.choice(self._accounts)
            request: dict[str, Any] = {
                "scheme": "gateio", "method": "POST", "path": PATH, "query": "",
                "body": str(chance.random()).encode(), "timestamp": int(time.time()),
            }  # fmt: skip
            expected = hmac.digest(account.secret, text_to_sign(Request(**request)), "sha512").hex()
            began = time.monotonic()
            try:
                got = await self._signer.sign_request(
                    account.sealed, tenant_id=account.tenant_id, account_id=account.account_id,
                    **request,
                )  # fmt: skip
            except PortcullisError as error:
                self.failed[error.code] += 1
                await asyncio.sleep(0.01)
                continue
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            if got != expected:
                self.wrong.append(f"{account.account_id}: {got}")
            self.right += 1
            self._more.set()


@asynccontextmanager
async def load(
    signer: SignerClient, accounts: list[Account], callers: int = CALLERS
) -> AsyncIterator[Load]:
    """Callers at work for the length of a `with` block; none of their answers was wrong."""
    running = Load(signer, accounts, callers)
    tasks = [asyncio.create_task(running._call(seed)) for seed in range(callers)]
    try:
        yield running
    finally:
        running._stop = True
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        assert running.wrong == []


@asynccontextmanager
async def kept_up(vault: SoftHSM, name: str = "signer", **more: object) -> AsyncIterator[Child]:
    """The daemon under the product's own supervision, ready."""
    settings = vault.config(name, softhsm_conf=f'"{vault.settings.softhsm_conf}"', **more)
    spec = Spec(
        name=name,
        stage=0,
        command=lambda: python_child(f"hsm.{name}", "--config", str(settings)),
        ready=lambda: accepts(vault.socket(name)),
        log=vault.directory / f"{name}.log",
        cwd=vault.root,
    )
    child = Child(spec, lambda: None)
    child.start()
    try:
        async with asyncio.timeout(20):
            await until(child.is_ready)
        yield child
    finally:
        await child.stop()
