"""A new customer: its keys by ceremony on this host, everything else by the API.

1. The name is looked for, so that no key is made for a tenant that cannot be.
2. The tenant's keys, and its log's, in the HSM.
3. `POST /v1/tenants`, which proves that the keys are there and makes all rows in one transaction.

Keys come first, because a row without its key is a tenant whose every signature fails; a crash before
3 leaves keys without a row, which `portcullis hsm check` names.
"""

from __future__ import annotations

import asyncio
import base64

import msgspec

from hsm import ceremony
from ops.api_client import Api
from ops.ceremonies import new_log, recorded, token_settings
from ops.settings import Settings
from tenancy.errors import Conflict
from tenancy.ids import new_id
from tenancy.scope import Actor, TenantScope
from tenancy.values import TenantID


class NewTenant(msgspec.Struct, frozen=True):
    """`service_key` is `pck_…`: the one time that it is seen."""

    tenant_id: TenantID
    service_key: str

    def __repr__(self) -> str:
        return f"NewTenant({self.tenant_id}, service_key=…)"


async def new_tenant(
    api: Api, settings: Settings, name: str, *, why: str = "", key_hours: int = 24
) -> NewTenant:
    """Keys by ceremony on this host, then the tenant by the API, under an operator's key.

    `key_hours`: how long its first key is good for.

    Raises Conflict for a name in use, before any key is made; CeremonyRefused, Refused, Unreachable.
    """
    if any([item["name"] == name async for item in api.items("/v1/tenants")]):
        raise Conflict(f"there is a tenant called {name!r} already: choose another name")
    tenant_id = TenantID(new_id())
    tokens = token_settings(settings)
    await asyncio.to_thread(ceremony.create_tenant_keys, tokens, tenant_id)
    log = await new_log(settings)
    kept = await asyncio.to_thread(
        recorded, settings, "tenant", tenant_id=str(tenant_id), log=log.origin
    )
    ceremony_record = f"ceremony record {kept.record.number}, sha256 {kept.sha256}"
    made = await api.make(
        "/v1/tenants",
        {
            "tenant_id": tenant_id, "name": name, "first_key_hours": key_hours,
            "audit_log": {
                "log_id": log.log_id, "origin": log.origin, "key_label": log.origin,
                "public_key": base64.b64encode(log.public_key).decode(),
                "p256_key": base64.b64encode(log.p256_key).decode(),
            },
        },
        why=f"{why}; {ceremony_record}" if why else ceremony_record,
    )  # fmt: skip
    return NewTenant(tenant_id, made["service_key"])


def operator_scope(tenant: TenantID) -> TenantScope:
    """The scope of an operator on the host, who names a tenant: the shell is the proof."""
    return TenantScope(tenant_id=tenant, actor=Actor(kind="human", id="operator"))
