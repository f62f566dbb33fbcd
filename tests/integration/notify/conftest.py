"""A tenant with a log, a receiver, and senders that a test may have several of."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from audit.record import Kind
from gateway.notify.addresses import Lookup, system_lookup
from gateway.notify.dispatcher import Dispatcher
from gateway.notify.secrets import ChannelSecrets
from gateway.notify.sender import Sender
from gateway.notify.settings import NotifySettings
from tenancy.clock import SystemClock
from tenancy.ids import new_id
from tests.fakes.hooks import ReversingOpener
from tests.fakes.receiver import Receiver, receiver
from tests.fixtures.audit import Bench, entry
from tests.fixtures.tls import Certificate

LOOPBACK = ("127.0.0.0/8", "::1/128")


class House:
    """Everything that a notification test holds in its hands."""

    def __init__(self, bench: Bench, certificate: Certificate) -> None:
        self.bench = bench
        self.opener = ReversingOpener()
        self.settings = NotifySettings(
            allow_networks=LOOPBACK,
            ca_file=Path(certificate.certfile),
            poll_s=0.02,
            connect_timeout_s=1.0,
            timeout_s=2.0,
            lease_s=6.0,
            pauses_s=(0.1, 0.2, 0.4),
        )

    def change(self, **members: Any) -> None:
        names = {name: getattr(self.settings, name) for name in self.settings.__struct_fields__}
        self.settings = NotifySettings(**{**names, **members})

    def sender(self, lookup: Lookup = system_lookup) -> Sender:
        return Sender(
            self.bench.admin,
            ChannelSecrets(self.opener),
            self.settings,
            SystemClock(),
            chance=lambda: 0.5,
            lookup=lookup,
        )

    @asynccontextmanager
    async def dispatcher(self) -> AsyncIterator[asyncio.Task[None]]:
        """Running, as in an admin process."""
        stop = asyncio.Event()
        running = asyncio.create_task(
            Dispatcher(self.bench.admin, self.sender(), self.settings).run(stop)
        )
        try:
            yield running
        finally:
            stop.set()
            await running

    async def record(self, *kinds: Kind) -> None:
        """Records in the tenant's log, by the real recorder."""
        await self.bench.append([entry(n, kind=kind) for n, kind in enumerate(kinds)])
        await self.bench.recorder.drain()

    def channel(self, url: str | None = None, **more: Any) -> UUID:
        """A channel with a secret, and its id. The secret is in `self.secrets`."""
        columns = {
            "channel_id": new_id(), "tenant_id": self.bench.log.tenant_id, "name": str(new_id()),
            "kind": "webhook" if url else "email", "url": url, **more,
        }  # fmt: skip
        names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
        self.execute(f"INSERT INTO channels ({names}) VALUES ({places})", *columns.values())
        channel_id: UUID = columns["channel_id"]
        return channel_id

    def secret(
        self, channel_id: UUID, expires_at: datetime | None = None, tenant_id: UUID | None = None
    ) -> str:
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.execute(
            "INSERT INTO channel_secrets (secret_id, channel_id, tenant_id, sealed, expires_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            new_id(), channel_id, tenant_id or self.bench.log.tenant_id, secret.encode()[::-1], expires_at,
        )  # fmt: skip
        return secret

    def execute(self, statement: str, *values: Any) -> None:
        with psycopg.connect(self.bench.superuser, autocommit=True) as conn:
            conn.execute(statement, values)

    def delivery(self, channel_id: UUID) -> dict[str, Any]:
        with psycopg.connect(self.bench.superuser, row_factory=psycopg.rows.dict_row) as conn:
            row = (
                conn.execute(
                    "SELECT * FROM channel_deliveries WHERE channel_id = %s", (channel_id,)
                ).fetchone()
                or conn.execute(
                    "SELECT * FROM push_devices WHERE device_id = %s", (channel_id,)
                ).fetchone()
            )
        assert row is not None
        return row

    async def until(
        self, channel_id: UUID, within_s: float = 10.0, **wanted: Any
    ) -> dict[str, Any]:
        """Wait until the delivery's columns are so."""
        async with asyncio.timeout(within_s):
            while True:
                row = self.delivery(channel_id)
                if all(row[name] == value for name, value in wanted.items()):
                    return row
                await asyncio.sleep(0.02)

    async def alerts(self) -> list[dict[str, Any]]:
        """What the alerts in the log say."""
        await self.bench.recorder.drain()
        rows = self.bench.rows(
            "SELECT convert_from(p.payload, 'UTF8')::json FROM audit_leaves v"
            " JOIN audit_payloads p USING (log_id, i)"
            " WHERE convert_from(v.leaf, 'UTF8')::json ->> 'k' = 'alert' ORDER BY i"
        )
        return [row[0] for row in rows]


@pytest.fixture
async def house(bench: Bench, certificate: Certificate) -> House:
    return House(bench, certificate)


@pytest.fixture
async def their(certificate: Certificate) -> AsyncIterator[Receiver]:
    """The other side."""
    async with receiver(certificate) as made:
        yield made
