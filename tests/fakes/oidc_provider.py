"""A small OpenID provider on loopback: discovery, JWKS, code with PKCE, RS256 tokens by hand.

A test stands in for the person at the provider: `sign_in(url)` is what they would do there, and
gives the query that the browser is sent back with. `claims` change the next ID token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

CLIENT_ID, CLIENT_SECRET = "portcullis", "client secret with a % in it"


class OidcProvider:
    """`asked` counts requests by path. `away` makes it answer 503."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.kid = "first"
        self.algorithm = "RS256"
        self.claims: dict[str, Any] = {}
        self.away = False
        self.asked: dict[str, int] = {}
        self.issuer = ""
        self._codes: dict[str, dict[str, str]] = {}
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(middlewares=[self._middleware])
        app.router.add_get("/.well-known/openid-configuration", self._about)
        app.router.add_get("/keys", self._keys)
        app.router.add_post("/token", self._token)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.issuer = f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def roll_keys(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.kid = "second"

    def sign_in(self, url: str) -> dict[str, str]:
        """The person signs in: code and state for the way back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert asked["client_id"] == CLIENT_ID
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return {
            "code": code,
            "state": asked["state"],
            "session_state": "its own",
            "iss": self.issuer,
        }

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked[request.path] = self.asked.get(request.path, 0) + 1
        if self.away:
            return web.Response(status=503)
        return await handler(request)

    async def _about(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            }
        )

    async def _keys(self, request: web.Request) -> web.Response:
        numbers = self.key.public_key().public_numbers()
        n = b64(numbers.n.to_bytes(256, "big"))
        key = {"kty": "RSA", "kid": self.kid, "alg": "RS256", "use": "sig", "n": n, "e": "AQAB"}
        return web.json_response({"keys": [key]})

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        who = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        assert who == f"{CLIENT_ID}:client%20secret%20with%20a%20%25%20in%20it"
        asked = self._codes.pop(str(form["code"]), None)
        verifier = str(form["code_verifier"]).encode()
        if asked is None or b64(hashlib.sha256(verifier).digest()) != asked["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        assert form["redirect_uri"] == asked["redirect_uri"]
        id_token = self._id_token(asked["nonce"])
        return web.json_response(
            {"access_token": "x", "token_type": "Bearer", "id_token": id_token}
        )

    def _id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT_ID, "sub": "subject-1", "iat": now, "exp": now + 300,
            "nonce": nonce, "email": "ada@example.com", "email_verified": True, **self.claims,
        }  # fmt: skip
        header = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT"}
        text = b64(json.dumps(header).encode()) + "." + b64(json.dumps(claims).encode())
        if self.algorithm == "none":
            return text + "."
        signature = self.key.sign(text.encode(), padding.PKCS1v15(), SHA256())
        return text + "." + b64(signature)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
