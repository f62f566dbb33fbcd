"""Which hooks exist, whose they are, who may sign, how often: kept in memory, compared twice a second.

1. Every `poll_s` ask PostgreSQL for a digest of the hooks', secrets' and tenants' rows; where it
   moved, read the rows. So a revoked secret is out of force ≤ 1 s later, an expired one at its
   time, and a changed limit on use holds ≤ 1 s later: half a second, and what the reading takes.
2. A secret that is new is opened once by the signer and then kept in memory only. Until it is
   open its hook answers `unavailable`, never "bad signature": the sender would give up. Opening
   is a task of its own, so that a signer that hangs holds no revocation up.
3. A hook that nobody knows is looked up once; the answer "no" is remembered for a while, in
   bounded number, and look-ups are bounded per second; beyond that the next comparison finds it.

PostgreSQL away: what is loaded verifies (keeping fails by itself). Signer away: what is open
goes on; what is new waits. What is sealed is the text `whsec_<base64>`, in ASCII.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Protocol
from uuid import UUID

import msgspec
import psycopg
import structlog

from gateway import metrics
from gateway.hooks.settings import RateSettings
from gateway.hooks.tradingview import REPEAT_WINDOW_S, networks
from gateway.hooks.verify import Scheme, Secret, read_secret
from gateway.quota import Claim, Partition, Quota
from tenancy.database import Database
from tenancy.errors import Unavailable
from tenancy.pause import pause
from tenancy.values import StrategyID, TenantID

log = structlog.get_logger()


FIRST_OPENING_S = 10.0
"""How long a start waits for the signer."""


class SecretOpener(Protocol):
    """What the registry needs of the signer (hsm.client.SignerClient has it)."""

    async def open_secret(self, sealed: bytes, *, tenant_id: TenantID, subject: str) -> bytes:
        """The plain secret. `subject`: the secret's id. Raises Unavailable, or refuses for good."""
        ...


class LiveSecret(msgspec.Struct, frozen=True):
    """A secret and until when it counts. `secret` None: the signer has not opened it yet."""

    secret_id: UUID
    secret: Secret | None
    expires_at: datetime | None


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """One enabled hook."""

    hook_id: str
    tenant_id: TenantID
    strategy_id: StrategyID
    part: int
    sender: str
    secrets: tuple[LiveSecret, ...]
    sources: tuple[IPv4Network | IPv6Network, ...] = ()
    """From where a sender with a token may come."""
    repeat_window_s: int = REPEAT_WINDOW_S
    claim: Claim
    """What a signal of this hook counts against."""

    def live(self, now: datetime) -> tuple[Secret, ...]:
        """The secrets that count at this moment."""
        return tuple(
            s.secret
            for s in self.secrets
            if s.secret is not None and (s.expires_at is None or now < s.expires_at)
        )

    @property
    def waits_for_signer(self) -> bool:
        """Some secret is not open yet, so "no signature fits" proves nothing."""
        return any(s.secret is None for s in self.secrets)


class _SecretRow(msgspec.Struct, frozen=True):
    secret_id: UUID
    tenant_id: TenantID
    scheme: Scheme
    public_key: bytes | None
    token_sha256: bytes | None
    expires_at: datetime | None


_DIGEST = """
    SELECT (SELECT (count(*), sum(hashtextextended(h::text, 0))) FROM hooks h)::text,
           (SELECT (count(*), sum(hashtextextended(
                       (secret_id, hook_id, expires_at, revoked_at)::text, 0))) FROM hook_secrets)::text,
           (SELECT (count(*), sum(hashtextextended(
                       (tenant_id, signals_per_minute)::text, 0))) FROM tenants)::text
"""
_HOOKS = """
    SELECT h.hook_id, h.tenant_id, h.strategy_id, s.part, h.sender,
           k.secret_id, k.scheme, k.public_key, k.expires_at,
           h.per_minute, h.per_hour, t.signals_per_minute, k.token_sha256, h.sources, h.repeat_window_s
    FROM hooks h JOIN strategies s USING (strategy_id) JOIN tenants t ON t.tenant_id = h.tenant_id
    LEFT JOIN hook_secrets k ON k.hook_id = h.hook_id AND k.revoked_at IS NULL
                            AND (k.expires_at IS NULL OR k.expires_at > now())
    WHERE h.enabled AND h.archived_at IS NULL AND (%b::text IS NULL OR h.hook_id = %b::text)
    ORDER BY h.hook_id, k.created_at
"""
_SEALED = """
    SELECT secret_id, sealed FROM hook_secrets
    WHERE secret_id = ANY(%b::uuid[]) AND sealed IS NOT NULL AND revoked_at IS NULL
"""


class Registry:
    """The hooks of all tenants, for one ingress process."""

    def __init__(
        self,
        database: Database,
        opener: SecretOpener,
        *,
        rate: RateSettings,
        poll_s: float = 0.5,
        unknown_max: int = 10_000,
        unknown_s: float = 5.0,
        lookups_per_s: int = 20,
        lookup_timeout_s: float = 1.0,
    ) -> None:
        self._database = database
        self._opener = opener
        self._rate = rate
        self._poll_s = poll_s
        self._unknown_max, self._unknown_s = unknown_max, unknown_s
        self._lookups_per_s, self._lookup_timeout_s = lookups_per_s, lookup_timeout_s
        self._hooks: dict[str, Hook] = {}
        self._open: dict[UUID, Secret] = {}
        self._digest: Any = None
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._lookup_second, self._lookups = 0, 0
        self._task: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._loading = asyncio.Lock()
        # An event, not a cancellation: wait_for() of Python 3.11 (in psycopg_pool) may swallow one.
        self._stopping = asyncio.Event()
        self.checked_at: float | None = None
        """When the rows were last compared, monotonic; None: never. For readyz."""

    def __repr__(self) -> str:
        return f"<Registry {len(self._hooks)} hooks, {len(self._open)} secrets open>"

    async def start(self) -> None:
        """Load once (raises Unavailable without PostgreSQL), then keep up in the background."""
        try:
            await self.refresh()
        except psycopg.OperationalError as error:
            raise Unavailable("the hooks cannot be read: PostgreSQL does not answer") from error
        if self._opening is not None:  # its hooks answer `unavailable` until it has done its work
            await asyncio.wait({self._opening}, timeout=FIRST_OPENING_S)
        self._task = asyncio.create_task(self._follow(), name="hook-registry")

    async def stop(self) -> None:
        """End the comparing, after the one that is under way or 5 s."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=5)
            self._task.cancel()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening}, timeout=5)

    async def find(self, hook_id: str) -> Hook | None:
        """The hook, or None for one that does not exist or is not enabled.

        Raises Unavailable where the one look-up of a new name did not get an answer in time.
        """
        hook = self._hooks.get(hook_id)
        if hook is not None or not self._worth_asking(hook_id, time.monotonic()):
            return hook
        try:
            async with asyncio.timeout(self._lookup_timeout_s):
                async with self._loading:
                    await self._load(hook_id)
                await self._open_waiting(hook_id)
        except (Unavailable, psycopg.Error, OSError, TimeoutError) as error:
            log.warning("hook_lookup_failed", error=repr(error))
            self._unknown.pop(hook_id, None)
            raise Unavailable("the hook could not be looked up") from error
        return self._hooks.get(hook_id)

    def _worth_asking(self, hook_id: str, now: float) -> bool:
        """Once per `unknown_s`, and so many times a second over all."""
        asked_at = self._unknown.get(hook_id)
        if asked_at is not None and now - asked_at < self._unknown_s:
            return False
        if int(now) != self._lookup_second:
            self._lookup_second, self._lookups = int(now), 0
        if self._lookups >= self._lookups_per_s:
            return False
        self._lookups += 1
        self._unknown[hook_id] = now
        self._unknown.move_to_end(hook_id)
        while len(self._unknown) > self._unknown_max:
            self._unknown.popitem(last=False)
        return True

    async def refresh(self) -> None:
        """Compare, and read what moved; begin again to open what is not open."""
        async with self._loading:
            async with self._database.connection() as conn:
                digest = await (await conn.execute(_DIGEST)).fetchone()
            if digest != self._digest:
                await self._load(None)
                self._digest = digest
        self.checked_at = time.monotonic()
        metrics.HOOKS_AGE.set_to_current_time()
        waiting = any(hook.waits_for_signer for hook in self._hooks.values())
        if waiting and (self._opening is None or self._opening.done()):
            self._opening = asyncio.create_task(self._keep_opening(), name="hook-secrets")

    async def _keep_opening(self) -> None:
        """One round over what is not open; the next comparison begins another."""
        try:
            await self._open_waiting(None)
        except (Unavailable, psycopg.Error, OSError) as error:
            log.warning("hook_secrets_not_read", error=str(error))

    async def _follow(self) -> None:
        while not await pause(self._stopping, self._poll_s):
            try:
                await self.refresh()
            except (Unavailable, psycopg.Error, OSError) as error:
                log.warning("hook_refresh_failed", error=str(error))

    async def _load(self, only: str | None) -> None:
        async with self._database.connection() as conn:
            rows = await (await conn.execute(_HOOKS, (only, only))).fetchall()
        hooks = self._hooks_of(rows)
        if only is not None:
            self._hooks.update(hooks)
        else:
            self._hooks = hooks
            live = {s.secret_id for hook in hooks.values() for s in hook.secrets}
            self._open = {k: v for k, v in self._open.items() if k in live}
        self._count()

    def _count(self) -> None:
        metrics.HOOKS_LOADED.set(len(self._hooks))
        metrics.HOOKS_UNOPENED.set(sum(h.waits_for_signer for h in self._hooks.values()))

    async def _open_waiting(self, only: str | None) -> None:
        """Open what is not open, of one hook or of all. No connection is held while the signer thinks."""
        waiting = {
            secret.secret_id: hook.tenant_id
            for hook in self._hooks.values()
            if only is None or hook.hook_id == only
            for secret in hook.secrets
            if secret.secret is None
        }
        if not waiting:
            return
        async with self._database.connection() as conn:
            rows = await (await conn.execute(_SEALED, (list(waiting),))).fetchall()
        for secret_id, sealed in rows:
            await self._open_one(secret_id, waiting[secret_id], bytes(sealed))
            self._fill()

    def _fill(self) -> None:
        """What was opened meanwhile, put where it belongs; the hooks may be others by now."""
        for hook in [hook for hook in self._hooks.values() if hook.waits_for_signer]:
            secrets = tuple(
                msgspec.structs.replace(one, secret=one.secret or self._open.get(one.secret_id))
                for one in hook.secrets
            )
            self._hooks[hook.hook_id] = msgspec.structs.replace(hook, secrets=secrets)
        self._count()

    async def _open_one(self, secret_id: UUID, tenant: TenantID, sealed: bytes) -> None:
        """A secret that cannot be opened stays closed, and its hook waits: no other is touched."""
        try:
            plain = await self._opener.open_secret(sealed, tenant_id=tenant, subject=str(secret_id))
            self._open[secret_id] = Secret("v1", read_secret(plain))
        except Exception as error:
            # Whatever it was, the text of a library's error is not trusted with a secret nearby.
            log.warning("hook_secret_closed", secret_id=str(secret_id), error=type(error).__name__)

    def _hooks_of(self, rows: list[Any]) -> dict[str, Hook]:
        secrets: dict[str, list[LiveSecret]] = {}
        facts: dict[str, Any] = {}
        for row in rows:
            facts[row[0]] = row
            secret = _secret_row(row)
            if secret is not None:
                if secret.scheme == "v1a":  # a public key: nothing to open
                    self._open[secret.secret_id] = Secret("v1a", secret.public_key or b"")
                elif secret.scheme == "url_token":  # a hash: nothing to open either
                    self._open[secret.secret_id] = Secret("url_token", secret.token_sha256 or b"")
                opened = self._open.get(secret.secret_id)
                secrets.setdefault(row[0], []).append(
                    LiveSecret(secret.secret_id, opened, secret.expires_at)
                )
        return {
            hook_id: Hook(
                hook_id=hook_id, tenant_id=row[1], strategy_id=row[2], part=row[3], sender=row[4],
                secrets=tuple(secrets.get(hook_id, ())),
                sources=networks(row[13]) if row[4] == "tradingview" else (),
                repeat_window_s=row[14] or REPEAT_WINDOW_S,
                claim=_claim(hook_id, row[1], self._rate, per_minute=row[9], per_hour=row[10], together=row[11]),
            )
            for hook_id, row in facts.items()
        }  # fmt: skip


def _secret_row(row: Any) -> _SecretRow | None:
    if row[5] is None:
        return None
    expires_at = row[8].astimezone(UTC) if row[8] is not None else None
    public_key = bytes(row[7]) if row[7] is not None else None
    token_sha256 = bytes(row[12]) if row[12] is not None else None
    return _SecretRow(row[5], row[1], row[6], public_key, token_sha256, expires_at)


def _claim(
    hook_id: str,
    tenant_id: TenantID,
    rate: RateSettings,
    *,
    per_minute: int | None,
    per_hour: int | None,
    together: int | None,
) -> Claim:
    """The hook's own quotas, or the installation's; and its tenant's for all hooks `together`.

    The tenant in braces: one hash slot, where Redis is a cluster.
    """
    own = Partition(
        f"{{{tenant_id}}}:hook:{hook_id}",
        (
            Quota("hook-minute", per_minute or rate.per_minute, 60),
            Quota("hook-hour", per_hour or rate.per_hour, 3600),
        ),
    )
    if together is None:
        return Claim(own)
    return Claim(
        own, Partition(f"{{{tenant_id}}}:signals", (Quota("tenant-minute", together, 60),))
    )
