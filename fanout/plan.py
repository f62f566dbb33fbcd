"""plan(signal, snapshot, market, seed): every account's order, or the reason why there is none. Pure.

1. Put the accounts into the signal's fan-out order.
2. Judge each: states, connection, the position table, ticker, direction, window, age, then
   inheritance. The first that refuses wins and is named. What cannot be decided is refused.
3. Size the rest, all accounts of one kind at once (fanout/sizing.py).
4. Keep to the instrument's bounds, then to the limits (fanout/checks.py), and write the legs.
5. Where a person is to say yes first, mark the entry: nothing of it is sent before (consent.py).

The same function makes a preview. Its result is one row, kept before any order exists, and with
the signal, the snapshot's version and the seed it can be computed again.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import msgspec

from fanout.checks import CUTS, Checked, Opening, check
from fanout.consent import Asked, ask
from fanout.judge import Draft, Moment, judge
from fanout.mandate import SENDERS, Mandate
from fanout.market import Market
from fanout.order import OrdType, Protect, Side, TimeInForce
from fanout.reasons import Reason
from fanout.rounding import to_tick
from fanout.sequence import fan_out_order
from fanout.signal import Signal
from fanout.sizing import ROUNDING, lots
from fanout.windows import Windows
from tenancy.effective import Source
from tenancy.snapshot import Snapshot
from tenancy.values import AccountID, SignalID, StrategyID, TenantID, plain


class Leg(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One order to place. The second leg of a flip waits for the first to fill."""

    leg: int
    side: Side
    order_qty: Decimal
    ord_type: OrdType
    time_in_force: TimeInForce
    price: Decimal | None = None
    reduce_only: bool = False
    stop_px: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    protect: Protect | None = None


class PlanEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One account. `words` is the arithmetic, for people; the numbers are what it started from."""

    account_id: AccountID
    part: int
    place: int
    broker: str
    reason: Reason
    words: str = ""
    symbol: str | None = None
    cancel_open: bool = False
    legs: tuple[Leg, ...] = ()
    source: dict[str, Source] = {}
    position: Decimal = Decimal(0)
    equity: Decimal | None = None
    price: Decimal | None = None
    market_price: Decimal | None = None
    """The broker's mark or last when the plan was made."""
    signal_price: Decimal | None = None
    cancel_after_s: int | None = None
    asked: Asked | None = None
    """Set: these legs are what a person is asked about, and nothing of the entry is done before."""

    @property
    def acts(self) -> bool:
        """Whether something is to be done at once."""
        return bool(self.legs or self.cancel_open) and self.asked is None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The whole decision. `entries` are in fan-out order."""

    signal_id: SignalID
    tenant_id: TenantID
    strategy_id: StrategyID
    version: int
    platform_revision: int = 0
    seed: int
    rotation: int
    planned_at: datetime
    deadline: datetime
    entries: tuple[PlanEntry, ...]

    @property
    def parts(self) -> list[int]:
        """The partitions in which something is to be done."""
        return sorted({entry.part for entry in self.entries if entry.acts})


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds from the settings, in seconds."""

    signal_age_max_s: float
    open_window_s: float
    """No attempt to open a position begins later than this after the plan."""


def make_plan(
    signal: Signal,
    snapshot: Snapshot,
    market: Market,
    *,
    signal_id: SignalID,
    received_at: datetime,
    planned_at: datetime,
    seed: int,
    rotation: int,
    rules: Rules,
    mandate: Mandate = SENDERS,
) -> Plan:
    """Decide for every account of the snapshot."""
    order = fan_out_order(
        len(snapshot.rows), snapshot.strategy.sequence, seed=seed, rotation=rotation
    )
    age_s = (planned_at - received_at).total_seconds()
    moment = Moment(
        too_old=age_s > rules.signal_age_max_s, windows=Windows(planned_at, market.calendars)
    )
    entries: list[PlanEntry | None] = []
    drafts: list[Draft] = []
    for place, row in enumerate(order):
        judged = judge(
            signal,
            snapshot,
            snapshot.rows[row],
            market,
            place=place,
            moment=moment,
            mandate=mandate,
        )
        if isinstance(judged, Draft):
            entries.append(None)
            drafts.append(judged)
        else:
            entries.append(_refused(snapshot, row, place, judged))
    for draft, size in zip(drafts, _sizes(drafts), strict=True):
        entries[draft.place] = _finish(draft, size, signal, planned_at, mandate)
    return Plan(
        signal_id=signal_id,
        tenant_id=snapshot.strategy.tenant_id,
        strategy_id=snapshot.strategy.strategy_id,
        version=snapshot.strategy.version,
        platform_revision=snapshot.platform.revision,
        seed=seed,
        rotation=rotation,
        planned_at=planned_at,
        deadline=planned_at + timedelta(seconds=rules.open_window_s),
        entries=tuple(entry for entry in entries if entry is not None),
    )


def _refused(snapshot: Snapshot, row: int, place: int, reason: Reason) -> PlanEntry:
    account = snapshot.rows[row].account
    return PlanEntry(
        account_id=account.account_id,
        part=account.part,
        place=place,
        broker=account.broker,
        reason=reason,
    )


def _sizes(drafts: list[Draft]) -> list[Decimal]:
    """Each draft's size in lots, before the instrument's bounds; one division per kind."""
    kinds: dict[tuple[int, Fraction], list[int]] = defaultdict(list)
    for index, draft in enumerate(drafts):
        kinds[len(draft.factors), draft.divisor].append(index)
    sizes = [Decimal(0)] * len(drafts)
    for (width, divisor), members in kinds.items():
        if width == 0:
            continue
        columns = [[drafts[index].factors[column] for index in members] for column in range(width)]
        modes = [ROUNDING[drafts[index].row.settings.rounding.value] for index in members]
        for index, steps in zip(members, lots(columns, divisor, modes), strict=True):
            sizes[index] = steps * drafts[index].instrument.lot_step
    return sizes


def _finish(
    draft: Draft, size: Decimal, signal: Signal, planned_at: datetime, mandate: Mandate
) -> PlanEntry:
    legs, reason, words = _legs(draft, size)
    heeds = not signal.ignore_trading_windows
    asks = bool(legs) and not mandate.forced  # an emergency has been decided
    asked = ask(draft.row, planned_at, heeds_windows=heeds) if asks else None
    return PlanEntry(
        account_id=draft.row.account.account_id,
        part=draft.row.account.part,
        place=draft.place,
        broker=draft.row.account.broker,
        reason=reason if asked is None else Reason.AWAITS_APPROVAL,
        words=words,
        symbol=draft.instrument.symbol,
        cancel_open=draft.cancel_open,
        legs=legs,
        source=draft.source,
        position=draft.position,
        equity=draft.equity,
        price=draft.price,
        market_price=draft.market_price,
        signal_price=signal.reference_price,
        cancel_after_s=signal.cancel_after,
        asked=asked,
    )


def _legs(draft: Draft, size: Decimal) -> tuple[tuple[Leg, ...], Reason, str]:
    """The legs that remain after the instrument's bounds, why, and the arithmetic in words."""
    move = draft.move
    if move is None:
        return (), Reason.CANCEL_ONLY, ""
    held = abs(draft.position)
    legs: list[Leg] = []
    words = draft.words
    if move.close != "none":
        closing = held if move.close == "whole" else min(held, size)
        if closing > 0:
            legs.append(_leg(draft, 0, closing, reduce_only=True))
            words = f"{words}; closes {plain(closing)} of {plain(held)}".lstrip("; ")
    if move.opens:
        opening = size
        if legs and draft.row.settings.subtract_exit_quantity.value:
            opening = max(Decimal(0), size - held)
            words += f"; the exit's {plain(held)} counts"
        opening, note = _bounded(draft, opening)
        words += f" → {plain(size)} lots{note}"
        checked = _limited(draft, opening)
        words += checked.words
        # What a limit refuses is refused whole, a flip too; one that cuts leaves the closing leg.
        cuts = draft.row.limits.over_limit.value == "cut" and checked.reason in CUTS
        if checked.reason is not None and not (cuts and legs):
            return (), checked.reason, words
        if checked.quantity > 0:
            legs.append(_leg(draft, len(legs), checked.quantity, reduce_only=False))
    if not legs:
        return (), Reason.BELOW_MINIMUM, words
    return tuple(legs), Reason.ORDER, words


def _bounded(draft: Draft, size: Decimal) -> tuple[Decimal, str]:
    """Within the instrument's minimum and maximum, and what was done to get there."""
    least, most = draft.instrument.min_qty, draft.instrument.max_qty
    if size < least:
        if draft.row.settings.below_minimum.value == "raise" and size >= 0:
            return least, f", raised to the minimum {plain(least)}"
        return Decimal(0), f", below the minimum {plain(least)}"
    if size > most:
        return most, f", cut to the maximum {plain(most)}"
    return size, ""


def _limited(draft: Draft, quantity: Decimal) -> Checked:
    """The opening leg within the limits of all layers."""
    if quantity <= 0:
        return Checked(quantity=Decimal(0))
    assert draft.move is not None
    return check(
        Opening(
            side=draft.move.side,
            quantity=quantity,
            exposure=draft.exposure,
            instrument=draft.instrument,
            currency=draft.row.account.currency,
            price=draft.price,
            limit_price=_limit_price(draft),
            market_price=draft.market_price,
        ),
        draft.row.limits,
    )


def _leg(draft: Draft, leg: int, qty: Decimal, *, reduce_only: bool) -> Leg:
    assert draft.move is not None
    return Leg(
        leg=leg,
        side=draft.move.side,
        order_qty=qty,
        ord_type=draft.ord_type,
        time_in_force=draft.time_in_force,
        price=_limit_price(draft),
        reduce_only=reduce_only,
    )


def _limit_price(draft: Draft) -> Decimal | None:
    if draft.ord_type != "limit":
        return None
    assert draft.price is not None
    assert draft.move is not None
    return to_tick(draft.price, draft.instrument.tick, draft.move.side)
