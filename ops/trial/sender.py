"""A strategy as we expect one: signed by Standard Webhooks, sent over HTTPS, repeated when in doubt."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import msgspec

from gateway.sender_kit.portcullis_sender.signing import read_key, signature_headers

TIMEOUT = aiohttp.ClientTimeout(total=10.0)


class Hook(msgspec.Struct, frozen=True):
    """Where to send, and what signs it: `secret` is `whsec_…`, or `whsk_…` for v1a."""

    hook_id: str
    secret: str

    def __repr__(self) -> str:
        return f"Hook({self.hook_id!r}, secret=…)"


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One answered webhook. Times in Unix seconds; `status` 0 where there was no answer."""

    message_id: str
    fields: dict[str, Any]
    body: str
    status: int
    signal_id: str | None
    answer: str
    trace_id: str = ""
    """As the answer names it; empty where there was none."""
    sent_at: float
    took_s: float


class Sender:
    """Sends signals to one hook."""

    def __init__(self, session: aiohttp.ClientSession, url: str, hook: Hook) -> None:
        self.url = f"{url}/v1/hooks/{hook.hook_id}"
        self._session = session
        self._keys = (read_key(hook.secret),)

    def headers(self, message_id: str, body: bytes, at: int) -> dict[str, str]:
        """The three headers of Standard Webhooks."""
        signed = signature_headers(self._keys, message_id, at, body)
        return {"content-type": "application/json", **signed}

    async def send(self, message_id: str | None = None, **fields: Any) -> Sent:
        """One POST; a connection that breaks is an answer too (status 0)."""
        message = message_id or f"msg_{uuid4().hex}"
        body = json.dumps(fields).encode()
        at, begun = time.time(), time.perf_counter()
        headers = self.headers(message, body, int(at))
        trace = ""
        try:
            async with self._session.post(self.url, data=body, headers=headers) as response:
                answer, status = await response.text(), response.status
                trace = response.headers.get("portcullis-trace-id", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            answer, status = repr(error), 0
        took = time.perf_counter() - begun
        signal = json.loads(answer)["signalId"] if status == 202 else None
        return Sent(
            message_id=message, fields=fields, body=body.decode(), status=status,
            signal_id=signal, answer=answer, trace_id=trace, sent_at=at, took_s=took,
        )  # fmt: skip


@asynccontextmanager
async def sender(
    url: str, certificate: Path | None, hook: Hook, *, connections: int = 16
) -> AsyncIterator[Sender]:
    """A sender that trusts exactly the installation's own certificate authority; None: the system's."""
    trust = ssl.create_default_context(cafile=str(certificate) if certificate else None)
    connector = aiohttp.TCPConnector(ssl=trust, limit=connections)
    async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
        yield Sender(session, url, hook)
