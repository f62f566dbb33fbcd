"""A customer of a trial's installation, set up as any customer's program does it: by the API.

1. The tenant: keys by ceremony, rows by the operator's key (ops/tenants.py).
2. Strategies, accounts and subscriptions, all in one declared document.
3. What has a secret, which no document says: hooks, and the API keys of accounts.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from ops.api_client import Api, connected, trust
from ops.enrolment import ApiSecret, enrol_many
from ops.platform import KEY_NAME
from ops.tenants import new_tenant, operator_scope
from ops.trial.exchange import Exchange, exchange_account
from ops.trial.installation import Installation
from ops.trial.sender import Hook
from tenancy.scope import TenantScope
from tenancy.values import AccountID, StrategyID

API_RATES = {"credential_reads": 1_000_000, "credential_writes": 1_000_000}
"""`[admin.rates]` of an installation whose customers come with many accounts at once."""

TENANT = {"settings": {"requests_per_minute": 1_000_000}}
"""The same, for all keys of a tenant together."""


class Customer:
    """A tenant and its first service key. `scope` is for reading its rows in a trial's count."""

    def __init__(self, scope: TenantScope, api: Api, service_key: str) -> None:
        self.scope = scope
        self.api = api
        self.service_key = service_key

    def __repr__(self) -> str:
        return f"Customer({self.scope.tenant_id}, service_key=…)"

    async def declare(self, **sections: Any) -> None:
        """Make all of it: the sections of `PUT /v1/configuration`. Raises Refused, Unreachable."""
        document = {"tenant": TENANT, **sections}
        await self.api.ask("PUT", "/v1/configuration", document, if_match="*")

    async def accounts(self) -> dict[str, AccountID]:
        """Name → id."""
        return {
            item["name"]: AccountID(UUID(item["account_id"]))
            async for item in self.api.items("/v1/accounts")
        }

    async def strategies(self) -> dict[str, StrategyID]:
        """Name → id."""
        found = self.api.items("/v1/strategies")
        return {item["name"]: StrategyID(UUID(item["strategy_id"])) async for item in found}

    async def hook(self, strategy: StrategyID) -> Hook:
        """A hook with its secret, in one step: a declared one would refuse signals until it had one."""
        body = {"strategy_id": strategy, "name": "main"}
        made = await self.api.make("/v1/hooks", body)
        return Hook(made["hook_id"], made["secret"])

    async def connect(
        self,
        exchange: Exchange,
        balances: Mapping[AccountID, str],
        make_secret: Callable[[], str] = secrets.token_hex,
    ) -> Sequence[ApiSecret]:
        """Made-up API keys: known to the exchange first, then enrolled, so that they work at once."""
        made = [
            ApiSecret(account, f"key-{account.hex}", make_secret().encode()) for account in balances
        ]
        await exchange.accounts(
            [
                exchange_account(one.api_key, one.secret.decode(), balances[one.account_id])
                for one in made
            ]
        )
        await enrol_many(self.api, made)
        return made


@asynccontextmanager
async def customer(here: Installation, name: str) -> AsyncIterator[Customer]:
    """A new one. Raises Conflict for a name in use; CeremonyRefused, Refused, Unreachable."""
    url, authority = here.state.urls["admin"], here.places.var / "tls" / "ca.pem"
    async with connected(url, here.places.keys / f"{KEY_NAME}.key", authority) as operator:
        made = await new_tenant(operator, here.settings, name)
    async with Api(url, made.service_key, trust(authority)) as api:
        yield Customer(operator_scope(made.tenant_id), api, made.service_key)
