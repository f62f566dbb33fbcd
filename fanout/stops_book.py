"""Stops and targets in PostgreSQL, within the transactions of book.learn: one tenant each.

What was learned of an entry, a stop or a target changes what stands behind the position, in the
very commit of the fill (fanout/stops_family.py decides). And a position that has become flat, or
has changed sides, for whatever reason, has nothing behind it any more: what is held ends by our
word, what rests at the broker is wished cancelled.

Rows are locked in the order of their names, as by every other writer of orders.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from audit.inbox import Entry
from fanout import evidence
from fanout.lesson import Consequence, Lesson
from fanout.order import Order, OrdState
from fanout.order_rows import READ, SELECT, order_of_row
from fanout.stops_family import AT_BROKER, Changes, Family
from fanout.stops_venues import Venues
from tenancy.database import Connection
from tenancy.values import AccountID, SignalID, StrategyID

Place = tuple[AccountID, StrategyID, str]
"""Where a position is: account, strategy, symbol."""
FamilyKey = tuple[SignalID, AccountID]

_STANDING = """
SELECT cl_ord_id, account_id, strategy_id, symbol FROM orders
WHERE (account_id, symbol) IN (SELECT * FROM unnest(%b::uuid[], %b::text[]))
  AND role <> 'main' AND state IN ('held', 'intent', 'new', 'partially_filled', 'in_doubt')"""
_STANDING_NOW = f"""{SELECT}
WHERE (account_id, strategy_id, symbol) IN (SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::text[]))
  AND role <> 'main' AND state IN ('held', 'intent', 'new', 'partially_filled', 'in_doubt')
ORDER BY cl_ord_id FOR UPDATE"""  # noqa: S608 - constants only
_OF_FAMILIES = f"""{SELECT}
WHERE (signal_id, account_id) IN (SELECT * FROM unnest(%b::uuid[], %b::uuid[]))
  AND (protect IS NOT NULL OR role <> 'main')"""  # noqa: S608 - constants only
_POSITIONS = """
SELECT account_id, strategy_id, symbol, qty FROM positions
WHERE (account_id, strategy_id, symbol) IN (SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::text[]))"""
_AMEND = """
UPDATE orders SET order_qty = %s, stop_px = %s, price = %s, entry_px = %s, breakeven_px = %s
WHERE cl_ord_id = %s AND state = 'held'"""
_END = """
UPDATE orders SET state = %s, text = %s, done_at = %s WHERE cl_ord_id = %s AND state = 'held'"""
_DENY = f"""
UPDATE orders SET state = 'denied', text = %b, done_at = %b
WHERE (signal_id, account_id) IN (SELECT * FROM unnest(%b::uuid[], %b::uuid[])) AND leg = 1 AND state = 'waiting'
RETURNING {", ".join(READ)}"""  # noqa: S608 - constants only
LEFT_OPEN = "the first leg did not close the position"
"""Why a second leg is denied."""
_WISH = """
UPDATE orders SET cancel_requested_at = %s WHERE cl_ord_id = %s AND cancel_requested_at IS NULL
  AND NOT (state IN ('intent', 'in_doubt') AND ord_type = 'market')"""


class Effects(msgspec.Struct):
    """What the commit changed of what stands behind positions, for whoever carries it on."""

    watch: set[str] = set()  # held, and new, other or ended: the stop engine looks at their rows
    cancels: list[Order] = []  # rest at the broker, and are wished cancelled
    new: list[Order] = []  # to be written
    entries: list[Entry] = []


def place_of(order: Order) -> Place:
    return order.account_id, order.strategy_id, order.symbol


def family_of(order: Order) -> FamilyKey:
    return order.signal_id, order.account_id


async def standing(conn: Connection, orders: Collection[Order]) -> list[str]:
    """The names of the open stops and targets behind these orders' positions."""
    lanes = sorted({(order.account_id, order.symbol) for order in orders})
    places = {place_of(order) for order in orders}
    rows = await (
        await conn.execute(_STANDING, ([a for a, _ in lanes], [s for _, s in lanes]))
    ).fetchall()
    return [name for name, *place in rows if tuple(place) in places]


async def families(conn: Connection, orders: Iterable[Order]) -> dict[FamilyKey, Family]:
    """The families of those among `orders` that have protection, or are it."""
    keys = sorted({family_of(o) for o in orders if o.protect is not None or o.role != "main"})
    if not keys:
        return {}
    columns = [list(column) for column in zip(*keys, strict=True)]
    rows = await (await conn.execute(_OF_FAMILIES, columns)).fetchall()
    members: dict[FamilyKey, list[Order]] = {}
    for order in map(order_of_row, rows):
        members.setdefault(family_of(order), []).append(order)
    return {key: Family(of) for key, of in members.items()}


def in_family(family: Family, after: Order, lesson: Lesson, *, cancel: bool) -> Lesson:
    """The lesson with the next attempt of a stop or target that ended before all was closed."""
    family.put(after)
    if lesson.successor is not None:
        family.put(lesson.successor)
        return lesson
    again = None if cancel else family.held_again(after, lesson.learned_at)
    return lesson if again is None else msgspec.structs.replace(lesson, successor=again)


def told(consequences: list[Consequence], effects: Effects) -> list[Consequence]:
    """The effects, each with a consequence of its own account: whose lane has the means to go on."""
    if not effects.watch and not effects.cancels:
        return consequences
    by_account: dict[AccountID, list[Order]] = {}
    for order in effects.cancels:
        by_account.setdefault(order.account_id, []).append(order)
    out = []
    for index, one in enumerate(consequences):
        watch = (*one.watch, *sorted(effects.watch)) if index == 0 else one.watch
        cancels = tuple(by_account.pop(one.order.account_id, ()))
        out.append(msgspec.structs.replace(one, watch=watch, cancels=cancels))
    return out


async def after_fills(
    conn: Connection,
    families: Iterable[Family],
    venues: Venues,
    at: datetime,
) -> Effects:
    """Bring stop and target of these families to what is left; new ones are for the caller to write."""
    effects = Effects()
    for family in families:
        entry = family.entry
        if entry is None:
            continue
        changes = family.settle(at, venues.instrument(entry.broker, entry.symbol))
        await _write(conn, changes, effects, at, "the other of the pair has closed the position")
    return effects


async def without_position(
    conn: Connection, places: Collection[Place], effects: Effects, at: datetime
) -> None:
    """End what stands on the wrong side of a position, or behind none."""
    if not places:
        return
    held = await positions(conn, places)
    columns = [list(column) for column in zip(*sorted(places), strict=True)]
    rows = await (await conn.execute(_STANDING_NOW, columns)).fetchall()
    for order in map(order_of_row, rows):
        if not backed(order, held.get(place_of(order), Decimal(0))):
            gone = Changes()
            (gone.ended if order.state is OrdState.HELD else gone.unwanted).append(order)
            await _write(conn, gone, effects, at, "the position is closed")


async def positions(conn: Connection, places: Collection[Place]) -> dict[Place, Decimal]:
    """Signed lots of each; one that is missing is flat."""
    columns = [list(column) for column in zip(*sorted(places), strict=True)]
    rows = await (await conn.execute(_POSITIONS, columns)).fetchall()
    return {(row[0], row[1], row[2]): row[3] for row in rows}


async def end_held(
    conn: Connection, orders: Sequence[Order], at: datetime, state: OrdState, text: str
) -> list[Entry]:
    """End held orders by our own word. The caller has locked them, and writes the records.

    A second leg that waited for one of them is denied with it.
    """
    ended = []
    for order in orders:
        done = await conn.execute(_END, (state.value, text, at, order.cl_ord_id))
        if done.rowcount:
            ended.append(msgspec.structs.replace(order, state=state))
    entries = [evidence.ended(order, at, text) for order in ended]
    return entries + await deny_second_legs(conn, ended, at)


async def deny_second_legs(conn: Connection, ended: Iterable[Order], at: datetime) -> list[Entry]:
    """What waited for these, which ended here and were never sent, ends too; its records.

    Nothing will ever be learned of such a first leg from a broker, so `book.learn` comes never by.
    """
    firsts = [order for order in ended if order.leg == 0 and order.role == "main"]
    if not firsts:
        return []
    values = (LEFT_OPEN, at, [o.signal_id for o in firsts], [o.account_id for o in firsts])
    rows = await (await conn.execute(_DENY.encode(), values)).fetchall()
    return [evidence.ended(order_of_row(row), at, LEFT_OPEN) for row in rows]


async def wish(
    conn: Connection, orders: Iterable[Order], at: datetime
) -> tuple[list[Order], list[Entry]]:
    """Mark these for cancelling, durably; those that rest at the broker now, and the records."""
    resting, entries = [], []
    for order in orders:
        done = await conn.execute(_WISH, (at, order.cl_ord_id))
        if not done.rowcount:
            continue
        entries.append(evidence.cancel_wanted(order, at))
        if order.state in AT_BROKER:
            resting.append(order)
    return resting, entries


def backed(order: Order, position: Decimal) -> bool:
    """Whether there is a position that this stop or target would reduce."""
    return position > 0 if order.side == "sell" else position < 0


async def _write(
    conn: Connection, changes: Changes, effects: Effects, at: datetime, why: str
) -> None:
    effects.new += changes.new
    for order in changes.amended:
        await conn.execute(
            _AMEND,
            (order.order_qty, order.stop_px, order.price, order.entry_px, order.breakeven_px,
             order.cl_ord_id),
        )  # fmt: skip
        effects.entries.append(evidence.amended(order, at))
    effects.entries += await end_held(conn, changes.ended, at, OrdState.CANCELED, why)
    resting, entries = await wish(conn, changes.unwanted, at)
    effects.cancels += resting
    effects.entries += entries
    held = (*changes.new, *changes.amended, *changes.ended)
    effects.watch |= {order.cl_ord_id for order in held}
