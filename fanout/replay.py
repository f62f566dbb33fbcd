"""A past signal under another configuration: the plan that was kept beside the one it would be made into. Pure.

1. A plan keeps what it read: of each account its position, its equity, and its instrument's price.
   That is put into today's instruments (their steps and multipliers), and nothing else is.
2. The same function decides (fanout/plan.py), at the time, the place in the rotation and the seed of then.
3. Account by account the two decisions are compared.

What a plan did not keep is not made up. An account that was refused before its market was looked at,
that was not there, or that would now trade another instrument, is `unknown` wherever the answer could
depend on it. Bid and ask, available funds and the room left under limits that count over time (orders
per minute, daily loss, other strategies' positions) were not kept either: see NOT_KNOWN.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from fanout.market import AccountNow, Instruments, Market, Usage
from fanout.option_choice import choose
from fanout.plan import Plan, Rules, make_plan
from fanout.ports import Instrument
from fanout.reasons import Reason
from fanout.signal import Signal
from fanout.windows import Sessions
from tenancy.paper import is_shadow
from tenancy.snapshot import Snapshot
from tenancy.values import AccountID, SignalID

RULES = Rules(signal_age_max_s=7 * 86_400.0, open_window_s=0.0)
"""How long a signal waited is not what a replay is about."""

NOT_KNOWN = (
    "Accounts that the old plan did not look at, and accounts that were not in it: their position then.",
    "Fills that would have been others: each signal is replayed from the positions that its own plan found.",
    "Bid, ask and available funds: a spread filter and block_available are unknown where they decide.",
    "What other strategies, the last minute and the day had used of limits: counted as nothing.",
    "Instruments' steps, multipliers and minimums, group and account settings, and halts: today's.",
)

UNDECIDED = frozenset(
    {Reason.NO_QUOTE, Reason.NO_AVAILABLE, Reason.USAGE_UNKNOWN, Reason.TRADING_WINDOW_UNKNOWN,
     Reason.NOT_CONNECTED}
)  # fmt: skip
"""Reasons that say what the replay lacks, not what the account would have had."""

Kind = Literal["same", "different", "unknown"]
Side = Literal["buy", "sell"]


class KeptLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One order, as far as it is compared."""

    side: Side
    order_qty: Decimal
    ord_type: str
    price: Decimal | None = None
    stop_px: Decimal | None = None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One account's entry, as far as a replay needs it."""

    account_id: AccountID
    place: int
    broker: str
    reason: Reason
    words: str = ""
    symbol: str | None = None
    legs: tuple[KeptLeg, ...] = ()
    position: Decimal = Decimal(0)
    equity: Decimal | None = None
    market_price: Decimal | None = None
    price: Decimal | None = None


class Then(msgspec.Struct, frozen=True, kw_only=True):
    """A past signal and its plan, as the database has them."""

    signal_id: SignalID
    signal: Signal
    received_at: datetime
    planned_at: datetime
    seed: int
    rotation: int
    entries: tuple[Kept, ...]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One account: as it was, and as it would be. None: the account was not, or would not be, in the plan."""

    account_id: AccountID
    kind: Kind
    before: Kept | None
    after: Kept | None


_DECODER = msgspec.json.Decoder(Plan)


def read_plan(data: Any) -> tuple[Kept, ...]:
    """The entries in a plan's own bytes. Raises msgspec.DecodeError for what this version cannot read."""
    return entries_of(_DECODER.decode(data))


def entries_of(plan: Plan) -> tuple[Kept, ...]:
    """Of a plan, whether it was kept or was made just now."""
    return msgspec.convert(list(plan.entries), tuple[Kept, ...], from_attributes=True)


def replay(
    then: Then,
    snapshot: Snapshot,
    instruments: Mapping[str, Instruments],
    keyed: frozenset[str],
    calendars: Mapping[str, Sessions],
) -> list[Comparison]:
    """Every account's two decisions, in the fan-out order of the new plan; who has left comes last.

    Shadows are no part of it: on paper nothing was decided that anybody could have decided otherwise."""
    market = market_of(then, snapshot, instruments, keyed, calendars)
    plan = make_plan(
        then.signal,
        snapshot,
        market,
        signal_id=then.signal_id,
        received_at=then.received_at,
        planned_at=then.planned_at,
        seed=then.seed,
        rotation=then.rotation,
        rules=RULES,
    )
    real = [entry for entry in then.entries if not is_shadow(entry.broker)]
    before = {entry.account_id: entry for entry in real}
    after = entries_of(plan)
    compared = [compare(before.get(entry.account_id), entry) for entry in after]
    there = {entry.account_id for entry in after}
    return compared + [compare(e, None) for e in real if e.account_id not in there]


def market_of(
    then: Then,
    snapshot: Snapshot,
    instruments: Mapping[str, Instruments],
    keyed: frozenset[str],
    calendars: Mapping[str, Sessions],
) -> Market:
    """The market as the old plan found it, where it kept that."""
    prices: dict[str, dict[str, Decimal | None]] = {broker: {} for broker in instruments}
    for entry in then.entries:
        if entry.symbol is not None and entry.broker in prices:
            seen = entry.market_price if entry.market_price is not None else entry.price
            prices[entry.broker].setdefault(entry.symbol, seen)
    priced = {
        broker: Instruments(_priced(one, prices[broker]) for one in known)
        for broker, known in instruments.items()
    }
    held = {entry.account_id: (entry.symbol,) for entry in then.entries if entry.symbol is not None}
    return Market(
        instruments=priced,
        contracts=choose(then.signal, snapshot, priced, held, then.planned_at.date()),
        accounts={
            entry.account_id: AccountNow(position=entry.position, equity=entry.equity)
            for entry in then.entries
            if entry.symbol is not None
        },
        keyed=keyed,
        usage={row.account.account_id: Usage() for row in snapshot.rows},
        calendars=dict(calendars),
    )


def _priced(one: Instrument, prices: Mapping[str, Decimal | None]) -> Instrument:
    """With the price of then; the others keep today's, and are unknown to whoever would trade them."""
    if one.symbol not in prices:
        return one
    price = prices[one.symbol]
    return msgspec.structs.replace(one, mark_price=price, last_price=price, bid=None, ask=None)


def compare(before: Kept | None, after: Kept | None) -> Comparison:
    """One account's two decisions; at least one of them is there."""
    entry = after if after is not None else before
    assert entry is not None
    return Comparison(
        account_id=entry.account_id, kind=_kind(before, after), before=before, after=after
    )


def _kind(before: Kept | None, after: Kept | None) -> Kind:
    if after is None:
        return "different" if before is not None and before.legs else "same"
    if before is None:
        return "unknown"
    alike = before.reason == after.reason and before.legs == after.legs
    if alike and (before.symbol == after.symbol or not after.legs):
        return "same"
    if after.reason in UNDECIDED:
        return "unknown"
    # No symbol: it was refused before its position was looked at. Another symbol: that one's was not.
    if before.symbol is None or (after.symbol is not None and after.symbol != before.symbol):
        return "unknown"
    return "different"


class Lots(msgspec.Struct, frozen=True, kw_only=True):
    """What one instrument's orders come to, before and after, at the accounts that are known."""

    broker: str
    symbol: str
    buy_before: Decimal
    buy_after: Decimal
    sell_before: Decimal
    sell_after: Decimal


def lots(compared: list[Comparison]) -> dict[tuple[str, str], Lots]:
    """By broker and symbol."""
    sums: dict[tuple[str, str], dict[str, Decimal]] = {}
    for one in compared:
        if one.kind == "unknown":
            continue
        for entry, when in ((one.before, "before"), (one.after, "after")):
            if entry is None or entry.symbol is None:
                continue
            for leg in entry.legs:
                kept = sums.setdefault((entry.broker, entry.symbol), {})
                name = f"{leg.side}_{when}"
                kept[name] = kept.get(name, Decimal(0)) + leg.order_qty
    return {key: _lots(*key, kept) for key, kept in sums.items()}


def added(one: Lots | None, other: Lots) -> Lots:
    """Both together."""
    if one is None:
        return other
    names = ("buy_before", "buy_after", "sell_before", "sell_after")
    both = {name: getattr(one, name) + getattr(other, name) for name in names}
    return _lots(other.broker, other.symbol, both)


def _lots(broker: str, symbol: str, kept: Mapping[str, Decimal]) -> Lots:
    nothing = Decimal(0)
    return Lots(
        broker=broker,
        symbol=symbol,
        buy_before=kept.get("buy_before", nothing),
        buy_after=kept.get("buy_after", nothing),
        sell_before=kept.get("sell_before", nothing),
        sell_after=kept.get("sell_after", nothing),
    )
