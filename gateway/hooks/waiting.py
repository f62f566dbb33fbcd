"""`Prefer: wait=N` (RFC 7240): a sender that wants to hear what became of its signal in the same answer.

The signal is kept first, as always. Then whoever asked waits, for at most N seconds, until the signal is
done: 200 with its outcome, or 202 with how far it is. Without the preference nothing here is run.

- Nothing is held while waiting but a place in a list: no transaction, no connection. One task asks
  PostgreSQL for all who wait, in one statement, through a function that tells of a signal only to the
  hook by which it came, and tells counts, no accounts. When nobody waits it asks nothing.
- Places are bounded, in all and for each tenant. Who finds none is answered 202 at once, as without
  the preference: the preference was not applied, and the answer says so by not saying that it was.
- A sender that leaves gives its place back at once. So does everybody when the process stops.
- PostgreSQL away, or silent: who waits is answered 202 when its time is over.

A repeat of id and body waits for the first one's outcome: it is the first one's signal.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec
import structlog

from gateway import metrics
from gateway.answers import JSON, Answer, Receive
from gateway.hooks.settings import WaitSettings
from tenancy.database import Database
from tenancy.errors import PortcullisError
from tenancy.values import TenantID

log = structlog.get_logger()

ENDED = ("done", "refused", "canceled")

_WAIT = re.compile(
    r'wait[ \t]*=[ \t]*(?:([0-9]{1,9})|"([0-9]{1,9})")[ \t]*', re.ASCII | re.IGNORECASE
)
_NAMES_WAIT = re.compile(r"wait[ \t]*(?:[=;]|$)", re.ASCII | re.IGNORECASE)
_FIND = "SELECT signal_id, state, reasons, summary::text FROM find_outcomes(%b::uuid[], %b::text[])"


class Progress(msgspec.Struct, frozen=True):
    """How far a signal is: `outcome` is JSON, whole where it has ended, else what is known."""

    state: str
    outcome: bytes

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class _Place(msgspec.Struct, eq=False):
    """One sender that waits. `news` is set when its signal has ended."""

    signal_id: UUID
    hook_id: str
    news: asyncio.Event
    progress: Progress


KEPT = Progress("accepted", b'{"state":"accepted"}')


def wanted_s(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """The seconds of the first `wait` in the request's Prefer fields; None: not asked for, or no number."""
    for name, value in headers:
        if name != b"prefer":
            continue
        for preference in value.decode("latin-1").split(","):
            text = preference.strip()
            if _NAMES_WAIT.match(text):
                found = _WAIT.fullmatch(text.partition(";")[0])
                seconds = int(found[1] or found[2]) if found is not None else 0
                return seconds or None
    return None


class Waiting:
    """All who wait in this process."""

    def __init__(
        self, database: Database, settings: WaitSettings, stop: asyncio.Event | None = None
    ) -> None:
        """`stop`: when it is set, everybody is answered with what is known."""
        self._database = database
        self._settings = settings
        self._stop = stop or asyncio.Event()
        self._places: dict[UUID, list[_Place]] = defaultdict(list)
        self._taken: Counter[TenantID] = Counter()
        self._asking: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Waiting {self._taken.total()} senders>"

    async def stop(self) -> None:
        """Nobody is waited for any more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def finish(
        self,
        answer: Answer,
        receive: Receive,
        *,
        asked_s: int,
        tenant: TenantID,
        signal_id: UUID,
        hook_id: str,
    ) -> Answer:
        """`answer` (the 202), or what there is to say instead after at most `asked_s` seconds."""
        wait_s = min(asked_s, self._settings.most_s)
        if wait_s <= 0 or self._stop.is_set() or not self._free(tenant):
            metrics.WAITS.labels("not_applied").inc()
            return answer
        place = _Place(signal_id, hook_id, asyncio.Event(), KEPT)
        self._take(tenant, place)
        try:
            why = await self._until(place, receive, wait_s)
        finally:
            self._leave(tenant, place)
        metrics.WAITS.labels(why).inc()
        return _said(answer, place.progress, wait_s)

    def _free(self, tenant: TenantID) -> bool:
        return (
            self._taken.total() < self._settings.senders_max
            and self._taken[tenant] < self._settings.tenant_max
        )

    def _take(self, tenant: TenantID, place: _Place) -> None:
        self._taken[tenant] += 1
        self._places[place.signal_id].append(place)
        metrics.WAITING.set(self._taken.total())
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="waiting")

    def _leave(self, tenant: TenantID, place: _Place) -> None:
        self._taken[tenant] -= 1
        if not self._taken[tenant]:
            del self._taken[tenant]
        self._places[place.signal_id].remove(place)
        if not self._places[place.signal_id]:
            del self._places[place.signal_id]
        metrics.WAITING.set(self._taken.total())

    async def _until(self, place: _Place, receive: Receive, wait_s: float) -> str:
        """Wait for news, the sender's leaving, our own end or the time's; which it was."""
        tasks = {
            "done": asyncio.create_task(place.news.wait()),
            "sender_left": asyncio.create_task(_left(receive)),
            "stopping": asyncio.create_task(self._stop.wait()),
        }
        try:
            await asyncio.wait(tasks.values(), timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            return next((name for name, task in tasks.items() if task.done()), "time_over")
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _ask(self) -> None:
        """Ask for everybody, again and again, until nobody waits."""
        try:
            while self._places:
                try:
                    await self._ask_once()
                except PortcullisError as error:
                    log.warning("waiting_asks_in_vain", error=str(error))
                except Exception:
                    log.exception("waiting_failed")
                await asyncio.sleep(self._settings.poll_s)
        finally:
            self._asking = None

    async def _ask_once(self) -> None:
        places = [
            place for each in self._places.values() for place in each if not place.news.is_set()
        ]
        pairs = sorted({(place.signal_id, place.hook_id) for place in places})
        if not pairs:
            return
        async with self._database.connection() as conn:
            rows = await (
                await conn.execute(
                    _FIND, ([pair[0] for pair in pairs], [pair[1] for pair in pairs])
                )
            ).fetchall()
        for signal_id, state, reasons, summary in rows:
            progress = _progress(state, reasons, summary)
            for place in self._places.get(signal_id, ()):
                place.progress = progress
                if progress.ended:
                    place.news.set()


def _progress(state: str, reasons: dict[str, int] | None, summary: str | None) -> Progress:
    """How far it is, from what find_outcomes() says. Pure."""
    if summary is not None:
        return Progress("refused" if state == "refused" else "done", summary.encode())
    if state == "canceled":
        return Progress(state, b'{"state":"canceled"}')
    if reasons is None:
        return KEPT
    known: dict[str, Any] = {
        "state": "planned",
        "accounts": sum(reasons.values()),
        "reasons": reasons,
    }
    return Progress("planned", msgspec.json.encode(known))


async def _left(receive: Receive) -> None:
    """Until the sender's connection is gone. The body was read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _said(answer: Answer, progress: Progress, wait_s: int) -> Answer:
    """The 202's members, its status as it is now, and the outcome."""
    body = answer.body.replace(
        b'"status":"accepted"', b'"status":"%b"' % progress.state.encode(), 1
    )
    return msgspec.structs.replace(
        answer,
        status=200 if progress.ended else 202,
        body=b'%b,"outcome":%b}' % (body.removesuffix(b"}"), progress.outcome),
        content_type=JSON,
        headers=(*answer.headers, (b"preference-applied", b"wait=%d" % wait_s)),
    )
