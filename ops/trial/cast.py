"""A tenant with a strategy and many accounts, each with a sizing of its own."""

from __future__ import annotations

import secrets
from decimal import Decimal

import msgspec

from ops.onboard import Onboarding
from ops.trial.exchange import Exchange
from ops.trial.sender import Hook
from tenancy.scope import Actor, TenantScope
from tenancy.subscription import SubscriptionSettings
from tenancy.values import AccountID, StrategyID

SIZINGS = (
    ("the signal's quantity", SubscriptionSettings()),
    (
        "half of the signal's quantity",
        SubscriptionSettings(override_quantity=Decimal("0.5"), override_quantity_type="multiplier"),
    ),
    (
        "three times the signal's quantity",
        SubscriptionSettings(
            override_quantity=Decimal(3),
            override_quantity_type="multiplier",
        ),
    ),
    (
        "250 USDT a trade",
        SubscriptionSettings(
            use_signal_quantity=False,
            override_quantity=Decimal(250),
            override_quantity_type="dollar_amount",
        ),
    ),
    (
        "2.5 % of equity",
        SubscriptionSettings(
            use_signal_quantity=False,
            override_quantity=Decimal("2.5"),
            override_quantity_type="percent_of_equity",
        ),
    ),
    (
        "a fixed 7 contracts",
        SubscriptionSettings(use_signal_quantity=False, override_quantity=Decimal(7)),
    ),
    # One that shows a reason instead of an order: a tenth of a percent of a small account.
    (
        "0.01 % of equity",
        SubscriptionSettings(
            use_signal_quantity=False,
            override_quantity=Decimal("0.01"),
            override_quantity_type="percent_of_equity",
        ),
    ),
)


class Member(msgspec.Struct, frozen=True):
    """One account of the cast."""

    account_id: AccountID
    name: str
    broker: str
    sizing: str


class Cast(msgspec.Struct, frozen=True):
    """Who is on the stage."""

    scope: TenantScope
    strategy: StrategyID
    hook: Hook
    members: tuple[Member, ...]

    def member(self, account: AccountID) -> Member:
        return next(m for m in self.members if m.account_id == account)


async def assemble(
    onboard: Onboarding,
    exchange: Exchange,
    *,
    name: str,
    accounts: int,
    paper_every: int = 4,
    uniform: bool = False,
) -> Cast:
    """Create tenant, strategy, hook and accounts; every `paper_every`th account is at the paper broker.

    `uniform`: every account takes the signal's quantity, for benchmarks.
    """
    scope = await onboard.tenant(name, Actor(kind="human", id="trial"))
    strategy = await onboard.strategy(scope, "trend following")
    hook = await onboard.hook(scope, strategy)
    members: list[Member] = []
    for index in range(accounts):
        paper = paper_every > 0 and index % paper_every == paper_every - 1
        sizing, settings = SIZINGS[0 if uniform else index % len(SIZINGS)]
        broker = "paper" if paper else "gateio"
        account = await onboard.account(
            scope,
            f"{'Paper' if paper else 'Client'} {index + 1:03}",
            broker=broker,
            currency="USDT",
            stated_equity=Decimal(5_000 + 1_000 * (index % 40)),
            leverage=Decimal(1 + index % 3),
        )
        if not paper:
            await _connect(onboard, exchange, scope, account, index)
        await onboard.subscription(scope, strategy, account, settings, priority=index)
        members.append(
            Member(account, f"{'Paper' if paper else 'Client'} {index + 1:03}", broker, sizing)
        )
    return Cast(scope, strategy, hook, tuple(members))


async def _connect(
    onboard: Onboarding, exchange: Exchange, scope: TenantScope, account: AccountID, index: int
) -> None:
    """A made-up API key: known to the exchange first, then enrolled, so that it works at once."""
    key, secret = f"key-{account.hex[-12:]}", secrets.token_hex(32)
    balance = str(5_000 + 1_000 * (index % 40))
    await exchange.accounts([{"key": key, "secret": secret, "balance": balance, "leverage": "10"}])
    await onboard.credential(scope, account, broker="gateio", api_key=key, secret=secret.encode())
