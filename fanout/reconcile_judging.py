"""A difference that is believed: asked about once more, named, kept, and given to its policy.

1. The broker is asked about each of our own orders of the account that ended without its fill since the
   two last agreed: a fill that we missed is learned like any other, and the next look agrees.
2. Its record of the account's trades is read, where it keeps one.
3. In one transaction: our book once more (it moved: nothing is judged), the cause (fanout/drift_causes.py,
   pure), the rows of `drifts` with `drift.found`, the account's row of `reconciliations`, and what the
   account's policy decides as a row of `drift_decisions`. *Crash before: the next look finds it again.*

A **shortfall** is found where book and broker agree: the strategy's last word on a symbol ended without
its fill. It holds nothing up, and ends with the strategy's next word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, cast
from uuid import UUID

import structlog

from audit.inbox import Entry, append
from audit.record import Kind
from fanout import drift_records as records
from fanout import reconcile_rows as rows
from fanout.abilities import BrokerFill, Statement
from fanout.book import read_orders
from fanout.drift import Difference
from fanout.drift_causes import CORRECTABLE, Known, Named, cause_of, name, shortfall, told
from fanout.lesson import Consequence
from fanout.order import Order
from fanout.ports import Broker, BrokerAccount
from fanout.reconcile_rows import MARGIN, NEVER_AGREED, Book, EndedLeg, Round, Standing
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import PortcullisError
from tenancy.ids import new_id
from tenancy.scope import TenantScope
from tenancy.values import AccountID

log = structlog.get_logger()

ASKED_MOST = 20
"""Orders about which the broker is asked once more, the newest first."""
LOOKED_BACK = timedelta(minutes=10)
"""Where no round was kept before: how far back a shortfall is looked for."""


class LookAt(Protocol):
    """Asks the broker about one order and learns what it says; None where that is nothing."""

    async def __call__(
        self, scope: TenantScope, account: BrokerAccount, order: Order, *, epoch: int
    ) -> Consequence | None: ...


class Judge:
    """Names and keeps what differs."""

    def __init__(
        self, database: Database, brokers: Mapping[str, Broker], clock: Clock, look_at: LookAt
    ) -> None:
        """`look_at`: Carrier.look."""
        self._database = database
        self._brokers = brokers
        self._clock = clock
        self._look_at = look_at

    async def judge(
        self, scope: TenantScope, broker: str, account: BrokerAccount, part: int, epoch: int,
        book: Book, found: Sequence[Difference],
    ) -> bool:  # fmt: skip
        """Steps 1 to 3; False where something was learned or has moved, so that it is looked at anew.

        Raises Unavailable, LeaseLost.
        """
        if _known_already(book, found):
            await self._still(scope, account.account_id, epoch, book)
            return True
        since = _since(book, self._clock.now())
        if await self._learned(scope, account, epoch, since):
            return False
        trades = await self._trades(broker, account, since)
        async with self._database.tenant(scope) as conn:
            again = (await rows.read_books(conn, [account.account_id], [part]))[account.account_id]
            if again.ours.positions != book.ours.positions:
                return False
            known = await self._known(conn, account.account_id, again, trades, since)
            at = self._clock.now()
            named = [(one, name(one, known)) for one in found]
            entries = await self._kept(
                conn, scope, broker, account.account_id, part, again, named, at
            )
            kept = Round(
                account_id=account.account_id, state="differs", at=at, epoch=epoch, baseline=again.baseline,
            )  # fmt: skip
            await rows.keep(conn, scope.tenant_id, [kept])
            await append(conn, [(scope.tenant_id, entry) for entry in entries])
        for one, why in named:
            log.error(
                "drift", account=str(account.account_id), what=one.kind, subject=one.subject,
                ours=str(one.ours), theirs=str(one.theirs), cause=why.cause,
            )  # fmt: skip
        return True

    async def _still(self, scope: TenantScope, account: AccountID, epoch: int, book: Book) -> None:
        """The same as the last time: the account's row says when it was looked at."""
        kept = Round(
            account_id=account, state="differs", at=self._clock.now(), epoch=epoch, baseline=book.baseline,
        )  # fmt: skip
        async with self._database.tenant(scope) as conn:
            await rows.keep(conn, scope.tenant_id, [kept])

    async def _learned(
        self, scope: TenantScope, account: BrokerAccount, epoch: int, since: datetime
    ) -> bool:
        """Whether the broker tells something new of an order of ours that had ended for us."""
        async with self._database.tenant(scope) as conn:
            ended = await rows.legs(conn, [account.account_id], since, ASKED_MOST)
            names = [one.leg.cl_ord_id for one in ended if one.left]
            orders = [order for order, _ in await read_orders(conn, names)] if names else []
        news = False
        for order in orders:
            heard = await self._look_at(scope, account, order, epoch=epoch)
            news |= heard is not None and heard.news and heard.order != order
        return news

    async def _trades(
        self, broker: str, account: BrokerAccount, since: datetime
    ) -> Sequence[BrokerFill] | None:
        if not self._brokers[broker].caps.statement:
            return None
        teller = cast(Statement, self._brokers[broker])
        try:
            return await teller.fills(account, since=since, until=self._clock.now())
        except PortcullisError as error:
            log.warning("trades_unknown", account=str(account.account_id), error=str(error))
            return None

    async def _known(
        self, conn: Connection, account: AccountID, book: Book,
        trades: Sequence[BrokerFill] | None, since: datetime,
    ) -> Known:  # fmt: skip
        before = book.before
        agreed_at = None if before is None else before.agreed_at
        ended = await rows.legs(conn, [account], since)
        return Known(
            since=agreed_at,
            foreign=None if trades is None else await rows.foreign(conn, trades),
            legs=tuple(one.leg for one in ended),
            traded=await rows.traded(conn, account),
            away_at=None if before is None else before.away_at,
            changed=() if agreed_at is None else await rows.changed(conn, account, agreed_at),
        )

    async def _kept(
        self, conn: Connection, scope: TenantScope, broker: str, account: AccountID, part: int,
        book: Book, named: Sequence[tuple[Difference, Named]], at: datetime,
    ) -> list[Entry]:  # fmt: skip
        """Rows and records of one account's differences, and of those that are no more."""
        policy = await rows.policy(conn, account)
        open_now = {one.key: one for one in book.open if one.kind != "shortfall"}
        entries: list[Entry] = []
        for difference, why in named:
            before = open_now.pop(difference.key, None)
            if before is not None and (before.ours, before.theirs) == (
                difference.ours,
                difference.theirs,
            ):
                continue
            drift = before.drift_id if before is not None else UUID(str(new_id()))
            if before is not None:
                await rows.move(conn, drift, difference, why)
            elif not await rows.find(
                conn, scope.tenant_id, account, part, drift, difference, why, at
            ):
                continue
            entries.append(
                records.found(drift, account, broker, difference, why, at, policy.on_drift)
            )
            await self._decide(conn, scope, part, drift, difference, why, policy)
        gone = [one.drift_id for one in open_now.values()]
        return entries + await self.close(conn, gone, at)

    async def _decide(
        self, conn: Connection, scope: TenantScope, part: int, drift: UUID, difference: Difference,
        why: Named, policy: rows.Policy,
    ) -> None:  # fmt: skip
        """What the account's policy says of this drift: a decision like a person's, or nothing."""
        what = decided(policy, difference, why)
        if what is None:
            return
        reason = f"the account's policy {policy.on_drift!r}: {why.cause}"
        await rows.decide(
            conn, scope.tenant_id, UUID(str(new_id())), drift, part, what, reason,
            records.RECONCILER,
        )  # fmt: skip

    async def close(self, conn: Connection, gone: Sequence[UUID], at: datetime) -> list[Entry]:
        """Drifts that are no more, with their records."""
        return [
            records.ended(
                Kind.DRIFT_CLOSED, drift, account, at,
                {"what": kind, "subject": subject, "why": "nothing differs there any more"},
            )
            for drift, account, kind, subject in await rows.close(conn, gone, at)
        ]  # fmt: skip

    # ------------------------------------------------------------------ shortfalls

    async def shortfalls(
        self, conn: Connection, scope: TenantScope, broker: str,
        books: Mapping[AccountID, tuple[int, Book]], at: datetime,
    ) -> list[Entry]:  # fmt: skip
        """The records of shortfalls that begin and end, in accounts that agree with their broker."""
        if not books:
            return []
        standing = [
            one for _, book in books.values() for one in book.open if one.kind == "shortfall"
        ]
        rounds = [book.before.agreed_at for _, book in books.values() if book.before is not None]
        known = [when for when in rounds if when is not None]
        since = min(known, default=at - LOOKED_BACK)
        ended = await rows.legs(conn, list(books), max(since, at - NEVER_AGREED) - MARGIN, 1000)
        candidates = [one.leg.cl_ord_id for one in ended]
        last = await rows.last_words(conn, [*candidates, *(one.subject for one in standing)])
        before = await rows.told(conn, list(books), candidates)
        begun = [
            one for one in ended if one.leg.cl_ord_id in last and one.leg.cl_ord_id not in before
        ]
        entries: list[Entry] = []
        for one in begun:
            part, book = books[one.account_id]
            entries += await self._short(conn, scope, broker, part, book, one, at)
        return entries + await self._no_longer_short(conn, standing, last, at)

    async def _short(
        self, conn: Connection, scope: TenantScope, broker: str, part: int, book: Book,
        ended: EndedLeg, at: datetime,
    ) -> list[Entry]:  # fmt: skip
        leg, account, drift = ended.leg, ended.account_id, UUID(str(new_id()))
        difference = shortfall(leg, book.ours.positions.get(leg.symbol, 0 * leg.leaves))
        why = Named(cause_of(leg), {"exact": True, **told(leg)})
        if not await rows.find(conn, scope.tenant_id, account, part, drift, difference, why, at):
            return []
        policy = await rows.policy(conn, account)
        await self._decide(conn, scope, part, drift, difference, why, policy)
        return [records.found(drift, account, broker, difference, why, at, policy.on_drift)]

    async def _no_longer_short(
        self, conn: Connection, standing: Sequence[Standing], last: set[str], at: datetime
    ) -> list[Entry]:
        gone = [one.drift_id for one in standing if one.subject not in last]
        return [
            records.ended(
                Kind.DRIFT_CLOSED, drift, account, at,
                {"what": kind, "subject": subject, "why": "the strategy has said something else since"},
            )
            for drift, account, kind, subject in await rows.close(conn, gone, at)
        ]  # fmt: skip


def decided(policy: rows.Policy, difference: Difference, why: Named) -> rows.PolicyDecision | None:
    """What a policy decides of a drift. Pure.

    An order that is not ours is never put right by one of ours; a shortfall halts nothing: broker and
    book agree.
    """
    if policy.on_drift == "halt" and difference.kind != "shortfall":
        return "halt"
    if policy.on_drift != "correct" or difference.kind == "order":
        return None
    by_hand = policy.by_hand and why.cause == "manual_order"
    return "correct" if why.cause in CORRECTABLE or by_hand else None


def _known_already(book: Book, found: Sequence[Difference]) -> bool:
    """Whether exactly this was found before, and is open still."""
    before = {(*one.key, one.ours, one.theirs) for one in book.open if one.kind != "shortfall"}
    return before == {(*one.key, one.ours, one.theirs) for one in found}


def _since(book: Book, now: datetime) -> datetime:
    """From when on causes are looked for."""
    agreed_at = None if book.before is None else book.before.agreed_at
    return now - NEVER_AGREED if agreed_at is None else max(agreed_at - MARGIN, now - NEVER_AGREED)
