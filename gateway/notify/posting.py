"""POST to an address that somebody else wrote, once: to a permitted place, under TLS, with little patience.

Redirects are not followed (they would lead around the fence), no proxy is taken from the environment, no
cookie is kept, and of the answer no more than 1 KiB is read. Only 2xx is success. What is said of a failure
never holds the address: it may be a secret.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path

import aiohttp
from yarl import URL

from gateway.notify.addresses import AddressRefused, Fence, FencedResolver, Lookup, system_lookup
from gateway.notify.outcome import Outcome, read_retry_after
from gateway.notify.settings import NotifySettings
from tenancy.clock import Clock

ANSWER_MOST_BYTES = 1024
EXCERPT_CHARACTERS = 200
USER_AGENT = "Portcullis"


class Post:
    """One address, for as long as a sender is at it: its connection is kept meanwhile."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, fence: Fence, clock: Clock,
        gone: Collection[int],
    ) -> None:  # fmt: skip
        self._session, self._url, self._fence, self._clock = session, URL(url), fence, clock
        self._gone = gone

    def __repr__(self) -> str:
        return "<Post>"

    async def send(self, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """One attempt. Never raises for what the other side does."""
        try:
            self._fence.check_literal(self._url.host or "")
            return await self._send(body, {"user-agent": USER_AGENT, **headers})
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

    async def _send(self, body: bytes, headers: Mapping[str, str]) -> Outcome:
        async with self._session.post(
            self._url, data=body, headers=headers, allow_redirects=False
        ) as response:
            begin = await _beginning(response)
            outcome = self._judged(response, begin)
            if not response.content.at_eof():
                response.close()  # the rest is nothing to us
            return outcome

    def _judged(self, response: aiohttp.ClientResponse, begin: bytes) -> Outcome:
        status = response.status
        excerpt = begin.decode("utf-8", "replace")[:EXCERPT_CHARACTERS]
        excerpt = "".join(c if c.isprintable() else " " for c in excerpt)
        text = f"answered {status}"
        if 200 <= status < 300:
            return Outcome(delivered=True, text=text, status=status, excerpt=excerpt)
        if 300 <= status < 400:
            text += "; redirects are not followed: set the address it names"
        return Outcome(
            delivered=False,
            text=text,
            status=status,
            gone=status in self._gone,
            retry_after_s=read_retry_after(response.headers.get("retry-after"), self._clock.now()),
            excerpt=excerpt,
        )


@asynccontextmanager
async def posting(
    url: str,
    settings: NotifySettings,
    clock: Clock,
    lookup: Lookup = system_lookup,
    *,
    gone: Collection[int] = (410,),
) -> AsyncIterator[Post]:
    """A Post; nothing connects before the first send(). `gone`: the answers that mean *no more*."""
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
        yield Post(session, url, fence, clock, gone)


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


def _failed(text: str) -> Outcome:
    return Outcome(delivered=False, text=text)
