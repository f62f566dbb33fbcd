"""The four ways to tell: signed webhook, e-mail, Slack-style webhook, Web Push; what goes out at once, how often.

A webhook is for programs and gets each record by itself. What people read gathers: a mail and a push message take
what there is, a chat so many lines at once, and then they rest, so that a burst is one message and not a hundred.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec

from gateway.notify import push, slack
from gateway.notify.addresses import Lookup
from gateway.notify.device import Device
from gateway.notify.mail import LINES_MOST, Letter, Mailer
from gateway.notify.outcome import Message, Outcome
from gateway.notify.posting import Post, posting
from gateway.notify.secrets import ChannelSecrets
from gateway.notify.settings import NotifySettings
from gateway.notify.vapid import authorization
from gateway.notify.webhook import opened
from tenancy.channel import Channel
from tenancy.clock import Clock
from tenancy.database import Connection
from tenancy.scope import TenantScope
from tenancy.secrecy import Plain

UNSIGNED = "the channel has no secret: POST …/secrets makes one"
UNADDRESSED = "the channel has no address: PUT …/address sets it"
NO_PUSH = "this installation sends no push messages: [admin.push]"
BATCH = 50

PUSH_GONE = (404, 410)
"""RFC 8030 sections 7.2 and 7.3: the subscription is over. Some services say the one, some the other."""

Messages = tuple[Message, ...]
Target = Channel | Device


class NotReady(Exception):
    """Nothing can be sent, for a reason on our side. Its text is for the channel's owner."""


class Carrier(msgspec.Struct, frozen=True, kw_only=True):
    """A way to one receiver, open. `most`: records in one reading; `together`: all of them are one message.

    `pause_s`: rest after a message; 0: none, and a turn goes on. `idle_s`: rest after a look that found nothing:
    a tenant may have hundreds of devices, and its log grows all day.
    """

    send: Callable[[Messages], Awaitable[Outcome]]
    most: int
    together: bool
    pause_s: float = 0.0
    idle_s: float = 0.0

    def parts(self, messages: Messages) -> Iterator[Messages]:
        """What goes out at once, in order."""
        if self.together:
            if messages:
                yield messages
        else:
            for message in messages:
                yield (message,)


class Carriers:
    """Opens them, in two steps: what it takes (within a transaction), and the way itself (without one)."""

    def __init__(
        self, secrets: ChannelSecrets, settings: NotifySettings, clock: Clock, lookup: Lookup
    ) -> None:
        self._secrets, self._settings, self._clock, self._lookup = secrets, settings, clock, lookup
        self._mailer = Mailer(settings, clock)

    async def keys(
        self, conn: Connection, scope: TenantScope, target_id: UUID, target: Target
    ) -> list[bytes]:
        """A webhook's secrets, a chat's address, a device's private key; for a mail nothing.

        Raises NotReady where it cannot be sent, also for what the signer refuses.
        """
        try:
            return await self._keys(conn, scope, target_id, target)
        except NotReady:
            raise
        except Exception as error:  # a library's own text is not trusted with a secret nearby
            text = f"the secret could not be opened: {type(error).__name__}"
            raise NotReady(text) from None

    async def _keys(
        self, conn: Connection, scope: TenantScope, target_id: UUID, target: Target
    ) -> list[bytes]:
        if isinstance(target, Device):
            if self._settings.push is None:
                raise NotReady(NO_PUSH)
            return [await self._secrets.plain(scope, target.key_id, target.sealed)]
        if target.kind == "email":
            return []
        if target.kind == "slack":
            address = await self._secrets.address(conn, scope, target_id)
            if address is None:
                raise NotReady(UNADDRESSED)
            return [address]
        secrets = await self._secrets.live(conn, scope, target_id)
        if not secrets:
            raise NotReady(UNSIGNED)
        return secrets

    @asynccontextmanager
    async def way(
        self, target: Target, keys: Sequence[bytes], tenant: str
    ) -> AsyncIterator[Carrier]:
        """The way to `target`, with what keys() gave; nothing connects before the first send()."""
        if isinstance(target, Device):
            async with posting(
                target.endpoint, self._settings, self._clock, self._lookup, gone=PUSH_GONE
            ) as post:
                yield self._push(post, target, Plain(keys[0]), tenant)
        elif target.kind == "email":
            yield self._mail(target, tenant)
        elif target.kind == "slack":
            address = Plain(keys[0]).text()
            async with posting(address, self._settings, self._clock, self._lookup) as post:
                yield self._slack(post, tenant)
        else:
            assert target.url is not None
            async with opened(target.url, self._settings, self._clock, self._lookup) as webhook:
                yield Carrier(
                    send=lambda messages: webhook.send(messages[0], keys),
                    most=BATCH,
                    together=False,
                )

    def _mail(self, channel: Channel, tenant: str) -> Carrier:
        async def send(messages: Messages) -> Outcome:
            letter = Letter(
                tenant=tenant,
                channel=channel.name,
                recipients=channel.recipients,
                messages=messages,
            )
            return await self._mailer.send(letter)

        return Carrier(
            send=send, most=LINES_MOST, together=True, pause_s=self._settings.mail_pause_s
        )

    def _slack(self, post: Post, tenant: str) -> Carrier:
        async def send(messages: Messages) -> Outcome:
            body = slack.compose(tenant, messages, self._settings.console_url)
            return await post.send(body, {"content-type": "application/json"})

        return Carrier(
            send=send, most=slack.LINES_MOST, together=True, pause_s=self._settings.slack_pause_s
        )

    def _push(self, post: Post, device: Device, private: Plain, tenant: str) -> Carrier:
        settings = self._settings.push
        assert settings is not None

        async def send(messages: Messages) -> Outcome:
            now = self._clock.now()
            parcel = push.compose(tenant, device, messages, now)
            who = authorization(
                device.endpoint, device.public_key, private, settings.contact, int(now.timestamp())
            )
            return await post.send(parcel.body, push.headers(parcel, who))

        return Carrier(
            send=send, most=push.RECORDS_MOST, together=True, pause_s=self._settings.push_pause_s,
            idle_s=self._settings.push_idle_s,
        )  # fmt: skip
