"""A tenant with one of everything, made through the API: what routes need in order to be called.

A new kind of object needs an entry in MAKERS, named as its parameter is in addresses: from a client
and what is there already to the new one's id. Names are never used twice.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import psycopg

from tenancy.ids import new_id
from tests.fixtures.api import Api, Client
from tests.integration.gateway.traded import traded

_numbers = itertools.count()


Maker = Callable[["Furniture"], Awaitable[str]]


class Furniture(msgspec.Struct):
    """`ids`: one of each, by the name of its parameter. `fresh` makes another that can be spent."""

    api: Api
    tenant: str
    ids: dict[str, str] = {}

    @property
    def makers(self) -> Mapping[str, Maker]:
        """What can be made there: the platform has its own few things."""
        if self.tenant == "platform":
            return {name: MAKERS[name] for name in PLATFORM}
        return MAKERS

    @property
    def client(self) -> Client:
        return self.api.as_(self.tenant)

    async def fresh(self, name: str) -> str:
        return await MAKERS[name](self)

    async def post(self, path: str, id_name: str, **body: Any) -> str:
        made: str = (await self.client.make(path, **body))[id_name]
        return made


def unique(text: str = "n") -> str:
    """A name that nothing has."""
    return f"{text}-{next(_numbers)}"


async def _strategy(f: Furniture) -> str:
    return await f.post("/v1/strategies", "strategy_id", name=unique())


async def _group(f: Furniture) -> str:
    return await f.post("/v1/groups", "group_id", name=unique())


async def _account(f: Furniture) -> str:
    return await f.post(
        "/v1/accounts", "account_id", name=unique(), broker="paper", currency="USDT",
        group_id=f.ids["group_id"],
    )  # fmt: skip


async def _hook(f: Furniture) -> str:
    return await f.post("/v1/hooks", "hook_id", name=unique(), strategy_id=f.ids["strategy_id"])


async def _subscription(f: Furniture) -> str:
    """A live one, which may have a shadow."""
    account = await f.post(
        "/v1/accounts", "account_id", name=unique(), broker="gateio", currency="USDT",
        stated_equity="100",
    )  # fmt: skip
    return await f.post(
        "/v1/subscriptions", "subscription_id", strategy_id=f.ids["strategy_id"],
        account_id=account,
    )  # fmt: skip


async def _key(f: Furniture) -> str:
    return await f.post("/v1/service-keys", "key_id", name=unique(), scopes=["halts:read"])


async def _person(f: Furniture) -> str:
    return await f.post("/v1/people", "person_id", name="N", email=f"{unique()}@example.com")


async def _session(f: Furniture) -> str:
    """Somebody's: of the same tenant, and nobody else's to end."""
    _, _, session = await f.api.person(f.tenant)
    return session


async def _channel(f: Furniture) -> str:
    return await f.post(
        "/v1/channels", "channel_id", name=unique(), kind="email", recipients=["a@example.com"]
    )


async def _secret(f: Furniture) -> str:
    return await f.post(f"/v1/hooks/{f.ids['hook_id']}/secrets", "secret_id", overlap_minutes=0)


async def _grant(f: Furniture) -> str:
    """An operator's ask that nobody has decided."""
    return _row(
        f,
        "INSERT INTO access_grants (grant_id, tenant_id, operator_id, reason, minutes)"
        " VALUES (%s, %s, gen_random_uuid()::text, 'to look', 5)",
    )


async def _proposal(f: Furniture) -> str:
    """Somebody's, to rename a strategy of its own."""
    strategy = await _strategy(f)
    before = (await f.client.get(f"/v1/strategies/{strategy}"))["name"]
    return _row(
        f,
        "INSERT INTO proposals (proposal_id, tenant_id, reasons, operation, kind, object_id, base,"
        " before, after, proposed_by, expires_at) VALUES (%s, %s, '{limits}', 'change', 'strategy', %s, 1,"
        " %s::jsonb, %s::jsonb, '{\"kind\": \"human\", \"id\": \"x\"}', now() + '1 hour')",
        strategy, json.dumps({"name": before}), json.dumps({"name": unique()}),
    )  # fmt: skip


async def _intervention(f: Furniture) -> str:
    """Of a switch that nobody threw: it is done, and its layer is as it was."""
    return _row(
        f,
        "INSERT INTO interventions (intervention_id, tenant_id, part, level, scope, object_id, reason, by,"
        " at, state, ended_at) VALUES (%s, %s, 1, 'no_open', 'tenant', gen_random_uuid(), 'r',"
        """ '{"kind": "human", "id": "x"}', now(), 'done', now())""",
    )


async def _doubt(f: Furniture) -> str:
    """An order that nobody can tell about."""
    signal = _row(
        f,
        "INSERT INTO signals (signal_id, tenant_id, strategy_id, hook_id, message_id, part, body, body_sha256,"
        " traceparent, received_at, state) VALUES (%s, %s, %s, %s, %s, 1, '{}', sha256('{}'), %s, now(),"
        " 'refused')",
        f.ids["strategy_id"], f.ids["hook_id"], unique("doubtful"), f"00-{'1' * 32}-{'1' * 16}-01",
    )  # fmt: skip
    name = f"d{signal.replace('-', '')}"
    with psycopg.connect(f.api.database.superuser) as conn:
        conn.execute(
            "INSERT INTO orders (cl_ord_id, order_id, tenant_id, signal_id, strategy_id, account_id, part, leg,"
            " attempt, place, broker, symbol, side, order_qty, ord_type, time_in_force, deadline, state, epoch,"
            " intent_at, traceparent) VALUES (%s, %s, %s, %s, %s, %s, 1, 0, 1, 0, 'paper', 'BTC', 'buy', 1,"
            " 'market', 'ioc', now(), 'in_doubt', 1, now(), %s)",
            (
                f"{name}.1",
                name,
                f.api.tenant(f.tenant),
                signal,
                f.ids["strategy_id"],
                f.ids["account_id"],
                f"00-{'1' * 32}-{'1' * 16}-01",
            ),
        )
        conn.execute(
            "INSERT INTO doubts (tenant_id, cl_ord_id, kind, since) VALUES (%s, %s, 'in_doubt', now())",
            (f.api.tenant(f.tenant), f"{name}.1"),
        )
    return f"{name}.1"


async def _export(f: Furniture) -> str:
    """One that nobody has made yet."""
    return _row(
        f,
        "INSERT INTO audit_exports (export_id, tenant_id, wanted, why, asked_by, asked_at) VALUES"
        """ (%s, %s, '{}', 'r', '{"kind": "human", "id": "x"}', now())""",
    )


async def _examiner(f: Furniture) -> str:
    """Somebody who was appointed, without the person."""
    return _row(
        f,
        "INSERT INTO audit_examiners (examiner_id, tenant_id, email, name, days, reason, until) VALUES"
        " (%s, %s, 'x@example.com', 'X', 1, 'r', now() + '1 day')",
    )


async def _drift(f: Furniture) -> str:
    """One that is open, of an account with one follower."""
    with psycopg.connect(f.api.database.superuser) as conn:
        query = "SELECT account_id FROM subscriptions WHERE subscription_id = %s"
        row = conn.execute(query, (f.ids["subscription_id"],)).fetchone()
    assert row is not None
    return _row(
        f,
        "INSERT INTO drifts (drift_id, tenant_id, account_id, part, kind, subject, symbol, ours, theirs, cause,"
        " evidence, since) VALUES (%s, %s, %s, 1, 'position', %s, 'BTC_USDT', 1, 2, 'unexplained', '{}', now())",
        row[0], unique("S"),
    )  # fmt: skip


def _row(f: Furniture, insert: str, *values: Any) -> str:
    """What comes about in other ways than by one request: a row with a new id in this tenant."""
    fresh = new_id()
    with psycopg.connect(f.api.database.superuser) as conn:
        conn.execute(insert.encode(), (fresh, f.api.tenant(f.tenant), *values))
    return str(fresh)


MAKERS: dict[str, Maker] = {
    "strategy_id": _strategy,
    "group_id": _group,
    "account_id": _account,
    "hook_id": _hook,
    "subscription_id": _subscription,
    "key_id": _key,
    "person_id": _person,
    "session_id": _session,
    "channel_id": _channel,
    "grant_id": _grant,
    "proposal_id": _proposal,
    "secret_id": _secret,
    "intervention_id": _intervention,
    "cl_ord_id": _doubt,
    "export_id": _export,
    "examiner_id": _examiner,
    "drift_id": _drift,
}
"""In the order in which they need each other."""

PLATFORM = ("key_id", "person_id", "session_id", "channel_id", "intervention_id")
"""What the platform has in its own house."""


async def furnish(api: Api, tenant: str) -> Furniture:
    """One of each in the tenant of that key."""
    furniture = Furniture(api, tenant)
    furniture.ids["tenant_id"] = str(api.tenant(tenant))
    for name, make in furniture.makers.items():
        furniture.ids[name] = await make(furniture)
    if tenant != "platform":
        furniture.ids |= traded(api, tenant, furniture.ids)
        subscription = furniture.ids["subscription_id"]
        made = await furniture.client("POST", f"/v1/subscriptions/{subscription}/shadow")
        assert made.status == 201, made
    return furniture
