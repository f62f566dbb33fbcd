"""A dispatcher in a process of its own, for a test that kills it: `python -m … CONNINFO CA_FILE`."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from uuid import UUID

from audit import ring
from gateway.notify.dispatcher import Dispatcher
from gateway.notify.secrets import ChannelSecrets
from gateway.notify.sender import Sender
from gateway.notify.settings import NotifySettings, PushSettings
from tenancy.clock import SystemClock
from tenancy.database import Database
from tests.fakes.ring import ClearRing


class Reversing:
    """Opens as tests/fakes/hooks.py seals."""

    async def open_secret(self, sealed: bytes, *, tenant_id: UUID, subject: str) -> bytes:
        return sealed[::-1]


async def main(conninfo: str, ca_file: str) -> None:
    ring.use(ClearRing())
    settings = NotifySettings(
        allow_networks=("127.0.0.0/8", "::1/128"), ca_file=Path(ca_file), poll_s=0.02,
        connect_timeout_s=0.2, timeout_s=0.6, lease_s=1.5, pauses_s=(0.1,),
        push=PushSettings(contact="mailto:ops@example.com", services=("localhost",)),
        push_pause_s=0.05, push_idle_s=0.02,
    )  # fmt: skip
    database = Database(conninfo, name="notify", size=3)
    await database.open()
    sender = Sender(
        database, ChannelSecrets(Reversing()), settings, SystemClock(), chance=random.random
    )
    await Dispatcher(database, sender, settings).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
