"""What tests of resources share: one of each, a tenant that wants a second person, and that person's yes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import psycopg

from gateway.admin.applying import carry_out
from tenancy.scope import Actor
from tenancy.store import proposals as store
from tests.fixtures.api import Api

PAPER = {"broker": "paper", "currency": "USDT"}
LIVE = {"broker": "gateio", "currency": "USDT"}


async def furnish(api: Api, tenant: str = "admin") -> dict[str, str]:
    """One of each: path → id. `secret` is the hook's, `key` the service key's."""
    client = api.as_(tenant)
    strategy = (await client.make("/v1/strategies", name="trend"))["strategy_id"]
    group = (await client.make("/v1/groups", name="careful"))["group_id"]
    account = await client.make("/v1/accounts", name="a", group_id=group, **PAPER)
    subscription = await client.make(
        "/v1/subscriptions", strategy_id=strategy, account_id=account["account_id"]
    )
    hook = await client.make("/v1/hooks", name="tv", strategy_id=strategy)
    key = await client.make("/v1/service-keys", name="robot", scopes=["orders:read"])
    return {
        "strategies": strategy,
        "groups": group,
        "accounts": account["account_id"],
        "subscriptions": subscription["subscription_id"],
        "hooks": hook["hook_id"],
        "service-keys": key["key_id"],
        "secret": hook["secret"],
        "key": key["key"],
    }


def guard(api: Api, *categories: str) -> None:
    """From now on the tenant wants a second person for these."""
    settings = msgspec.json.encode({"four_eyes": categories}).decode()
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute(
            "UPDATE tenants SET settings = %s WHERE tenant_id = %s", (settings, api.tenant())
        )


def proposals(api: Api) -> list[dict[str, Any]]:
    """All of them, oldest first."""
    with psycopg.connect(api.database.superuser) as conn:
        cursor = conn.execute(
            "SELECT proposal_id, reasons, operation, kind, object_id, base, before, after"
            " FROM proposals ORDER BY proposal_id"
        )
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


async def agree(api: Api, proposal_id: str) -> str | None:
    """Do what was proposed, as an approval does; None, or why it failed."""
    scope = api.scopes["admin"]
    async with api.services.database.tenant(scope) as conn:
        proposal = await store.read(conn, UUID(proposal_id), lock=True)
        return await carry_out(api.services, conn, proposal, Actor("human", "second"))


def rows(api: Api, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """As the superuser sees it."""
    with psycopg.connect(api.database.superuser) as conn:
        return conn.execute(query.encode(), values).fetchall()


def holders(api: Api, *needles: bytes) -> list[str]:
    """The tables of the whole database with a row in which any of these bytes stands.

    In text as it is, in bytes as hex, which is how PostgreSQL writes a whole row down.
    """
    wanted = [needle.hex() for needle in needles]
    wanted += [needle.decode() for needle in needles if needle.isascii()]
    with psycopg.connect(api.database.superuser) as conn:
        tables = conn.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        ).fetchall()
        return [
            table
            for (table,) in tables
            if any(
                needle in row
                for (row,) in conn.execute(f'SELECT t::text FROM "{table}" t'.encode()).fetchall()
                for needle in wanted
            )
        ]
