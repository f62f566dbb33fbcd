"""What the venue answers of orders, fills and positions: Gate's JSON, field by field as in the official models.

Accounts and keys are in account_views.py, what is public in market_views.py.

Sizes are decimal strings for a client that sends `X-Gate-Size-Decimal: 1` (the official one does)
and whole numbers, cut towards zero, for one that does not.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any

from loadtest.exchanges.gateio.ledger import Account, Trade
from loadtest.exchanges.gateio.orders import Order
from loadtest.exchanges.gateio.positions import ZERO, Closed, Position
from loadtest.exchanges.gateio.trails import Trail
from loadtest.exchanges.gateio.triggers import Triggered

Json = dict[str, Any]


def plain(number: Decimal) -> str:
    """A decimal without exponent and without trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


_rate = lru_cache(64)(plain)  # few, and in every answer


def money(number: Decimal) -> str:
    """USDT to twelve places, as Gate shows it at most."""
    text = plain(round(number, 12))
    return "0" if text == "-0" else text


def size(number: Decimal, decimals: bool) -> str | int:
    return plain(number) if decimals else int(number)


def order(it: Order, *, decimals: bool) -> Json:
    filled = it.filled
    shown: Json = {
        "id": it.id,
        "user": it.uid,
        "create_time": round(it.create_time, 3),
        "update_time": round(it.update_time, 3),
        "status": it.status,
        "contract": it.contract,
        "size": size(it.size, decimals),
        "left": size(it.left, decimals),
        "iceberg": size(it.iceberg, decimals),
        "price": plain(it.price),
        "fill_price": money(it.value / filled) if filled else "0",
        "tif": it.tif,
        "text": it.text,
        "is_reduce_only": it.reduce_only,
        "is_close": it.close,
        "is_liq": False,
        "tkfr": _rate(it.taker_fee_rate),
        "mkfr": _rate(it.maker_fee_rate),
        "refu": 0,
        "stp_id": 0,
        "stp_act": "-",
        "amend_text": it.amend_text,
        "biz_info": "-",
    }
    if it.auto_size is not None:
        shown["auto_size"] = it.auto_size
    if it.finish_as is not None:
        shown["finish_as"] = it.finish_as
        shown["finish_time"] = round(it.finish_time or 0.0, 3)
    return shown


def trade(it: Trade, *, decimals: bool) -> Json:
    return {
        "id": it.id,
        "create_time": round(it.create_time, 3),
        "contract": it.contract,
        "order_id": str(it.order_id),
        "size": size(it.size, decimals),
        "close_size": size(it.close_size, decimals),
        "price": plain(it.price),
        "role": it.role,
        "text": it.text,
        "fee": money(it.fee),
        "point_fee": "0",
    }


def position(it: Position, owner: Account, mark: Decimal, *, decimals: bool) -> Json:
    margin = it.margin(mark) if it.size else ZERO
    pending = sum(
        o.contract == it.contract.name and o.leg == it.leg for o in owner.open_orders.values()
    )
    return {
        "user": owner.uid,
        "contract": it.contract.name,
        "size": size(it.size, decimals),
        "leverage": plain(it.leverage),  # zero: cross margin
        "cross_leverage_limit": "0" if it.isolated else plain(it.cross_limit),
        "lever": plain(it.lever),
        "leverage_max": plain(it.contract.leverage_max),
        "risk_limit": "1000000",
        "maintenance_rate": plain(it.contract.maintenance_rate),
        "value": money(it.value(mark)),
        "margin": money(margin),
        "initial_margin": money(margin),
        "average_maintenance_rate": plain(it.contract.maintenance_rate),
        "maintenance_margin": money(it.value(mark) * it.contract.maintenance_rate),
        "entry_price": money(it.entry_price),
        "liq_price": "0",
        "mark_price": plain(mark),
        "unrealised_pnl": money(it.unrealised(mark)),
        "realised_pnl": money(it.realised_pnl - it.realised_fee),
        "pnl_pnl": money(it.realised_pnl),
        "pnl_fund": "0",
        "pnl_fee": money(-it.realised_fee),
        "history_pnl": money(it.history_pnl),
        "last_close_pnl": money(it.last_close_pnl),
        "realised_point": "0",
        "history_point": "0",
        "adl_ranking": 6 if not it.size else 5,
        "pending_orders": pending,
        "close_order": None,
        "mode": it.leg,
        "pos_margin_mode": "isolated" if it.isolated else "cross",
        "update_time": int(it.update_time),
        "update_id": it.update_id,
        "open_time": int(it.open_time),
    }


def closed(it: Closed) -> Json:
    shown_long, shown_short = (
        (it.entry_price, it.exit_price) if it.side == "long" else (it.exit_price, it.entry_price)
    )
    return {
        "time": round(it.at, 3),
        "contract": it.contract,
        "side": it.side,
        "pnl": money(it.pnl - it.fees),
        "pnl_pnl": money(it.pnl),
        "pnl_fund": "0",
        "pnl_fee": money(-it.fees),
        "text": it.text,
        "max_size": plain(it.max_size),
        "accum_size": plain(it.accum_size),
        "first_open_time": int(it.opened_at),
        "long_price": money(shown_long),
        "short_price": money(shown_short),
    }


def triggered(it: Triggered) -> Json:
    """A price-triggered order. Its size is whole here, `amount` has it with its decimals."""
    wanted = it.wanted
    trigger: Json = {
        "strategy_type": 0,
        "price_type": it.price_type,
        "price": plain(it.price),
        "rule": it.rule,
        "expiration": it.expiration or 0,
    }
    shown: Json = {
        "id": it.id,
        "id_string": str(it.id),
        "user": it.owner.uid,
        "create_time": round(it.create_time, 3),
        "status": it.status,
        "reason": it.reason,
        "trade_id": it.trade_id,
        "order_type": it.order_type,
        "trigger": trigger,
        "initial": {
            "contract": wanted.contract,
            "size": int(wanted.size),
            "amount": plain(wanted.size),
            "price": plain(wanted.price),
            "tif": wanted.tif,
            "text": wanted.text,
            "is_close": wanted.close,
            "is_reduce_only": wanted.reduce_only,
            "auto_size": wanted.auto_size or "",
        },
    }
    if it.finish_as is not None:
        shown |= {"finish_as": it.finish_as, "finish_time": round(it.finish_time or 0.0, 3)}
    return shown


def trail(it: Trail) -> Json:
    return {
        "id": it.id,
        "user_id": it.owner.uid,
        "user": it.owner.uid,
        "contract": it.contract,
        "settle": "usdt",
        "amount": plain(it.amount),
        "is_gte": it.is_gte,
        "activation_price": plain(it.activation_price),
        "price_type": it.price_type,
        "price_offset": it.price_offset,
        "text": it.text,
        "reduce_only": it.reduce_only,
        "position_related": it.position_related,
        "created_at": int(it.created_at),
        "activated_at": int(it.activated_at or 0),
        "finished_at": int(it.finished_at or 0),
        "create_time": int(it.created_at),
        "active_time": int(it.activated_at or 0),
        "finish_time": int(it.finished_at or 0),
        "reason": it.reason,
        "suborder_id": it.suborder_id,
        "is_dual_mode": it.owner.dual_mode,
        "trigger_price": plain(it.trigger_price),
        "status": "open" if it.finished_at is None else "finished",
        "extremum_price": plain(it.extremum) if it.extremum is not None else "",
        "side_label": "short" if it.sells else "long",
    }
