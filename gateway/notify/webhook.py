"""Send a Standard Webhook: signed, to a permitted address, once.

Source: the Standard Webhooks specification, scheme `v1`: HMAC-SHA256 over `id.timestamp.body` under
each live secret, so that a receiver may change to the new one whenever it likes. Only 2xx is
success. Redirects are not followed (they would lead around the fence), no proxy is taken from the
environment, no cookie is kept, and of the answer no more than 1 KiB is read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path

import aiohttp
from yarl import URL

from gateway.notify.addresses import AddressRefused, Fence, FencedResolver, Lookup, system_lookup
from gateway.notify.outcome import Message, Outcome, read_retry_after
from gateway.notify.settings import NotifySettings
from tenancy.clock import Clock

ANSWER_MOST_BYTES = 1024
EXCERPT_CHARACTERS = 200


class Webhook:
    """One receiver, for as long as a sender is at it: its connection is kept meanwhile."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, fence: Fence, clock: Clock
    ) -> None:
        self._session, self._url, self._fence, self._clock = session, URL(url), fence, clock

    async def send(self, message: Message, secrets: Sequence[bytes]) -> Outcome:
        """One attempt. Never raises for what the other side does."""
        headers = signed(message, secrets, int(self._clock.now().timestamp()))
        try:
            self._fence.check_literal(self._url.host or "")
            return await self._post(message.body, headers)
        except AddressRefused as error:
            return _failed(str(error))
        except TimeoutError:
            return _failed("no answer in time")
        except aiohttp.ClientConnectorCertificateError:
            return _failed("the certificate is not valid for this name")
        except aiohttp.ClientConnectorDNSError as error:
            refused = error.os_error if isinstance(error.os_error, AddressRefused) else None
            return _failed(str(refused or "the name was not found"))
        except aiohttp.ClientSSLError:
            return _failed("TLS could not be agreed on")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _failed(f"no answer: {type(error).__name__}")

    async def _post(self, body: bytes, headers: dict[str, str]) -> Outcome:
        async with self._session.post(
            self._url, data=body, headers=headers, allow_redirects=False
        ) as response:
            begin = await _beginning(response)
            outcome = _judged(response, begin, self._clock)
            if not response.content.at_eof():
                response.close()  # the rest is nothing to us
            return outcome


def signed(message: Message, secrets: Sequence[bytes], at: int) -> dict[str, str]:
    """The headers of one attempt at Unix second `at`."""
    text = b"%b.%d.%b" % (message.id.encode(), at, message.body)
    signatures = [base64.b64encode(hmac.digest(s, text, hashlib.sha256)).decode() for s in secrets]
    return {
        "content-type": "application/json",
        "user-agent": "Portcullis",
        "webhook-id": message.id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


@asynccontextmanager
async def opened(
    url: str, settings: NotifySettings, clock: Clock, lookup: Lookup = system_lookup
) -> AsyncIterator[Webhook]:
    """A Webhook; nothing connects before the first send()."""
    fence = Fence(settings.allow_networks, loopback_only=URL(url).scheme == "http")
    connector = aiohttp.TCPConnector(
        resolver=FencedResolver(fence, lookup, settings.connect_timeout_s),
        use_dns_cache=False,
        ssl=_tls(settings.ca_file),
        limit=1,
    )
    timeout = aiohttp.ClientTimeout(
        total=settings.timeout_s,
        connect=settings.connect_timeout_s,
        sock_connect=settings.connect_timeout_s,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    ) as session:
        yield Webhook(session, url, fence, clock)


@lru_cache(maxsize=4)
def _tls(ca_file: Path | None) -> ssl.SSLContext:
    """Made once: reading all authorities takes many milliseconds."""
    return ssl.create_default_context(cafile=str(ca_file) if ca_file is not None else None)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    begin = b""
    try:
        while len(begin) < ANSWER_MOST_BYTES:
            part = await response.content.read(ANSWER_MOST_BYTES - len(begin))
            if not part:
                break
            begin += part
    except (aiohttp.ClientError, OSError):
        pass  # the status is what counts, and it is here
    return begin


def _judged(response: aiohttp.ClientResponse, begin: bytes, clock: Clock) -> Outcome:
    status = response.status
    excerpt = begin.decode("utf-8", "replace")[:EXCERPT_CHARACTERS]
    excerpt = "".join(c if c.isprintable() else " " for c in excerpt)
    if 200 <= status < 300:
        return Outcome(delivered=True, text=f"answered {status}", status=status, excerpt=excerpt)
    text = f"answered {status}"
    if 300 <= status < 400:
        text += "; redirects are not followed: set the address it names"
    return Outcome(
        delivered=False,
        text=text,
        status=status,
        gone=status == 410,
        retry_after_s=read_retry_after(response.headers.get("retry-after"), clock.now()),
        excerpt=excerpt,
    )


def _failed(text: str) -> Outcome:
    return Outcome(delivered=False, text=text)
