"""What the tests of agreement share: a clock ahead, guarded categories, audit records, a proposal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import psycopg

from gateway.admin.operation import Services
from tenancy.clock import SystemClock
from tests.fixtures.api import Api, Client
from tests.integration.gateway.ingress import Reply


class LaterClock(SystemClock):
    """The machine's clock, so many hours ahead."""

    def __init__(self, hours: float = 0) -> None:
        self.ahead = timedelta(hours=hours)

    def now(self) -> Any:
        return super().now() + self.ahead


def guard(api: Api, *categories: str, tenant: str = "admin") -> None:
    settings = msgspec.json.encode({"four_eyes": categories}).decode()
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute(
            "UPDATE tenants SET settings = %s::jsonb WHERE tenant_id = %s",
            (settings, api.tenant(tenant)),
        )


def records(api: Api, kind: str, tenant: str = "admin") -> list[dict[str, Any]]:
    """The payloads of the audit records of a kind, with `act`, in order."""
    with psycopg.connect(api.database.superuser) as conn:
        rows = conn.execute(
            "SELECT payload, act FROM audit_inbox WHERE kind = %s AND tenant_id = %s ORDER BY seq",
            (kind, api.tenant(tenant)),
        ).fetchall()
    return [{**msgspec.json.decode(p), "act": msgspec.json.decode(act)} for p, act in rows]


def later(api: Api, hours: float) -> Services:
    """The same services, so many hours later."""
    return msgspec.structs.replace(api.services, clock=LaterClock(hours))


class Case(msgspec.Struct):
    """A strategy whose limit somebody wants to raise, and the proposal of that."""

    api: Api
    strategy: str
    proposal: str

    @property
    def address(self) -> str:
        return f"/v1/strategies/{self.strategy}"

    async def decide(self, who: Client, verb: str, **body: Any) -> Reply:
        return await who("POST", f"/v1/proposals/{self.proposal}/{verb}", body)

    async def limit(self) -> Any:
        shown = await self.api.as_("admin").get(self.address)
        return shown["limits"].get("max_order_quantity")

    async def state(self) -> str:
        shown = await self.api.as_("admin").get(f"/v1/proposals/{self.proposal}")
        return shown["state"]


async def raised(api: Api, who: Client, **headers: str) -> Case:
    """`who` proposes to raise a limit from 5 to 10."""
    guard(api, "limits")
    made = await who.make("/v1/strategies", name="trend", limits={"max_order_quantity": "5"})
    reply = await who(
        "PATCH", f"/v1/strategies/{made['strategy_id']}",
        {"limits": {"max_order_quantity": "10"}},
        {"if-match": '"1"', "portcullis-reason": "larger book", **headers},
    )  # fmt: skip
    assert reply.status == 202, reply
    return Case(api, made["strategy_id"], reply.json()["proposal_id"])
