"""A customer with a thousand accounts and the strategies that some of them follow.

One declared document makes accounts and subscriptions, as a customer of that size would
(ops/trial/customer.py); then each account's API secret is sealed. Every account takes the signal's own quantity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ops.trial.customer import Customer
from ops.trial.exchange import Exchange
from ops.trial.sender import Hook
from tenancy.values import AccountID, StrategyID

BALANCE = "1000000"
"""Rich enough for every run."""


class Following(msgspec.Struct, frozen=True):
    """A strategy, its hook, and the accounts that follow it."""

    strategy: StrategyID
    hook: Hook
    accounts: tuple[AccountID, ...]


async def gather_crowd(
    house: Customer, exchange: Exchange, *, accounts: int, strategies: Mapping[str, Sequence[int]]
) -> dict[str, Following]:
    """By the strategy's name. `strategies`: name → the numbers of the accounts that follow it, from 0."""
    names = [f"Client {number:04}" for number in range(accounts)]
    await house.declare(
        strategies=[{"name": name} for name in strategies],
        accounts=[{"name": name, "broker": "gateio", "currency": "USDT"} for name in names],
        subscriptions=[
            {"strategy": strategy, "account": names[number], "priority": place}
            for strategy, numbers in strategies.items()
            for place, number in enumerate(numbers)
        ],
    )
    ids, made = await house.accounts(), await house.strategies()
    await house.connect(exchange, {ids[name]: BALANCE for name in names})
    return {
        name: Following(
            made[name], await house.hook(made[name]), tuple(ids[names[n]] for n in numbers)
        )
        for name, numbers in strategies.items()
    }
