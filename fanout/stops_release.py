"""From held to intent: the one transaction that lets a held order go.

1. The leases are held (fenced), so that only the lane's owner does this.
2. The rows are locked, with all that stands behind the same positions, and looked at once more: one
   that somebody cancelled or let go meanwhile is left alone.
3. What may not go stays held and says why: a halt, the other of the pair under way, a close of the
   same position under way.
4. A stop or target is cut to the position that is there, less what is being closed already.
5. `intent` under the same name, with what is sent as `ord_type` and what was asked as `asked_type`; the
   audit record with the price that let it go. Its lane sends it after the commit.

Crash before the commit: still held, the next owner watches on. After: an intent, which is doubt as
always; it is asked for before anything is sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec
from psycopg.rows import TupleRow

from audit.inbox import append
from fanout import evidence, stops_book
from fanout.judge import only_reduces, stopped
from fanout.order import FINAL, Order, OrdState, OrdType
from fanout.order_rows import SELECT, order_of_row
from fanout.ports import Instrument
from fanout.reasons import SENTENCES, Reason
from fanout.stops_book import Place, place_of
from fanout.stops_rules import on_tick, opposite
from fanout.stops_venues import Venues
from tenancy.database import Connection
from tenancy.errors import NotFound
from tenancy.scope import TenantScope
from tenancy.store.snapshots import read_snapshot
from tenancy.values import AccountID, StrategyID

HALTS = frozenset(
    {
        Reason.PLATFORM_HALTED, Reason.TENANT_HALTED, Reason.STRATEGY_HALTED, Reason.GROUP_HALTED,
        Reason.ACCOUNT_HALTED, Reason.INSTRUMENT_HALTED,
    }
)  # fmt: skip
"""What stops a protective exit as well. The archive or a switched-off subscription does not."""

CHANGED = "its entry has just filled further"

_LOCK = f"{SELECT} WHERE cl_ord_id = ANY(%b::text[]) ORDER BY cl_ord_id FOR UPDATE"
# Market orders under way count as filled; so does everything that is not acknowledged yet. What
# stands at the broker behind the position does not: it waits as we do.
_CLOSING = """
SELECT account_id, strategy_id, symbol, side, sum(order_qty - cum_qty) FROM orders
WHERE (account_id, strategy_id, symbol) IN (SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::text[]))
  AND (state IN ('intent', 'in_doubt') AND (role = 'main' OR asked_type IS NOT NULL)
       OR state IN ('new', 'partially_filled') AND ord_type = 'market')
GROUP BY 1, 2, 3, 4"""
_RELEASE = """
UPDATE orders SET state = 'intent', ord_type = %s, asked_type = %s, price = %s, stop_px = %s,
       order_qty = %s, time_in_force = %s, trigger_px = %s, best_px = %s, breakeven_px = %s, epoch = %s,
       intent_at = %s, deadline = %s, text = NULL
WHERE cl_ord_id = %s AND state = 'held'"""
_SAY = """
UPDATE orders SET text = %s WHERE cl_ord_id = %s AND state = 'held' AND text IS DISTINCT FROM %s"""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A held order as the engine sees it. `price` None: it is to stand at the broker, unreached."""

    order: Order
    price: Decimal | None
    instrument: Instrument | None


class Released(msgspec.Struct):
    """What became of them."""

    sent: list[Order] = []
    kept: dict[str, str] = {}
    """Why these stay held, by name."""
    gone: list[str] = []


async def release(
    conn: Connection,
    scope: TenantScope,
    wanted: Sequence[Wanted],
    venues: Venues,
    *,
    at: datetime,
    open_for: timedelta,
    epochs: dict[int, int],
    refusal: Callable[[Order], str] = lambda order: "",
) -> Released:
    """Steps 2 to 5, in the caller's fenced transaction. `refusal`: the kill switch's word, or none."""
    behind = await stops_book.standing(conn, [one.order for one in wanted])
    names = sorted({*behind, *(one.order.cl_ord_id for one in wanted)})
    rows = {o.cl_ord_id: o for o in map(order_of_row, await _all(conn, _LOCK, (names,)))}
    desk = _Desk(rows, venues, refusal)
    await desk.read(conn)
    out = Released()
    for one in wanted:
        row = rows.get(one.order.cl_ord_id)
        if row is None or row.state is not OrdState.HELD:
            out.gone.append(one.order.cl_ord_id)
            continue
        order, why = desk.decide(row, one)
        if order is None:
            out.kept[row.cl_ord_id] = why
            await say(conn, row.cl_ord_id, why)
            continue
        order = msgspec.structs.replace(
            order, intent_at=at, epoch=epochs[order.part], deadline=at + open_for
        )
        await _write(conn, order)
        desk.has_gone(order)
        out.sent.append(order)
    await append(conn, [(scope.tenant_id, evidence.intent(order, at)) for order in out.sent])
    return out


async def say(conn: Connection, name: str, why: str) -> None:
    """Write why a held order stays held, where it shows (`text`)."""
    await conn.execute(_SAY, (why or None, name, why or None))


class _Desk:
    """What the decisions of one transaction read, and what they have taken already."""

    def __init__(
        self, rows: dict[str, Order], venues: Venues, refusal: Callable[[Order], str]
    ) -> None:
        self._refusal = refusal
        self._rows = rows
        self._venues = venues
        self._positions: dict[Place, Decimal] = {}
        self._closing: dict[tuple[Place, str], Decimal] = defaultdict(Decimal)
        self._halts: dict[tuple[StrategyID, AccountID], tuple[Reason | None, bool]] = {}
        self._entries: dict[stops_book.FamilyKey, bool] = {}

    async def read(self, conn: Connection) -> None:
        held = [order for order in self._rows.values() if order.state is OrdState.HELD]
        if not held:
            return
        places = sorted({place_of(order) for order in held})
        self._positions = await stops_book.positions(conn, places)
        columns = [list(column) for column in zip(*places, strict=True)]
        for account, strategy, symbol, side, lots in await _all(conn, _CLOSING, columns):
            self._closing[(account, strategy, symbol), side] = lots
        for key, family in (await stops_book.families(conn, held)).items():
            entry = family.entry
            self._entries[key] = entry is not None and entry.state in FINAL
        by_strategy: dict[StrategyID, set[AccountID]] = defaultdict(set)
        for order in held:
            by_strategy[order.strategy_id].add(order.account_id)
        for strategy, accounts in by_strategy.items():
            await self._read_halts(conn, strategy, accounts)

    async def _read_halts(
        self, conn: Connection, strategy: StrategyID, accounts: set[AccountID]
    ) -> None:
        try:
            snapshot = await read_snapshot(conn, strategy, sorted(accounts))
        except NotFound:
            return
        for row in snapshot.rows:
            key = strategy, row.account.account_id
            self._halts[key] = stopped(snapshot, row), only_reduces(snapshot, row)

    def decide(self, row: Order, one: Wanted) -> tuple[Order | None, str]:
        """The order as it goes out, or None and why it stays held."""
        why = self._halted(row) or self._refusal(row)
        if why:
            return None, why
        if row.role == "main":
            return to_send(row, one), ""
        if row.entry_px != one.order.entry_px:
            return None, CHANGED
        why = self._pair(row, placing=one.price is None)
        if why:
            return None, why
        position = abs(self._positions.get(place_of(row), Decimal(0)))
        free = position - self._closing[place_of(row), row.side]
        if free <= 0:
            return None, "the position is being closed by another order"
        row = msgspec.structs.replace(row, order_qty=min(row.order_qty, free))
        if one.price is None:
            return self._to_place(row, one)
        return to_send(row, one), ""

    def has_gone(self, order: Order) -> None:
        """Count it for those that come after it."""
        self._rows[order.cl_ord_id] = order
        if order.role != "main" and order.asked_type is not None:
            self._closing[place_of(order), order.side] += order.order_qty

    def _halted(self, row: Order) -> str:
        known = self._halts.get((row.strategy_id, row.account_id))
        if known is None:
            # Nobody follows the strategy for this account any more: nothing opens, protection stands.
            return "" if row.reduce_only else SENTENCES[Reason.SUBSCRIPTION_DISABLED]
        reason, reducing = known
        if reason is not None and (reason in HALTS or not row.reduce_only):
            return SENTENCES[reason]
        if reducing and not row.reduce_only:
            return SENTENCES[Reason.REDUCE_ONLY]
        return ""

    def _pair(self, row: Order, *, placing: bool) -> str:
        """Why the other of the pair is in the way. Two that stand at the broker are not."""
        for other in self._rows.values():
            if (other.signal_id, other.account_id) != (row.signal_id, row.account_id):
                continue
            if other.cl_ord_id == row.cl_ord_id or other.role == "main" or other.state in FINAL:
                continue
            stands = other.asked_type is None and other.state is not OrdState.IN_DOUBT
            if other.state is not OrdState.HELD and not (placing and stands):
                return "the other of the pair is at the broker: this one waits until that has ended"
            if (
                placing
                and other.state is OrdState.HELD
                and not self._venues.stands_at_broker(other)
            ):
                return "the gateway watches both of the pair"
        return ""

    def _to_place(self, row: Order, one: Wanted) -> tuple[Order | None, str]:
        if not self._venues.stands_at_broker(row):
            return None, "the broker has no such order"
        if not self._entries.get((row.signal_id, row.account_id), False):
            return None, "the entry is not finished: the gateway watches until it is"
        return _rounded(
            msgspec.structs.replace(
                row, state=OrdState.INTENT, time_in_force=self._venues.time_in_force(row)
            ),
            one.instrument,
        ), ""


def to_send(row: Order, one: Wanted) -> Order:
    """As what it goes out, now that its price is reached."""
    ord_type: OrdType = "limit" if row.ord_type in ("limit", "stop_limit") else "market"
    sent = msgspec.structs.replace(
        row,
        state=OrdState.INTENT,
        asked_type=row.ord_type,
        ord_type=ord_type,
        price=row.price if ord_type == "limit" else None,
        time_in_force="ioc" if row.role == "target" else row.time_in_force,
        trigger_px=one.price,
        stop_px=one.order.stop_px,  # where it stood: what moved within the last second is not in the row
        best_px=one.order.best_px,
        breakeven_px=one.order.breakeven_px,
    )
    return _rounded(sent, one.instrument)


def _rounded(order: Order, instrument: Instrument | None) -> Order:
    """On the tick: a limit no worse for the account, a stop away from the market."""
    price, stop = order.price, order.stop_px
    if price is not None:
        price = on_tick(price, instrument, side=order.side)
    if stop is not None and order.asked_type is None:
        stop = on_tick(stop, instrument, side=opposite(order.side))
    return msgspec.structs.replace(order, price=price, stop_px=stop)


async def _write(conn: Connection, order: Order) -> None:
    await conn.execute(
        _RELEASE,
        (
            order.ord_type, order.asked_type, order.price, order.stop_px, order.order_qty,
            order.time_in_force, order.trigger_px, order.best_px, order.breakeven_px, order.epoch,
            order.intent_at, order.deadline, order.cl_ord_id,
        ),
    )  # fmt: skip


async def _all(conn: Connection, query: str, values: Sequence[object]) -> list[TupleRow]:
    return await (await conn.execute(query.encode(), values)).fetchall()
