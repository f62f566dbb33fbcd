"""One identity provider: OpenID Connect Core 1.0, authorization code flow with PKCE (RFC 7636).

Authlib builds requests and checks claims, joserfc checks signatures, aiohttp carries them. What the
provider publishes (Discovery 1.0, JWKS) is kept for an hour; an unknown key id asks for the keys
again, at most once a minute. Only asymmetric algorithms are taken, and only those named here: a
token that says `none` or HS256 is refused whatever the provider publishes.

The provider away, slow, or answering nonsense: nobody comes in by it, and nothing else suffers.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.admin.refusals import ProviderFailed
from tenancy.clock import Clock
from tenancy.errors import UNREADABLE, ConfigurationError, Unavailable

ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
LEEWAY_S = 30
TIMEOUT_S = 5.0
ANSWER_MAX_BYTES = 256 * 1024
KEPT_S = 3600.0
KEYS_AGAIN_S = 60.0


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`second_factor`: "provider" believes it where it says `mfa` (RFC 8176), "own" never does.
    `domains`: whose verified addresses it may speak for."""

    name: str
    issuer: str
    client_id: str
    client_secret: str
    tenant: str
    domains: tuple[str, ...]
    second_factor: Literal["provider", "own"]

    def __repr__(self) -> str:
        return f"ProviderSettings({self.name!r}, {self.issuer!r}, client_secret=…)"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the provider says this is. `email` only where it verified one. `mfa`: it saw a second factor."""

    issuer: str
    subject: str
    email: str | None
    mfa: bool


class Provider:
    """What its documents say is asked for when it is first needed."""

    def __init__(
        self, settings: ProviderSettings, http: aiohttp.ClientSession, clock: Clock
    ) -> None:
        """Raises ConfigurationError for an issuer that is not https (loopback may be http)."""
        check_issuer(settings.issuer)
        self.settings = settings
        self._http, self._clock = http, clock
        self._about: dict[str, Any] | None = None
        self._keys: KeySet | None = None
        self._about_at = self._keys_at = 0.0
        self._asking = asyncio.Lock()

    async def authorization_url(
        self, *, redirect_uri: str, state: str, nonce: str, verifier: str
    ) -> str:
        """Where the browser goes. Raises Unavailable."""
        about = await self._metadata()
        return str(
            prepare_grant_uri(
                about["authorization_endpoint"], self.settings.client_id, "code",
                redirect_uri=redirect_uri, scope="openid email profile", state=state, nonce=nonce,
                code_challenge=create_s256_code_challenge(verifier), code_challenge_method="S256",
            )
        )  # fmt: skip

    async def identity(
        self, code: str, *, redirect_uri: str, verifier: str, nonce: str
    ) -> Identity:
        """Trade the code for an ID token, and believe what holds. Raises ProviderFailed, Unavailable."""
        about = await self._metadata()
        body = prepare_token_request(
            "authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=verifier
        )
        answer = await self._ask("POST", about["token_endpoint"], body)
        id_token = answer.get("id_token")
        if not isinstance(id_token, str):
            raise ProviderFailed("the provider gave no ID token")
        claims = await self._claims(id_token, nonce)
        verified = claims.get("email_verified") is True and isinstance(claims.get("email"), str)
        return Identity(
            issuer=self.settings.issuer,
            subject=str(claims["sub"]),
            email=claims["email"] if verified else None,
            mfa="mfa" in (claims.get("amr") or []),
        )

    def speaks_for(self, email: str) -> bool:
        """Is the address within the domains that this provider was configured for?"""
        domain = email.rpartition("@")[2].lower()
        return domain in {one.lower() for one in self.settings.domains}

    async def _claims(self, id_token: str, nonce: str) -> dict[str, Any]:
        """Core 1.0, section 3.1.3.7: signature, iss, aud, azp, exp, iat, nonce."""
        try:
            token = await self._decoded(id_token)
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": self.settings.issuer},
                    "aud": {"essential": True, "value": self.settings.client_id},
                    "exp": {"essential": True},
                    "iat": {"essential": True},
                },
                {"nonce": nonce, "client_id": self.settings.client_id},
            )
            claims.validate(now=int(self._clock.now().timestamp()), leeway=LEEWAY_S)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise ProviderFailed(f"the ID token is not valid: {type(error).__name__}") from None
        return dict(claims)

    async def _decoded(self, id_token: str) -> jwt.Token:
        try:
            return jwt.decode(id_token, await self._key_set(), algorithms=ALGORITHMS)
        except (JoseError, ValueError):
            # Its keys may have rolled: once more with fresh ones, where they are not fresh already.
            return jwt.decode(id_token, await self._key_set(fresh=True), algorithms=ALGORITHMS)

    async def _metadata(self) -> dict[str, Any]:
        async with self._asking:
            if self._about is None or self._clock.monotonic() - self._about_at > KEPT_S:
                url = self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
                about = await self._ask("GET", url)
                self._check_metadata(about)
                self._about, self._about_at = about, self._clock.monotonic()
            return self._about

    def _check_metadata(self, about: dict[str, Any]) -> None:
        """Discovery 1.0, section 4.3: the issuer must be the very one that was configured."""
        if about.get("issuer") != self.settings.issuer:
            raise Unavailable("the provider's configuration names another issuer")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            try:
                check_issuer(str(about.get(name)))
            except ConfigurationError:
                raise Unavailable(f"the provider's configuration has no usable {name}") from None

    async def _key_set(self, *, fresh: bool = False) -> KeySet:
        about = await self._metadata()
        async with self._asking:
            age = self._clock.monotonic() - self._keys_at
            if self._keys is None or age > KEPT_S or (fresh and age > KEYS_AGAIN_S):
                keys: Any = await self._ask("GET", about["jwks_uri"])
                self._keys = KeySet.import_key_set(keys)
                self._keys_at = self._clock.monotonic()
            return self._keys

    async def _ask(self, method: str, url: str, form: str | None = None) -> dict[str, Any]:
        """One request, bounded in time and size, no redirects. Raises Unavailable, ProviderFailed."""
        headers = {"accept": "application/json"}
        if form is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
            headers["authorization"] = self._basic()
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._http.request(
                    method, url, data=form, headers=headers, allow_redirects=False
                ) as answer,
            ):
                data = await answer.content.read(ANSWER_MAX_BYTES + 1)
                while len(data) <= ANSWER_MAX_BYTES and not answer.content.at_eof():
                    data += await answer.content.read(ANSWER_MAX_BYTES + 1)
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(
                f"the identity provider does not answer: {type(error).__name__}"
            ) from None
        if form is not None and 400 <= status < 500:
            raise ProviderFailed("the provider did not take the code")
        if status != 200 or len(data) > ANSWER_MAX_BYTES:
            raise Unavailable(f"the identity provider answered with status {status}")
        try:
            return msgspec.json.decode(data, type=dict[str, Any])
        except UNREADABLE:
            raise Unavailable("the identity provider did not answer in JSON") from None

    def _basic(self) -> str:
        """RFC 6749, section 2.3.1: form-encoded before they become a user name and a password."""
        pair = (self.settings.client_id, self.settings.client_secret)
        text = ":".join(quote(one, safe="") for one in pair)
        return "Basic " + base64.b64encode(text.encode()).decode()


def check_issuer(url: str) -> None:
    """Raises ConfigurationError unless it is https, or http on this very machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return
    raise ConfigurationError(f"{url!r}: an https address is needed")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
