"""A tenant with a strategy and many accounts, each with a sizing of its own."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from ops.trial.customer import Customer
from ops.trial.exchange import Exchange
from ops.trial.sender import Hook
from tenancy.scope import TenantScope
from tenancy.subscription import SubscriptionSettings
from tenancy.values import AccountID, StrategyID

STRATEGY = "trend following"

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
    more: tuple[tuple[StrategyID, Hook], ...] = ()
    """Further strategies, where several were asked for."""

    def member(self, account: AccountID) -> Member:
        return next(m for m in self.members if m.account_id == account)


async def assemble(
    house: Customer,
    exchange: Exchange,
    *,
    accounts: int,
    paper_every: int = 4,
    names: Sequence[str] = (STRATEGY,),
) -> Cast:
    """Strategies, hooks and accounts for a new customer; every `paper_every`th is at the paper broker.

    The accounts follow the strategies in turn, each account one.
    """
    cast = [_part(index, paper_every) for index in range(accounts)]
    await house.declare(
        strategies=[{"name": name} for name in names],
        accounts=[part.account for part in cast],
        subscriptions=[
            {
                "strategy": names[index % len(names)], "account": part.account["name"],
                "priority": index,
                "settings": part.settings,
            }
            for index, part in enumerate(cast)
        ],
    )  # fmt: skip
    ids, strategies = await house.accounts(), await house.strategies()
    members = tuple(
        Member(ids[part.account["name"]], part.account["name"], part.account["broker"], part.sizing)
        for part in cast
    )
    balances = {
        member.account_id: part.account["stated_equity"]
        for member, part in zip(members, cast, strict=True)
        if member.broker != "paper"
    }
    await house.connect(exchange, balances)
    hooks = [(strategies[name], await house.hook(strategies[name])) for name in names]
    return Cast(house.scope, *hooks[0], members, tuple(hooks[1:]))


class _Part(msgspec.Struct, frozen=True):
    """An account as it is declared, and how it is sized."""

    account: dict[str, str]
    sizing: str
    settings: SubscriptionSettings


def _part(index: int, paper_every: int) -> _Part:
    paper = index % paper_every == paper_every - 1
    sizing, settings = SIZINGS[index % len(SIZINGS)]
    account = {
        "name": f"{'Paper' if paper else 'Client'} {index + 1:03}",
        "broker": "paper" if paper else "gateio",
        "currency": "USDT",
        "stated_equity": str(5_000 + 1_000 * (index % 40)),
        "leverage": str(1 + index % 3),
    }
    return _Part(account, sizing, settings)
