"""How often the admin API may be used: per credential and per tenant, and per address without one.

A credential (a key, a session) has a quota for reading and one for writing; its tenant one for
everything that all its keys and people do together (`requests_per_minute` of the tenant's
settings). What anybody may call (signing in, the description of the API), and whoever shows no good
credential, is counted by source address. Counted like the hooks', in Redis for all processes;
Redis away, each process counts alone (gateway/rate.py).

A tenant's figure is looked up at most once in `TENANT_S`; a look-up that fails changes nothing: the
figure that was known goes on, and without one the product's. Never unlimited.
"""

from __future__ import annotations

import time
from typing import Annotated, Literal
from uuid import UUID

import msgspec
import psycopg
import structlog
from msgspec import Meta

from gateway import metrics
from gateway.quota import Allowance, Claim, Partition, Quota
from gateway.rate import Rates
from tenancy.database import Database
from tenancy.errors import PortcullisError
from tenancy.tenant import TenantSettings
from tenancy.throttle import address_subject

log = structlog.get_logger()

CostClass = Literal["read", "write"]
TENANT_S = 1.0
TENANTS_MOST = 10_000
_TENANT = "SELECT find_tenant_rate(%b)"


class ApiRateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of one credential, or of one address that has none, in a minute. A tenant's is in its settings."""

    credential_reads: Annotated[int, Meta(ge=1)] = 600
    credential_writes: Annotated[int, Meta(ge=1)] = 300
    address_requests: Annotated[int, Meta(ge=1)] = 300


class ApiRates:
    """What the admin API's pipeline asks before it does anything for a caller."""

    def __init__(
        self,
        rates: Rates,
        database: Database,
        settings: ApiRateSettings,
        tenant: int = TenantSettings().requests_per_minute,
    ) -> None:
        """`database` connects as portcullis_admin. `tenant`: where its settings say nothing."""
        self._rates = rates
        self._database = database
        self._settings = settings
        self._tenant = tenant
        self._tenants: dict[UUID, tuple[int, float]] = {}

    async def take(self, credential: str, tenant: UUID, cost: CostClass) -> Allowance:
        """Decide and count one request. Never raises."""
        together = await self._per_minute(tenant)
        return await self._take(self._claim(credential, tenant, cost, together))

    async def take_unsigned(self, client: str) -> Allowance:
        """Decide and count one request of somebody who showed no credential. Never raises.

        IPv6 by its /64: one host has all of it.
        """
        quota = Quota("address-requests", self._settings.address_requests, 60)
        return await self._take(
            Claim(Partition(f"address:{address_subject(client).hex()}", (quota,)))
        )

    async def _take(self, claim: Claim) -> Allowance:
        allowance = await self._rates.take(claim)
        if not allowance.allowed:
            metrics.RATE_REFUSALS.labels(allowance.policy).inc()
        return allowance

    def _claim(self, credential: str, tenant: UUID, cost: CostClass, together: int) -> Claim:
        if cost == "read":
            own = Quota("credential-reads", self._settings.credential_reads, 60)
        else:
            own = Quota("credential-writes", self._settings.credential_writes, 60)
        # The tenant in braces: one hash slot, where Redis is a cluster.
        return Claim(
            Partition(f"{{{tenant}}}:api:{credential}:{cost}", (own,)),
            Partition(f"{{{tenant}}}:api", (Quota("tenant-requests", together, 60),)),
        )

    async def _per_minute(self, tenant_id: UUID) -> int:
        now = time.monotonic()
        known, read_at = self._tenants.get(tenant_id, (self._tenant, -TENANT_S))
        if now - read_at < TENANT_S:
            return known
        try:
            async with self._database.connection() as conn:
                row = await (await conn.execute(_TENANT, (tenant_id,))).fetchone()
            if row is not None:
                known = row[0] or self._tenant
        except (PortcullisError, psycopg.Error) as error:
            log.warning("tenant_rate_not_read", error=str(error))
        if len(self._tenants) >= TENANTS_MOST:
            self._tenants.clear()
        self._tenants[tenant_id] = known, now
        return known
