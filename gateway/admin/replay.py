"""Replay: past signals of a strategy under today's configuration, or under one that somebody thinks of.

Each signal is replayed by itself, from the positions, equities and prices that its plan kept
(fanout/replay.py). It is bounded: so many signals, so many decisions, so many differences listed; the
sums are always whole. The work is done beside the event loop, one signal at a time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import structlog
from msgspec import Meta

from fanout import replay as past
from fanout.calendars import read_sessions
from fanout.pictures import World
from fanout.preview import proposed_snapshot, read_only
from fanout.replay import NOT_KNOWN, Comparison, Kept, Lots, Then, added, lots, read_plan
from fanout.signal import InvalidSignal, decode
from fanout.windows import Sessions
from gateway.admin.listing import first_id
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.preview import PicturedBroker, pictured
from tenancy.database import Connection
from tenancy.errors import Invalid, NotFound
from tenancy.proposed import Proposed
from tenancy.snapshot import Snapshot
from tenancy.values import SignalID, StrategyID, plain, utc

log = structlog.get_logger()

SIGNALS_MOST = 500
DECISIONS_MOST = 200_000
LISTED_MOST = 10_000

State = Literal["replayed", "not_planned", "unreadable", "our_own"]


class ReplayDocument(Proposed, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which signals, and what would be set up otherwise than it is: `signal_ids`, or `since` and `until`."""

    signal_ids: Annotated[tuple[UUID, ...], Meta(min_length=1, max_length=SIGNALS_MOST)] | None = (
        None
    )
    since: Annotated[datetime, Meta(tz=True)] | None = None
    """Received at this time or later."""
    until: Annotated[datetime, Meta(tz=True)] | None = None
    """Received before this time."""

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            at = getattr(self, name)
            if at is not None:
                utc(at, name)
        if self.signal_ids is not None and (self.since or self.until):
            raise ValueError("signal_ids: say which signals, or since when; not both")


class ReplayedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One order of a decision."""

    side: str
    order_qty: str
    ord_type: str
    price: str | None
    stop_px: str | None


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What was, or would be, decided for one account."""

    place: int
    reason: str
    symbol: str | None
    words: str
    orders: list[ReplayedOrder]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One account whose decision is not the same. `before` null: it was not in the plan; `after` null: it
    follows the strategy no more. `unknown`: the old plan did not keep what would decide this."""

    account_id: UUID
    kind: Literal["different", "unknown"]
    before: Decided | None
    after: Decided | None


class ReplayedSignal(msgspec.Struct, frozen=True, kw_only=True):
    """One signal, and how many accounts have which kind of answer."""

    signal_id: UUID
    ticker: str
    received_at: datetime
    state: State
    same: int
    different: int
    unknown: int
    differences: list[Difference]


class LotsView(msgspec.Struct, frozen=True, kw_only=True):
    """All replayed signals' orders in one instrument, at the accounts that are known."""

    broker: str
    symbol: str
    buy_before: str
    buy_after: str
    sell_before: str
    sell_after: str


class ReplayView(msgspec.Struct, frozen=True, kw_only=True):
    """The sums are of all signals; `not_listed` differences are counted in them and not shown."""

    strategy_id: UUID
    settings_version: int
    proposed: bool
    brokers: list[PicturedBroker]
    replayed: int
    same: int
    different: int
    unknown: int
    not_listed: int
    lots: list[LotsView]
    signals: list[ReplayedSignal]
    not_known: list[str]
    """What no replay can know, in sentences."""


_COLUMNS = "s.signal_id, s.ticker, s.received_at, s.origin, p.signal_id IS NOT NULL"
_BY_ID = f"""
SELECT {_COLUMNS} FROM signals s LEFT JOIN plans p USING (signal_id)
WHERE s.strategy_id = %(strategy)s AND s.signal_id = ANY(%(ids)s) ORDER BY s.signal_id"""  # noqa: S608
_BY_TIME = f"""
SELECT {_COLUMNS} FROM signals s LEFT JOIN plans p USING (signal_id)
WHERE s.strategy_id = %(strategy)s AND (%(low)s::uuid IS NULL OR s.signal_id >= %(low)s)
  AND (%(high)s::uuid IS NULL OR s.signal_id < %(high)s)
ORDER BY s.signal_id LIMIT %(most)s"""  # noqa: S608 - constants only
_ONE = """
SELECT s.body, s.received_at, p.planned_at, p.seed, p.rotation, p.plan::text
FROM signals s JOIN plans p USING (signal_id) WHERE s.signal_id = %b"""


class Sums:
    """What is added up over the signals."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.lots: dict[tuple[str, str], Lots] = {}
        self.listed = 0
        self.not_listed = 0

    def add(self, compared: list[Comparison]) -> list[Comparison]:
        """Count all of it; those differences that there is room to list."""
        self.kinds.update(one.kind for one in compared)
        for key, value in lots(compared).items():
            self.lots[key] = added(self.lots.get(key), value)
        told = [one for one in compared if one.kind != "same"]
        shown = told[: LISTED_MOST - self.listed]
        self.listed += len(shown)
        self.not_listed += len(told) - len(shown)
        return shown


async def _replay(call: Call) -> Result:
    asked: ReplayDocument = call.body
    strategy = StrategyID(call.uuid("strategy_id"))
    await read_only(call.conn)
    snapshot = await proposed_snapshot(call.conn, strategy, asked)
    rows = await _signals(call.conn, strategy, asked)
    if len(rows) > SIGNALS_MOST or len(rows) * len(snapshot.rows) > DECISIONS_MOST:
        raise Invalid(
            f"at most {SIGNALS_MOST} signals and {DECISIONS_MOST} decisions (signals times accounts) are"
            " replayed at a time: choose a shorter time", field="since",
        )  # fmt: skip
    world = await call.services.pictures.read(call.conn)
    sums, told, days = Sums(), [], Days(snapshot)
    for row in rows:
        told.append(await _one(call.conn, row, snapshot, world, days, sums))
    return Result(
        content=ReplayView(
            strategy_id=strategy,
            settings_version=snapshot.strategy.version,
            proposed=not asked.empty,
            brokers=pictured(world),
            replayed=sum(1 for one in told if one.state == "replayed"),
            same=sums.kinds["same"],
            different=sums.kinds["different"],
            unknown=sums.kinds["unknown"],
            not_listed=sums.not_listed,
            lots=[_lots_view(value) for _, value in sorted(sums.lots.items())],
            signals=told,
            not_known=list(NOT_KNOWN),
        )
    )


async def _signals(
    conn: Connection, strategy: StrategyID, asked: ReplayDocument
) -> list[tuple[Any, ...]]:
    """Those that are asked for, oldest first. Raises NotFound where one is not this strategy's."""
    if asked.signal_ids is None:
        low, high = first_id(asked.since), first_id(asked.until)
        said = {"strategy": strategy, "low": low, "high": high, "most": SIGNALS_MOST + 1}
        return await (await conn.execute(_BY_TIME, said)).fetchall()
    named = {"strategy": strategy, "ids": list(asked.signal_ids)}
    rows = await (await conn.execute(_BY_ID, named)).fetchall()
    found = {row[0] for row in rows}
    for wanted in asked.signal_ids:
        if wanted not in found:
            raise NotFound(f"the strategy has no signal {wanted}")
    return rows


async def _one(
    conn: Connection, row: tuple[Any, ...], snapshot: Snapshot, world: World, days: Days, sums: Sums
) -> ReplayedSignal:
    signal_id, ticker, received_at, origin, planned = row
    state: State = "replayed" if planned else "not_planned"
    compared: list[Comparison] = []
    if origin != "hook":
        state = "our_own"
    elif planned:
        then = await _then(conn, signal_id)
        if then is None:
            state = "unreadable"
        else:
            calendars = await days.around(then.planned_at.date())
            known = {one.broker: one.instruments for one in world.seen}  # old prices will do
            compared = await asyncio.to_thread(
                past.replay, then, snapshot, known, world.keyed(), calendars
            )
    kinds = Counter(one.kind for one in compared)
    return ReplayedSignal(
        signal_id=signal_id,
        ticker=ticker,
        received_at=received_at,
        state=state,
        same=kinds["same"],
        different=kinds["different"],
        unknown=kinds["unknown"],
        differences=[_difference(one) for one in sums.add(compared)],
    )


async def _then(conn: Connection, signal_id: UUID) -> Then | None:
    """None: this version cannot read the signal, or its plan."""
    row = await (await conn.execute(_ONE, (signal_id,))).fetchone()
    assert row is not None
    try:
        signal, entries = decode(bytes(row[0])), read_plan(row[5])
    except (InvalidSignal, msgspec.DecodeError):
        return None
    return Then(
        signal_id=SignalID(signal_id),
        signal=signal,
        received_at=row[1],
        planned_at=row[2],
        seed=row[3],
        rotation=row[4],
        entries=entries,
    )


class Days:
    """The exchanges' days around past dates, read a week at a time."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._names = sorted(snapshot.calendars)
        self._kept: dict[tuple[str, date], Sessions | None] = {}

    async def around(self, day: date) -> dict[str, Sessions]:
        """Those that can be read; a window whose calendar cannot is `trading_window_unknown`."""
        monday = day - timedelta(days=day.weekday())
        for name in self._names:
            if (name, monday) not in self._kept:
                self._kept[name, monday] = await asyncio.to_thread(_sessions, name, monday)
        found = {name: self._kept[name, monday] for name in self._names}
        return {name: sessions for name, sessions in found.items() if sessions is not None}


def _sessions(name: str, day: date) -> Sessions | None:
    try:
        return read_sessions(name, day)
    except Exception as error:
        log.error("calendar_not_read", calendar=name, error=repr(error))
        return None


def _difference(one: Comparison) -> Difference:
    assert one.kind != "same"
    return Difference(
        account_id=one.account_id,
        kind=one.kind,
        before=_decided(one.before),
        after=_decided(one.after),
    )


def _decided(entry: Kept | None) -> Decided | None:
    if entry is None:
        return None
    orders = [
        ReplayedOrder(
            side=leg.side,
            order_qty=plain(leg.order_qty),
            ord_type=leg.ord_type,
            price=_text(leg.price),
            stop_px=_text(leg.stop_px),
        )
        for leg in entry.legs
    ]
    return Decided(
        place=entry.place,
        reason=entry.reason.value,
        symbol=entry.symbol,
        words=entry.words,
        orders=orders,
    )


def _lots_view(one: Lots) -> LotsView:
    return LotsView(
        broker=one.broker,
        symbol=one.symbol,
        buy_before=plain(one.buy_before),
        buy_after=plain(one.buy_after),
        sell_before=plain(one.sell_before),
        sell_after=plain(one.sell_after),
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


OPERATIONS = (
    Operation(
        name="replay_signals", method="POST", path="/v1/strategies/{strategy_id}/replay",
        tag="Signals", action="orders:read", question=True,
        summary="See what past signals would have done under another configuration, account by account.",
        detail="`settings`, `limits`, `sequence` and `subscriptions` stand in place of what is set up."
        f" At most {SIGNALS_MOST} signals and {DECISIONS_MOST} decisions, {LISTED_MOST} differences listed."
        " Each signal begins with the positions, equities and prices that its own plan kept.",
        handle=_replay, body=ReplayDocument, answer=ReplayView,
        problems=("not_found", "unresolvable", "unavailable"),
    ),
)  # fmt: skip
