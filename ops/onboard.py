"""Set up customers: the one place that ties rows to keys and secrets.

The order of the writes: keys first, rows after, because a row without its key is a tenant whose
every signature fails, and keys without a row are only remains that `portcullis hsm check` names.

A secret is encrypted to the enrol token's public key right where it was typed or made, sealed by
the enroller, and stored sealed. The plain text is returned to the caller where it has to be shown
once (a hook's secret), and is nowhere else.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec

from hsm import ceremony
from hsm.client import EnrollerClient
from hsm.enrol import encrypt_key, encrypt_secret
from ops.api_client import Api
from ops.ceremonies import new_log, token_settings
from ops.settings import Settings
from ops.trial.sender import Hook
from tenancy.database import Database
from tenancy.errors import Conflict
from tenancy.ids import new_id
from tenancy.roles import scopes_of
from tenancy.scope import Actor, TenantScope
from tenancy.store.accounts import create_account, put_credential
from tenancy.store.audit_logs import create_audit_log
from tenancy.store.hooks import add_secret, create_hook
from tenancy.store.service_keys import create_service_key
from tenancy.store.strategies import create_strategy
from tenancy.store.subscriptions import create_subscription
from tenancy.store.tenants import create_tenant
from tenancy.strategy import Sequence, StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.values import AccountID, StrategyID, SubscriptionID, TenantID


class NewTenant(msgspec.Struct, frozen=True):
    """`service_key` is `pck_…`: the one time that it is seen."""

    tenant_id: str
    service_key: str

    def __repr__(self) -> str:
        return f"NewTenant({self.tenant_id!r}, service_key=…)"


async def new_tenant(
    api: Api, settings: Settings, name: str, *, why: str = "", key_hours: int = 24
) -> NewTenant:
    """Keys by ceremony on this host, then the tenant by the API, under an operator's key.

    `key_hours`: how long its first key is good for.

    Raises Conflict for a name in use, before any key is made; CeremonyRefused, Refused, Unreachable.
    """
    if any([item["name"] == name async for item in api.items("/v1/tenants")]):
        raise Conflict(f"there is a tenant called {name!r} already: choose another name")
    tenant_id = new_id()
    tokens = token_settings(settings)
    await asyncio.to_thread(ceremony.create_tenant_keys, tokens, tenant_id)
    log = await new_log(settings)
    made = await api.make(
        "/v1/tenants",
        {
            "tenant_id": tenant_id, "name": name, "first_key_hours": key_hours,
            "audit_log": {
                "log_id": log.log_id, "origin": log.origin, "key_label": log.origin,
                "public_key": base64.b64encode(log.public_key).decode(),
            },
        },
        why=why,
    )  # fmt: skip
    return NewTenant(str(tenant_id), made["service_key"])


class Onboarding:
    """What the set-up commands, the demo and the chaos run do."""

    def __init__(self, settings: Settings, database: Database, enroller: EnrollerClient) -> None:
        self._settings = settings
        self._database = database
        self._enroller = enroller
        self._enrol_key: bytes | None = None

    async def tenant(self, name: str, actor: Actor) -> TenantScope:
        """A tenant with its keys and its audit log. Raises Invalid, CeremonyRefused, Unavailable."""
        scope = await create_tenant(self._database, name, actor)
        tokens = token_settings(self._settings)
        await asyncio.to_thread(ceremony.create_tenant_keys, tokens, scope.tenant_id)
        log = await new_log(self._settings)
        async with self._database.tenant(scope) as conn:
            await create_audit_log(
                conn, scope, log.log_id, origin=log.origin, key_label=log.origin,
                public_key=log.public_key,
            )  # fmt: skip
        return scope

    async def service_key(self, scope: TenantScope, name: str) -> str:
        """A key for the management API with every scope that a key may have: shown once."""
        async with self._database.tenant(scope) as conn:
            return await create_service_key(conn, scope, name, scopes_of("customer"))

    async def strategy(
        self,
        scope: TenantScope,
        name: str,
        *,
        asset_class: str = "crypto",
        sequence: Sequence = "rotate",
        settings: StrategySettings | None = None,
    ) -> StrategyID:
        async with self._database.tenant(scope) as conn:
            return await create_strategy(
                conn, scope, name, asset_class=asset_class, sequence=sequence, settings=settings
            )

    async def hook(self, scope: TenantScope, strategy: StrategyID) -> Hook:
        """A Standard Webhooks hook with a fresh secret of 256 bits."""
        secret_id = new_id()
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        ciphertext = encrypt_secret(await self._key(), secret.encode())
        sealed = await self._enroller.seal_secret(
            scope.tenant_id, str(secret_id), "hook", ciphertext
        )
        async with self._database.tenant(scope) as conn:
            hook = await create_hook(conn, scope, strategy)
            await add_secret(conn, scope, hook, secret_id, sealed=sealed)
        return Hook(hook, secret)

    async def account(
        self,
        scope: TenantScope,
        name: str,
        *,
        broker: str,
        currency: str,
        stated_equity: Decimal | None = None,
        leverage: Decimal = Decimal(1),
        settings: dict[str, Any] | None = None,
    ) -> AccountID:
        async with self._database.tenant(scope) as conn:
            return await create_account(
                conn,
                scope,
                name,
                broker=broker,
                currency=currency,
                stated_equity=stated_equity,
                leverage=leverage,
                settings=settings,
            )

    async def credential(
        self, scope: TenantScope, account: AccountID, *, broker: str, api_key: str, secret: bytes
    ) -> None:
        """Seal the API secret under the tenant's key and make it the account's live credential."""
        ciphertext = encrypt_key(await self._key(), secret)
        sealed = await self._enroller.seal_key(scope.tenant_id, account, broker, ciphertext)
        async with self._database.tenant(scope) as conn:
            await put_credential(
                conn, scope, account, broker=broker, api_key=api_key, sealed=sealed
            )

    async def subscription(
        self,
        scope: TenantScope,
        strategy: StrategyID,
        account: AccountID,
        settings: SubscriptionSettings,
        *,
        priority: int = 0,
    ) -> SubscriptionID:
        async with self._database.tenant(scope) as conn:
            return await create_subscription(
                conn, scope, strategy, account, settings=settings, priority=priority
            )

    async def _key(self) -> bytes:
        if self._enrol_key is None:
            self._enrol_key = await self._enroller.public_key_pem()
        return self._enrol_key


@asynccontextmanager
async def onboarding(settings: Settings) -> AsyncIterator[Onboarding]:
    """An Onboarding on this installation, which must be running. Raises Unavailable."""
    database = Database(settings.database.admin, name="portcullis-setup", size=4)
    await database.open()
    enroller = EnrollerClient(settings.hsm.enroller_socket)
    try:
        yield Onboarding(settings, database, enroller)
    finally:
        await enroller.close()
        await database.close()


def operator_scope(tenant: TenantID) -> TenantScope:
    """The scope of an operator at the command line, who names a tenant: the shell is the proof."""
    return TenantScope(tenant_id=tenant, actor=Actor(kind="human", id="operator"))
