"""What the vault refused becomes audit records, each exactly once: from the daemons' journals to the inbox.

A refusal is the platform's matter: its record goes into the platform's log. Where the row that was
shown is proven by its MAC to be a tenant's, that tenant's log has one too, without what was said of
anybody else.

1. Ask the daemon for the lines behind the position that the table holds.
2. In one transaction: move the position from exactly where it was, and append the records.
3. Commit. *Crash before: nothing was written, the lines are asked for again. After: they are behind us.*

An unknown commit is no harm: the next round reads the position anew. A daemon that is away keeps its
lines; numbers that are missing (old files went) or a journal that has become shorter are records too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import structlog

from audit.inbox import Entry, append
from audit.record import Kind
from hsm import metrics
from hsm.client import RefusalPage, VaultClient
from hsm.refusals import Refusal
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import PortcullisError, Unavailable
from tenancy.pause import pause
from tenancy.scope import Actor
from tenancy.values import TenantID

LOOK_EVERY_S = 1.0
PAGE = 64

EVENTS = {
    "signing_refused": "a request that the policy does not allow",
    "seal_broken": "a sealed row that was altered, or is another tenant's or account's",
    "signing_rate": "a tenant's rate of signatures was used up",
    "gap": "more was refused than is written down",
    "lines_lost": "lines of the journal went before they were recorded",
    "journal_shortened": "the journal is shorter than it was: somebody cut it",
}
"""What the payload's `event` can be."""

log = structlog.get_logger()


class Page(msgspec.Struct, frozen=True):
    """What is to be written for one page of a journal, and where the position stands then."""

    entries: list[tuple[TenantID, Entry]]
    seq: int


def page_of(
    daemon: str,
    after: int,
    page: RefusalPage,
    platform: TenantID,
    with_log: frozenset[UUID],
    now_ns: int,
) -> Page:
    """The records of a page. Pure. `with_log`: tenants that have an audit log."""
    actor = Actor("sys", daemon)
    about = {"daemon": daemon, "journal": str(page.journal)}

    def entry(ts_ns: int, facts: Mapping[str, Any]) -> Entry:
        payload = {**about, **facts}
        return Entry(kind=Kind.HSM_REFUSED, ts_ns=ts_ns, payload=payload, actor=actor, cls="admin")

    if page.last < after:
        facts = {"event": "journal_shortened", "n": page.last, "was": after}
        return Page([(platform, entry(now_ns, facts))], page.last)
    entries: list[tuple[TenantID, Entry]] = []
    seq = after
    for refusal in page.refusals:
        if refusal.seq > seq + 1:
            facts = {"event": "lines_lost", "n": seq + 1, "to": refusal.seq - 1}
            entries.append((platform, entry(refusal.ts_ns, facts)))
        entries.append((platform, entry(refusal.ts_ns, told(refusal))))
        if refusal.proven in with_log and refusal.proven != platform:
            own = told_to_owner(refusal)
            entries.append((TenantID(refusal.proven), entry(refusal.ts_ns, own)))
        seq = refusal.seq
    return Page(entries, seq)


def told(refusal: Refusal) -> dict[str, Any]:
    """All of it, for the platform."""
    facts = {
        "event": refusal.code, "n": refusal.seq, "why": refusal.why, "request": refusal.request,
        "what": refusal.what, "tenant": refusal.tenant and str(refusal.tenant),
        "subject": refusal.subject, "row": refusal.row, "body_sha256": refusal.body_sha256,
        "proven": refusal.proven and str(refusal.proven), "missed": dict(refusal.missed),
    }  # fmt: skip
    return {name: fact for name, fact in facts.items() if fact}


def told_to_owner(refusal: Refusal) -> dict[str, Any]:
    """For the tenant whose row was shown: nothing of whom else the request named."""
    facts = told(refusal)
    for name in ("missed", "proven", "tenant"):
        facts.pop(name, None)
    if refusal.tenant != refusal.proven:
        for name in ("why", "subject"):
            facts.pop(name, None)
    return facts


class RefusalReader:
    """Reads every daemon's journal while the recorder runs."""

    def __init__(
        self, database: Database, daemons: Mapping[str, VaultClient], clock: Clock
    ) -> None:
        """`database` under the role portcullis_recorder; a client of one socket for each daemon."""
        self._database = database
        self._daemons = daemons
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Nothing that fails ends it: the lines wait where they are."""
        while not stop.is_set():
            for daemon, client in self._daemons.items():
                try:
                    while await self.take(daemon, client) == PAGE:
                        pass
                except (PortcullisError, psycopg.Error, OSError) as error:
                    log.warning("hsm_refusals_wait", daemon=daemon, why=str(error))
            await pause(stop, LOOK_EVERY_S)

    async def take(self, daemon: str, client: VaultClient) -> int:
        """One page of one journal; how many lines. Raises Unavailable, OutcomeUnknown."""
        head = await client.refusals(after=0, most=0)
        after = await self._position(head.journal)
        metrics.JOURNAL_BEHIND.labels(daemon).set(head.last - after)  # said before it may fail
        if head.last == after:
            return 0
        page = await client.refusals(after=after, most=PAGE)
        async with self._database.shared() as conn:
            written = page_of(
                daemon, after, page, await _platform(conn),
                await _with_log(conn, page.refusals), self._clock.now_ns(),
            )  # fmt: skip
            await _move(conn, page.journal, daemon, after, written.seq)
            await append(conn, written.entries)
        metrics.JOURNAL_BEHIND.labels(daemon).set(page.last - written.seq)
        return len(page.refusals)

    async def _position(self, journal: UUID) -> int:
        async with self._database.connection() as conn:
            cursor = await conn.execute(
                "SELECT seq FROM hsm_journals WHERE journal_id = %s", (journal,)
            )
            row = await cursor.fetchone()
        return 0 if row is None else int(row[0])


async def _platform(conn: Connection) -> TenantID:
    """Raises Unavailable where there is none yet: evidence waits for a log that it can go to."""
    row = await (await conn.execute("SELECT platform_tenant()")).fetchone()
    if row is None or row[0] is None:
        raise Unavailable("there is no platform yet whose log refusals could go to")
    return TenantID(row[0])


async def _with_log(conn: Connection, refusals: Sequence[Refusal]) -> frozenset[UUID]:
    proven = list({refusal.proven for refusal in refusals if refusal.proven is not None})
    if not proven:
        return frozenset()
    cursor = await conn.execute(
        "SELECT tenant_id FROM audit_logs WHERE tenant_id = ANY(%b)", (proven,), binary=True
    )
    return frozenset(row[0] for row in await cursor.fetchall())


async def _move(conn: Connection, journal: UUID, daemon: str, was: int, now: int) -> None:
    """From exactly where it was: of two that read the same page one writes it."""
    await conn.execute(
        "INSERT INTO hsm_journals (journal_id, daemon) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (journal, daemon),
    )
    moved = await conn.execute(
        "UPDATE hsm_journals SET seq = %s, daemon = %s, moved_at = now()"
        " WHERE journal_id = %s AND seq = %s",
        (now, daemon, journal, was),
    )
    if moved.rowcount != 1:
        raise Unavailable(f"the journal {journal} was read by somebody else meanwhile")
