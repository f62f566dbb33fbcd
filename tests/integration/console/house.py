"""A running product for the browser: a customer with paper accounts, a strategy, a hook, and people."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from ops.api_client import Api, connected
from ops.initialise import PAPER_INSTRUMENTS, Choices
from ops.platform import KEY_NAME
from ops.toml import dumps
from ops.trial.customer import API_RATES, Customer, customer
from ops.trial.installation import Installation, fresh, running
from ops.trial.sender import Hook, Sender, sender

TENANT = "Acme Asset Management"
PASSWORD = "a rather long sentence for the browser"
ACCOUNTS = 6
UP_WITHIN_S = 300.0
"""A busy machine is slow to start; what is asked here is what happens then."""


class House:
    """What the console's tests have. `strategy`: its id; `accounts`: name → id."""

    def __init__(self, here: Installation, acme: Customer, hook: Hook, send: Sender) -> None:
        self.here, self.acme, self.hook, self.send = here, acme, hook, send
        self.base = here.state.urls["admin"]
        self.strategy = ""
        self.accounts: dict[str, str] = {}

    async def invite(self, name: str, *roles: str) -> tuple[str, str]:
        """The person's e-mail address, and where their link leads."""
        return await invite(self.acme.api, name, *roles)

    async def invite_operator(self, name: str) -> tuple[str, str]:
        """The same, of the platform's own people."""
        ca, key = self.here.places.var / "tls" / "ca.pem", self.here.places.keys / f"{KEY_NAME}.key"
        async with connected(self.base, key, ca) as platform:
            return await invite(platform, name, "operator")


async def invite(api: Api, name: str, *roles: str) -> tuple[str, str]:
    """Of the house that the key belongs to: the person's e-mail address, and where their link leads."""
    email = f"{name.lower()}-{uuid4().hex[:6]}@example.com"
    made = await api.make("/v1/people", {"name": name, "email": email, "roles": roles})
    return email, "/#" + made["invitation_url"].partition("#")[2]


@asynccontextmanager
async def house(
    var: Path, accounts: int = ACCOUNTS, *, brokers: Mapping[str, Any] | None = None,
    worker: Mapping[str, Any] | None = None,
) -> AsyncIterator[House]:  # fmt: skip
    """It runs, and is empty but for what every customer has: nothing was sent yet.

    `brokers`: besides paper. `worker`: other settings of the workers.
    """
    where = fresh(
        var,
        Choices(
            ingress_port=0,
            admin_port=0,
            worker_processes=1,
            rate_per_minute=10_000,
            rate_per_hour=10_000,
            api_rates=API_RATES,
            durable_within_ms=60_000,
            brokers={"paper": {"instruments": PAPER_INSTRUMENTS}, **(brokers or {})},
        ),
    )
    document = tomllib.loads(where.settings.read_text())
    document["worker"] |= worker or {}
    document["audit"] = {"append_wait_ms": 8_000}  # a busy machine writes slowly
    where.settings.write_text(dumps(document))
    async with running(where, within_s=UP_WITHIN_S) as here, customer(here, TENANT) as acme:
        names = [f"Client {number}" for number in range(1, accounts + 1)]
        await acme.declare(
            strategies=[{"name": "trend", "asset_class": "crypto"}],
            accounts=[
                {"name": name, "broker": "paper", "currency": "USDT", "stated_equity": "100000"}
                for name in names
            ],
            subscriptions=[{"strategy": "trend", "account": name} for name in names],
        )
        strategy = (await acme.strategies())["trend"]
        hook = await acme.hook(strategy)
        ca = here.places.var / "tls" / "ca.pem"
        async with sender(here.state.urls["ingress"], ca, hook) as send:
            home = House(here, acme, hook, send)
            home.strategy = str(strategy)
            home.accounts = {name: str(one) for name, one in (await acme.accounts()).items()}
            yield home
