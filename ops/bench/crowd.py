"""A tenant with a thousand accounts, enrolled in bulk: sealed one by one, written fifty a transaction.

What the set-up commands do one account at a time (ops/onboard.py), for who needs many at once. The
order is the same: key first, row after.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

import msgspec

from hsm.client import EnrollerClient
from hsm.enrol import encrypt_key
from ops.onboard import Onboarding
from ops.settings import Settings
from ops.trial.exchange import Exchange
from ops.trial.sender import Hook
from tenancy.database import Database
from tenancy.scope import Actor, TenantScope
from tenancy.store.accounts import create_account, put_credential
from tenancy.store.subscriptions import create_subscription
from tenancy.subscription import SubscriptionSettings
from tenancy.values import AccountID, StrategyID

A_TRANSACTION = 50
SEAL_TIMEOUT_S = 30.0
BALANCE = "1000000"


class Following(msgspec.Struct, frozen=True):
    """A strategy, its hook, and the accounts that follow it."""

    strategy: StrategyID
    hook: Hook
    accounts: tuple[AccountID, ...]


class Crowd(msgspec.Struct, frozen=True):
    """Everybody in the tenant."""

    scope: TenantScope
    accounts: tuple[AccountID, ...]


async def gather_crowd(
    onboard: Onboarding, settings: Settings, exchange: Exchange, *, accounts: int
) -> Crowd:
    """A tenant and its accounts at the exchange, each with a sealed key of its own."""
    scope = await onboard.tenant("Bench", Actor(kind="human", id="bench"))
    made: list[AccountID] = []
    async with EnrollerClient(settings.hsm.enroller_socket, timeout_s=SEAL_TIMEOUT_S) as enroller:
        database = Database(settings.database.admin, name="portcullis-bench", size=2)
        await database.open()
        try:
            pem = await enroller.public_key_pem()
            for numbers in _batches(range(accounts), A_TRANSACTION):
                made += await _some(scope, numbers, database, enroller, pem, exchange)
        finally:
            await database.close()
    return Crowd(scope, tuple(made))


async def _some(
    scope: TenantScope,
    numbers: Sequence[int],
    database: Database,
    enroller: EnrollerClient,
    pem: bytes,
    exchange: Exchange,
) -> list[AccountID]:
    async with database.tenant(scope) as conn:
        accounts = [
            await create_account(conn, scope, f"Client {n:04}", broker="gateio", currency="USDT")
            for n in numbers
        ]
    keys = [(f"key-{account.hex}", secrets.token_hex(32)) for account in accounts]
    sealed = await asyncio.gather(
        *(
            enroller.seal_key(scope.tenant_id, account, "gateio", encrypt_key(pem, s.encode()))
            for account, (_, s) in zip(accounts, keys, strict=True)
        )
    )
    async with database.tenant(scope) as conn:
        for account, (key, _), row in zip(accounts, keys, sealed, strict=True):
            await put_credential(conn, scope, account, broker="gateio", api_key=key, sealed=row)
    await exchange.accounts([exchange_account(key, secret) for key, secret in keys])
    return accounts


def exchange_account(key: str, secret: str) -> dict[str, str]:
    """What the simulator has to know of an account; rich enough for every run."""
    return {"key": key, "secret": secret, "balance": BALANCE, "leverage": "10"}


async def follow(
    onboard: Onboarding, settings: Settings, crowd: Crowd, name: str, accounts: Sequence[AccountID]
) -> Following:
    """A strategy that these accounts follow, each with the signal's own quantity."""
    strategy = await onboard.strategy(crowd.scope, name)
    hook = await onboard.hook(crowd.scope, strategy)
    database = Database(settings.database.admin, name="portcullis-bench", size=1)
    await database.open()
    try:
        async with database.tenant(crowd.scope) as conn:
            for place, account in enumerate(accounts):
                await create_subscription(
                    conn, crowd.scope, strategy, account,
                    settings=SubscriptionSettings(), priority=place,
                )  # fmt: skip
    finally:
        await database.close()
    return Following(strategy, hook, tuple(accounts))


def _batches(numbers: range, size: int) -> list[range]:
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]
