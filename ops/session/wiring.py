"""The process `session-N`: the keeper of the Nth person's session. Ready: the session takes requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fanout.brokers.shioaji.settings import Person
from ops.brokers import shioaji_settings
from ops.compose import Parts, Seat, answers, opened
from ops.session.keeper import Keeper
from ops.settings import Settings
from tenancy.account import Account
from tenancy.clock import SystemClock
from tenancy.database import Database
from tenancy.scope import Actor, TenantScope
from tenancy.store.snapshots import read_accounts
from tenancy.values import AccountID, TenantID

KEEPER = Actor(kind="sys", id="session-keeper")


async def read_account(database: Database, person: Person) -> Account | None:
    """The account whose key the person logs in with, by its settings. Raises Unavailable."""
    scope = TenantScope(tenant_id=TenantID(person.tenant), actor=KEEPER)
    async with database.tenant(scope) as conn:
        found = await read_accounts(conn, [AccountID(person.account)])
    return found[0] if found else None


@asynccontextmanager
async def session(settings: Settings, seat: Seat) -> AsyncIterator[Parts]:
    """Raises Unavailable, ConfigurationError."""
    table = shioaji_settings(settings.brokers)
    async with opened(settings.database.worker, f"session-{seat.index}", 1) as database:
        keeper = Keeper(
            table,
            table.persons[seat.index],
            lambda person: read_account(database, person),
            SystemClock(),
            log_level=settings.telemetry.log_level,
        )
        checks = {"postgres": answers(database), "session": keeper.answers}
        yield checks, asyncio.create_task(keeper.run(seat.stop))
