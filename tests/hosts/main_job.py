"""The main job as the fourth machine does and sees it: a customer's program, its strategy, and the exchange.

Everything goes through the VIP: the management API, and signed webhooks. What was placed, the exchange says; it is
an independent program, and what it executed it does not forget.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from ops.api_client import Api, trust
from ops.tenants import operator_scope
from ops.trial.cast import assemble
from ops.trial.customer import Customer
from ops.trial.exchange import Exchange, Executed, exchange
from ops.trial.sender import Sender, Sent, sender
from tenancy.values import TenantID
from tests.hosts.exchange import PORT

ACCOUNTS = 12
HOOK_S, DONE_S, POLL_S = 10.0, 60.0, 0.2
LEVEL_SIZE = "1000000000"
DEPTH = {"BTC_USDT": "60000", "ETH_USDT": "3000"}
SIGNALS: tuple[dict[str, Any], ...] = (
    {"ticker": "BTC_USDT", "action": "buy", "quantity": 10, "signalPrice": 60000},
    {"ticker": "BTC_USDT", "action": "exit"},
    {"ticker": "ETH_USDT", "action": "sell", "quantity": 10, "signalPrice": 3000},
    {"ticker": "BTC_USDT", "action": "sell", "quantity": 5, "signalPrice": 60000},
    {"ticker": "ETH_USDT", "action": "exit"},
)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """`authority`, `log`: files, of whom to trust and for the exchange's words. `service_key`: the first one."""

    hooks: str
    admin: str
    authority: str
    tenant_id: UUID
    service_key: str
    log: str

    def __repr__(self) -> str:
        return f"Asked({self.admin}, service_key=…)"


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """One signal: as it was answered, and again under the same id; what became of it, by account."""

    first: Sent
    again: Sent
    outcome: dict[str, Any]
    accounts: list[dict[str, Any]]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """`forged`: the answer to a signal with another's signature."""

    answered: list[Answered]
    forged: Sent
    executed: list[Executed]


async def trade(asked: Asked) -> Told:
    """A customer with accounts at two brokers; then each signal to its end before the next."""
    authority = Path(asked.authority)
    async with customer_and_exchange(asked) as (house, market):
        cast = await assemble(house, market, accounts=ACCOUNTS)
        async with sender(asked.hooks, authority, cast.hook) as strategy:
            answered = [await _to_its_end(house.api, strategy, fields) for fields in SIGNALS]
        wrong = msgspec.structs.replace(cast.hook, secret="whsec_" + "A" * 32)
        async with sender(asked.hooks, authority, wrong) as stranger:
            forged = await stranger.send(**SIGNALS[0])
        return Told(answered=answered, forged=forged, executed=await market.executed())


@asynccontextmanager
async def customer_and_exchange(asked: Asked) -> AsyncIterator[tuple[Customer, Exchange]]:
    """Who has accounts there, and the exchange, deep enough for all of them."""
    async with (
        exchange(Path(asked.log), host="0.0.0.0", port=PORT) as market,
        Api(asked.admin, asked.service_key, trust(Path(asked.authority))) as api,
    ):
        for contract, mark in DEPTH.items():
            await market.depth(contract, mark, LEVEL_SIZE)
        yield Customer(operator_scope(TenantID(asked.tenant_id)), api, asked.service_key), market


def filled_at_the_exchange(accounts: Iterable[dict[str, Any]]) -> set[str]:
    """Orders that the product says it filled there; `accounts`: of signals' outcomes."""
    return {
        order["order_id"]
        for one in accounts
        for order in one["orders"]
        if order["broker"] == "gateio" and order["cum_qty"] != "0"
    }


async def _to_its_end(api: Api, strategy: Sender, fields: dict[str, Any]) -> Answered:
    first = await _taken(strategy, fields)
    path = f"/v1/signals/{first.signal_id}/outcome"
    return Answered(
        first=first, again=await strategy.send(first.message_id, **fields),
        outcome=await _done(api, path),
        accounts=[one async for one in api.items(f"{path}/accounts")],
    )  # fmt: skip


async def _done(api: Api, path: str) -> dict[str, Any]:
    async with asyncio.timeout(DONE_S):
        while True:
            outcome: dict[str, Any] = await api.get(path)
            if outcome["state"] == "done":
                return outcome
            await asyncio.sleep(POLL_S)


async def _taken(strategy: Sender, fields: dict[str, Any]) -> Sent:
    """As a sender does it: a 503 is sent again under the same id. A new hook's first answer may be one."""
    sent = await strategy.send(**fields)
    async with asyncio.timeout(HOOK_S):
        while sent.status == 503:
            await asyncio.sleep(POLL_S)
            sent = await strategy.send(sent.message_id, **fields)
    return sent
