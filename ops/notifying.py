"""Notifications in the admin process: the sender, and the dispatcher that gives it its turns."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.hooks.registry import SecretOpener
from gateway.notify.dispatcher import Dispatcher
from gateway.notify.secrets import ChannelSecrets
from gateway.notify.sender import Sender
from gateway.notify.settings import NotifySettings
from ops.settings import Settings
from tenancy.clock import SystemClock
from tenancy.database import Database

POOL_SIZE = 4
"""Connections of their own, so that a thousand waiting receivers do not slow the API."""


def notify_settings(settings: Settings) -> NotifySettings:
    """The gateway's words for the operator's `[admin] notify_…`, `[admin.smtp]` and `[admin.push]`."""
    admin = settings.admin
    return NotifySettings(
        allow_networks=admin.notify_allow_networks,
        ca_file=admin.notify_ca_file,
        failing_after_s=admin.notify_failing_after_hours * 3600,
        backlog_s=admin.notify_backlog_days * 86400,
        smtp=admin.smtp,
        push=admin.push,
        console_url=admin.base_url.rstrip("/"),
    )


@asynccontextmanager
async def notifying(settings: Settings, index: int, opener: SecretOpener) -> AsyncIterator[Sender]:
    """The sender, with its dispatcher running. Raises Unavailable without PostgreSQL."""
    notify = notify_settings(settings)
    database = Database(settings.database.admin, name=f"notify-{index}", size=POOL_SIZE)
    await database.open()
    sender = Sender(
        database,
        ChannelSecrets(opener),
        notify,
        SystemClock(),
        chance=random.random,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(Dispatcher(database, sender, notify).run(stop), name="notify")
    try:
        yield sender
    finally:
        stop.set()
        await running
        await database.close()
