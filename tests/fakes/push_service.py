"""A browser and its push service, as RFC 8030, 8291 and 8292 have them: what it is sent, only it can read.

The browser's private key is here and nowhere else, so what a message says is proven by decrypting it. Whether the
sender is who the subscription was made for is checked as a push service does: by the signature, the origin and the
time in the Authorization header; a message that fails is answered 403 and is not the browser's.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import http_ece
import msgspec
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import ECKey

from gateway.notify.vapid import b64, point
from tests.fakes.receiver import Receiver, receiver
from tests.fixtures.tls import Certificate

_VAPID = re.compile(r"vapid t=([\w.-]+), k=([\w-]{87})")


class Shown(msgspec.Struct):
    """A message as the browser's worker gets it, and the headers it came with."""

    note: dict[str, Any]
    headers: dict[str, str]
    plain: bytes

    @property
    def id(self) -> str:
        name: str = self.note["id"]
        return name


class Browser:
    """Subscribed at a push service, for one application server's key."""

    def __init__(self, service: Receiver) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.auth = os.urandom(16)
        self.subscribed_for = b""
        self.service = service
        self.shown: list[Shown] = []
        self.refused: list[str] = []
        self.moods: list[int] = []
        """The answers of the push service, used up one a message; afterwards 201."""
        self.on_message: Any = None
        """Called for each message that was proven, before it is answered."""
        service.always = self._take

    @property
    def p256dh(self) -> bytes:
        return point(self.key.public_key())

    @property
    def endpoint(self) -> str:
        return f"{self.service.url}/{b64(self.auth)}"

    def subscription(self, public_key: str, **more: Any) -> dict[str, Any]:
        """What the page sends to POST /v1/me/push, after PushManager.subscribe() with that key."""
        return {
            "endpoint": self.endpoint, "p256dh": b64(self.p256dh), "auth": b64(self.auth),
            "public_key": public_key, "label": "a phone", **more,
        }  # fmt: skip

    async def wait_for(self, count: int) -> list[Shown]:
        await self.service.wait_for(count)
        return self.shown

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = self.service.arrivals[-1].body
        headers = {name.lower(): value for name, value in request.headers.items()}
        why = self._why_not(headers, body)
        if why:
            self.refused.append(why)
            return web.Response(status=403, text=why)
        status = self.moods.pop(0) if self.moods else 201
        if status < 300:
            self._show(headers, body)
        if self.on_message is not None:
            await self.on_message(request)
        return web.Response(status=status)

    def _why_not(self, headers: dict[str, str], body: bytes) -> str:
        found = _VAPID.fullmatch(headers.get("authorization", ""))
        if found is None:
            return "no vapid"
        if found[2] != b64(self.subscribed_for):
            return "another key than the subscription's"
        k = self.subscribed_for
        key = ECKey.import_key({"kty": "EC", "crv": "P-256", "x": b64(k[1:33]), "y": b64(k[33:])})
        try:
            claims = jwt.decode(found[1], key, algorithms=["ES256"]).claims
        except Exception as error:
            return f"the signature: {type(error).__name__}"
        if claims["aud"] != self.service.url.removesuffix("/in"):
            return f"the audience is {claims['aud']}"
        if not time.time() < claims["exp"] <= time.time() + 86_400:
            return f"it expires {claims['exp']}"
        if not claims["sub"].startswith("mailto:"):
            return f"the contact is {claims['sub']}"
        if headers.get("content-encoding") != "aes128gcm" or not headers.get("ttl", "").isdigit():
            return "RFC 8030's headers"
        return "too long" if len(body) > 4096 else ""

    def _show(self, headers: dict[str, str], body: bytes) -> None:
        plain = http_ece.decrypt(
            body, private_key=self.key, auth_secret=self.auth, version="aes128gcm"
        )
        self.shown.append(Shown(msgspec.json.decode(plain), headers, plain))


@asynccontextmanager
async def browser(certificate: Certificate) -> AsyncIterator[Browser]:
    """With its push service running."""
    async with receiver(certificate) as service:
        yield Browser(service)
