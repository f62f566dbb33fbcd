"""Send a Standard Webhook: signed, once.

Source: the Standard Webhooks specification, scheme `v1`: HMAC-SHA256 over `id.timestamp.body` under
each live secret, so that a receiver may change to the new one whenever it likes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from gateway.notify.addresses import Lookup, system_lookup
from gateway.notify.outcome import Message, Outcome
from gateway.notify.posting import Post, posting
from gateway.notify.settings import NotifySettings
from tenancy.clock import Clock


class Webhook:
    """One receiver, for as long as a sender is at it."""

    def __init__(self, post: Post, clock: Clock) -> None:
        self._post, self._clock = post, clock

    async def send(self, message: Message, secrets: Sequence[bytes]) -> Outcome:
        """One attempt. Never raises for what the other side does."""
        headers = signed(message, secrets, int(self._clock.now().timestamp()))
        return await self._post.send(message.body, headers)


def signed(message: Message, secrets: Sequence[bytes], at: int) -> dict[str, str]:
    """The headers of one attempt at Unix second `at`."""
    text = b"%b.%d.%b" % (message.id.encode(), at, message.body)
    signatures = [base64.b64encode(hmac.digest(s, text, hashlib.sha256)).decode() for s in secrets]
    return {
        "content-type": "application/json",
        "webhook-id": message.id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


@asynccontextmanager
async def opened(
    url: str, settings: NotifySettings, clock: Clock, lookup: Lookup = system_lookup
) -> AsyncIterator[Webhook]:
    """A Webhook; nothing connects before the first send()."""
    async with posting(url, settings, clock, lookup) as post:
        yield Webhook(post, clock)
