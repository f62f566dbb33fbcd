"""What coming in needs beside the database: the password hasher, our own address, identity providers.

One value per process, `Services.sign_in`; ops/compose_admin.py makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from gateway.admin.oidc_client import Provider
from tenancy.passwords import Passwords


class RelyingParty(msgspec.Struct, frozen=True, kw_only=True):
    """Us, as browsers and authenticators know us (WebAuthn, section 5.1.3; RFC 6454 for `origin`)."""

    id: str
    origin: str
    name: str = "Portcullis"


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """`base_url` is where browsers reach the management listener, without a slash at its end."""

    passwords: Passwords
    base_url: str
    providers: Mapping[str, Provider] = {}

    @property
    def relying_party(self) -> RelyingParty:
        parts = urlsplit(self.base_url)
        return RelyingParty(id=parts.hostname or "", origin=f"{parts.scheme}://{parts.netloc}")
