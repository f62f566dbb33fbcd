"""What people sign in with, from the operator's `[admin]`: the password hasher and identity providers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from gateway.admin.oidc_client import Provider, ProviderSettings
from gateway.admin.sign_in import SignIn
from ops.settings import AdminSettings
from tenancy.clock import Clock
from tenancy.errors import ConfigurationError
from tenancy.passwords import Passwords


@asynccontextmanager
async def signing_in(settings: AdminSettings, clock: Clock) -> AsyncIterator[SignIn]:
    """Open for as long as the process serves. Raises ConfigurationError; asks no provider yet."""
    passwords = Passwords()
    try:
        async with aiohttp.ClientSession() as http:
            yield SignIn(
                passwords=passwords,
                base_url=settings.base_url.rstrip("/"),
                providers={
                    provider.name: Provider(provider, http, clock)
                    for provider in providers(settings)
                },
            )
    finally:
        passwords.close()


def providers(settings: AdminSettings) -> list[ProviderSettings]:
    """The configured ones with their secrets. Raises ConfigurationError."""
    return [
        ProviderSettings(
            name=name,
            issuer=one.issuer,
            client_id=one.client_id,
            client_secret=read_secret(one.client_secret_file),
            tenant=one.tenant,
            domains=one.domains,
            second_factor=one.second_factor,
        )
        for name, one in settings.oidc.items()
    ]


def read_secret(path: Path) -> str:
    """One line. Raises ConfigurationError where it is missing, empty, or open to others."""
    try:
        mode, text = path.stat().st_mode, path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise ConfigurationError(f"{path}: others may read it; chmod 600 {path}")
    if not text:
        raise ConfigurationError(f"{path} is empty: the client secret is needed in it")
    return text
