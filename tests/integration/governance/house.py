"""What the tests of agreement share: a clock ahead, guarded categories, audit records."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import psycopg

from gateway.admin.operation import Services
from tenancy.clock import SystemClock
from tests.fixtures.api import Api


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
