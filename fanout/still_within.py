"""Is an entry that a person said yes to still within the limits that others draw on too? Pure.

A plan keeps to the limits of its moment (fanout/checks.py). Between the question and the answer
other plans trade, so what would open is looked at once more before it is written: positions, orders
per minute, the day's loss, leverage, one account at a time. Nothing is cut: it is what was
approved, or nothing. What only closes passes.
"""

from __future__ import annotations

from decimal import Decimal

from fanout.exposure import EXACT, NOTHING, LotOf, Pending, risk_open
from fanout.market import Usage
from fanout.order import Side
from fanout.plan import Leg, PlanEntry
from fanout.reasons import Reason
from tenancy.limits import EffectiveLimits, Limit
from tenancy.values import StrategyID


def over_limit(
    entry: PlanEntry,
    strategy: StrategyID,
    limits: EffectiveLimits,
    used: Usage | None,
    expected: Decimal,
    lot_of: LotOf,
) -> Reason | None:
    """The first limit that the entry would be over now; None: it may go. `expected`: the position now."""
    closed, opening, side = _split(entry.legs, expected)
    if not opening or side is None:
        return None
    if used is None:
        return None if _counts_nothing(limits) else Reason.USAGE_UNKNOWN
    return (
        _rate(entry, limits, used)
        or _loss(entry, strategy, limits, used, lot_of)
        or _size(entry, limits, used, expected, closed, opening, side, lot_of)
    )


def _split(legs: tuple[Leg, ...], expected: Decimal) -> tuple[Decimal, Decimal, Side | None]:
    """Lots that the legs close of the position, lots that they open, and on which side those are."""
    position, closed, opened = expected, NOTHING, NOTHING
    side: Side | None = None
    for leg in legs:
        signed = leg.order_qty if leg.side == "buy" else -leg.order_qty
        closes = min(abs(position), leg.order_qty) if position * signed < 0 else NOTHING
        closed += closes
        position += signed
        if leg.order_qty > closes:
            opened, side = opened + leg.order_qty - closes, leg.side
    return closed, opened, side


def _counts_nothing(limits: EffectiveLimits) -> bool:
    return not any(
        (
            limits.max_orders_per_minute,
            limits.max_daily_loss,
            limits.max_leverage,
            limits.max_position_quantity,
            limits.max_position_notional,
            limits.strategy_position_quantity,
            limits.strategy_position_notional,
        )
    )


def _rate(entry: PlanEntry, limits: EffectiveLimits, used: Usage) -> Reason | None:
    limit = limits.max_orders_per_minute
    if limit is None or used.orders_last_minute + len(entry.legs) <= limit.value:
        return None
    return Reason.MAX_ORDERS_PER_MINUTE


def _loss(
    entry: PlanEntry, strategy: StrategyID, limits: EffectiveLimits, used: Usage, lot_of: LotOf
) -> Reason | None:
    limit = limits.max_daily_loss
    if limit is None:
        return None
    assert entry.symbol is not None
    legs = [_pending(leg, strategy, entry.symbol) for leg in entry.legs if leg.protect is not None]
    risk = risk_open(legs, lot_of)
    if used.loss_today is None or used.risk_open is None or risk is None:
        return Reason.USAGE_UNKNOWN
    at_stake = EXACT.add(EXACT.add(used.loss_today, used.risk_open), risk)
    over = used.loss_today >= limit.value or at_stake > limit.value
    return Reason.MAX_DAILY_LOSS if over else None


def _pending(leg: Leg, strategy: StrategyID, symbol: str) -> Pending:
    return Pending(
        strategy_id=strategy,
        symbol=symbol,
        side=leg.side,
        lots=leg.order_qty,
        ord_type=leg.ord_type,
        closes=False,
        price=leg.price,
        stop_px=leg.stop_px,
        protect=leg.protect,
    )


def _size(
    entry: PlanEntry,
    limits: EffectiveLimits,
    used: Usage,
    expected: Decimal,
    closed: Decimal,
    opening: Decimal,
    side: Side,
    lot_of: LotOf,
) -> Reason | None:
    if side == "buy":
        own, others = expected + used.may_buy + closed, used.others_long
    else:
        own, others = used.may_sell - expected + closed, used.others_short
    mine = max(NOTHING, own) + opening
    whole = mine + others
    assert entry.symbol is not None
    lot = lot_of(entry.symbol)
    value = None if lot is None else EXACT.multiply(lot.price, lot.point)
    return (
        _over(limits.max_position_quantity, whole, Reason.MAX_POSITION_QUANTITY)
        or _over(limits.strategy_position_quantity, mine, Reason.MAX_POSITION_QUANTITY)
        or _over(limits.max_position_notional, _worth(whole, value), Reason.MAX_POSITION_NOTIONAL)
        or _over(
            limits.strategy_position_notional, _worth(mine, value), Reason.MAX_POSITION_NOTIONAL
        )
        or _leverage(entry, limits, used, _worth(whole, value))
    )


def _worth(lots: Decimal, value: Decimal | None) -> Decimal | None:
    return None if value is None else EXACT.multiply(lots, value)


def _over(limit: Limit[Decimal] | None, amount: Decimal | None, reason: Reason) -> Reason | None:
    if limit is None:
        return None
    if amount is None:
        return Reason.NO_PRICE
    return reason if amount > limit.value else None


def _leverage(
    entry: PlanEntry, limits: EffectiveLimits, used: Usage, worth: Decimal | None
) -> Reason | None:
    limit = limits.max_leverage
    if limit is None:
        return None
    if worth is None or used.worth_elsewhere is None:
        return Reason.USAGE_UNKNOWN
    if entry.equity is None:
        return Reason.NO_EQUITY
    allowed = EXACT.multiply(limit.value, max(NOTHING, entry.equity))
    return Reason.MAX_LEVERAGE if EXACT.add(worth, used.worth_elsewhere) > allowed else None
