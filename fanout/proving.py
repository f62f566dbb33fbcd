"""Make a sealed credential live, once its broker has said that it may be; and ask again now and then.

The management API seals and writes the row as `proving` (gateway/admin/credentials.py); it has no
way to a broker. The worker that holds the account's partition has:

1. Find credentials that wait, in our partitions.
2. Read one with its account. What signs for the account meanwhile is the live one, as before.
3. Ask the broker (ports.Broker.prove). *Crash: nothing was written; the next owner asks again. A test
   order that may rest is named by the credential, and whoever asks again cancels it first.*
4. In one transaction, under the lease: the rows of the account's credentials, locked. If ours is among
   them still (nobody replaced or revoked it):
   - proven: the live one ends, ours is `live`, the proof, the record `credential.proven`;
   - not proven: ours is `refused`, the proof with the broker's words, `credential.refused`. The live
     one stays.
   *Crash before the commit: as after 3. After it: all of it is so; who waits for it reads it.*

No clear answer (broker or signer away) changes nothing: it stays `proving` and is asked again, later
and later. The database lets no other process make a credential live (0019_proofs.sql).

A live one is asked about every `again_s` in the same way. What is news is recorded; a key that came to
do more than when it was taken (proof.DANGEROUS) also makes its account as strict as the tenant set
(`unsafe_credential`), in the same transaction. It stays the live one: taking it away could leave
positions that nobody can close. A person who lets the account trade again is not overruled by the
same news.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Mapping
from uuid import UUID

import msgspec
import structlog

from audit.inbox import append
from fanout import metrics
from fanout import proving_rows as rows
from fanout.account_stop import make_stricter
from fanout.accounts import Accounts
from fanout.leases import LeaseLost, Leases
from fanout.ports import Broker
from fanout.proof import DANGEROUS, NotProven, Proof, of_the_same_user
from fanout.proving_rows import PROVER, Candidate, Said, Standing, Waiting
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import PortcullisError, Unavailable
from tenancy.pause import pause
from tenancy.scope import TenantScope
from tenancy.store.tenants import read_settings
from tenancy.values import TenantID

log = structlog.get_logger()

AT_ONCE = 8
NEW_MOST = 200
"""In hand at a time. Each look leaves out what is in hand, so thousands of them would make looking the work."""
FORGET_S = 120.0
AGAIN_MOST = 50
"""Live ones asked about in one round: an installation's first day after an update takes hours, not seconds."""
BACKOFF_S = (2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""After an answer that was none. The first is longer than a broker's own deadline for a request."""


class ProvingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds. `poll_s` between looks for new ones, `sweep_s` for those whose proof is too old."""

    poll_s: float = 0.25
    sweep_s: float = 30.0
    again_s: float = 86_400.0
    backoff_s: tuple[float, ...] = BACKOFF_S


class Prover:
    """The credentials of this worker's partitions."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        accounts: Accounts,
        brokers: Mapping[str, Broker],
        clock: Clock,
        settings: ProvingSettings | None = None,
    ) -> None:
        self._database = database
        self._leases = leases
        self._accounts = accounts
        self._brokers = brokers
        self._clock = clock
        self._settings = settings or ProvingSettings()
        self._asking: dict[UUID, asyncio.Task[None]] = {}
        self._failed: dict[UUID, tuple[int, float]] = {}  # how often, and not before (monotonic)
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._next_sweep = clock.monotonic() + self._settings.sweep_s

    def __repr__(self) -> str:
        return f"Prover(asking={len(self._asking)})"

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop; what is under way then is asked again by whoever is next."""
        try:
            while not stop.is_set():
                try:
                    await self._look()
                except PortcullisError as error:
                    log.warning("proofs_not_looked_for", error=str(error))
                await pause(stop, self._settings.poll_s)
        finally:
            for task in self._asking.values():
                task.cancel()
            await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def _look(self) -> None:
        parts, now_s = self._leases.parts(), self._clock.monotonic()
        # What is over is never found again, and need not be remembered.
        self._failed = {k: v for k, v in self._failed.items() if v[1] > now_s - FORGET_S}
        if not parts:
            return
        resting = [k for k, (_, not_before) in self._failed.items() if not_before > now_s]
        but = [*self._asking, *resting]
        async with self._database.connection() as conn:
            found = await rows.unproven(conn, parts, but, max(0, NEW_MOST - len(self._asking)))
            if now_s >= self._next_sweep:
                self._next_sweep = now_s + self._settings.sweep_s
                found += await rows.due(conn, parts, but, AGAIN_MOST, self._clock.now())
        for waiting in found:
            self._asking[waiting.credential_id] = asyncio.create_task(self._one(waiting))
        metrics.UNPROVEN.set(len(self._asking) + len(resting))

    async def _one(self, waiting: Waiting) -> None:
        """An error ends it here; the row still waits."""
        name = str(waiting.credential_id)
        try:
            async with self._gate:
                await self._prove(waiting)
            self._failed.pop(waiting.credential_id, None)
        except LeaseLost as error:
            log.info("proof_left_to_the_next_owner", credential_id=name, why=str(error))
        except PortcullisError as error:
            self._later(waiting)
            log.warning("proof_waits", credential_id=name, code=error.code, error=str(error))
        except Exception:  # a bug of an adapter proves nothing
            self._later(waiting)
            log.exception("proof_failed", credential_id=name)
        finally:
            del self._asking[waiting.credential_id]

    def _later(self, waiting: Waiting) -> None:
        often, _ = self._failed.get(waiting.credential_id, (0, 0.0))
        pauses = self._settings.backoff_s
        not_before = self._clock.monotonic() + pauses[min(often, len(pauses) - 1)]
        self._failed[waiting.credential_id] = (often + 1, not_before)
        metrics.PROOFS.labels("unclear").inc()

    async def _prove(self, waiting: Waiting) -> None:
        """Steps 2 to 4. Raises LeaseLost, Unavailable and whatever else proves nothing."""
        epoch = self._leases.epoch(waiting.part)
        scope = TenantScope(tenant_id=waiting.tenant_id, actor=PROVER)
        async with self._database.tenant(scope) as conn:
            one = await rows.read(conn, waiting.credential_id)
        if one is None:
            return
        broker = self._brokers.get(one.broker)
        if broker is None:
            raise NotConnected(f"{one.broker} is not connected here")
        not_after = self._leases.require(waiting.part, epoch, broker.request_timeout_s)
        name = test_order_name(one) if one.test_order and one.state == "proving" else None
        proof = await broker.prove(one.account, test_order=name, not_after=not_after)
        proof = of_the_same_user(proof, one.live_user)
        async with self._database.tenant(scope) as conn:
            await self._leases.fence(conn, {waiting.part: epoch})
            settled = await self._settle(conn, one, proof)
        if settled:
            metrics.PROOFS.labels("refused" if isinstance(proof, NotProven) else "proven").inc()
            with contextlib.suppress(Unavailable):
                await self._accounts.renew(scope, one.account.account_id)

    async def _settle(self, conn: Connection, one: Candidate, proof: Proof) -> bool:
        """Step 4. False: it is over, or became something else, while the broker was asked."""
        standing = await rows.standing(conn, one.account.account_id)
        ours = standing.get(one.credential_id)
        if ours is None or ours.state != one.state:
            return False
        if ours.state == "proving":
            await self._decide(conn, one, ours, standing, proof)
        else:
            await self._look_again(conn, one, proof)
        return True

    async def _decide(
        self,
        conn: Connection,
        one: Candidate,
        ours: Standing,
        standing: dict[UUID, Standing],
        proof: Proof,
    ) -> None:
        at_ns = self._clock.now_ns()
        if isinstance(proof, NotProven):
            why = f"refused: {proof.words}"[:1000]
            await rows.end(conn, one, ours, why, at_ns, refused=True)
        else:
            for before in standing.values():
                if before.state == "live":
                    why = f"replaced by {one.credential_id}, which is proven"
                    await rows.end(conn, one, before, why, at_ns)
            await rows.begin(conn, one, ours)
        await self._keep(conn, one, proof)
        entry = rows.record(one, proof, enrolled=True, at_ns=at_ns)
        await append(conn, [(one.account.tenant_id, entry)])

    async def _look_again(self, conn: Connection, one: Candidate, proof: Proof) -> None:
        before = await rows.said(conn, one.credential_id)
        await self._keep(conn, one, proof)
        if not is_news(before, proof):
            return
        at_ns, tenant = self._clock.now_ns(), one.account.tenant_id
        entry = rows.record(one, proof, enrolled=False, at_ns=at_ns)
        await append(conn, [(tenant, entry)])
        if isinstance(proof, NotProven) and proof.code in DANGEROUS:
            await self._stop(conn, one, proof, tenant, at_ns)

    async def _stop(
        self, conn: Connection, one: Candidate, proof: NotProven, tenant: TenantID, at_ns: int
    ) -> None:
        state = (await read_settings(conn, tenant)).unsafe_credential
        log.warning(
            "credential_became_unsafe", account=str(one.account.account_id), code=proof.code,
            state=state,
        )  # fmt: skip
        if state != "active":
            why = f"the account's API key became unsafe: {proof.words}"[:1000]
            account = one.account
            await make_stricter(
                conn, account.tenant_id, account.account_id, state, why, self._clock.now(), at_ns,
                PROVER,
            )  # fmt: skip

    async def _keep(self, conn: Connection, one: Candidate, proof: Proof) -> None:
        now = self._clock.now()
        await rows.keep(conn, one, proof, now, rows.later(now, self._settings.again_s))


class NotConnected(PortcullisError):
    """No adapter of this worker is for the account's broker: the credential waits."""

    code = "not_connected"


def is_news(before: Said | None, proof: Proof) -> bool:
    """Does the broker say something else of the key than last time? Pure."""
    if before is None:
        return True
    code = proof.code if isinstance(proof, NotProven) else ""
    return (before.code, before.scopes) != (code, proof.scopes)


def test_order_name(one: Candidate) -> str:
    """The same for every try, and nobody else's: `p` and 25 of [a-z2-7], 125 bits of the id."""
    return "p" + base64.b32encode(one.credential_id.bytes).decode().lower()[:25]
