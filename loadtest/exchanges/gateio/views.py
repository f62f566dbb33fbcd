"""What the venue answers: its objects as Gate's JSON, field by field as in the official models.

Sizes are decimal strings for a client that sends `X-Gate-Size-Decimal: 1` (the official one does)
and whole numbers, cut towards zero, for one that does not.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from loadtest.exchanges.gateio.book import Book
from loadtest.exchanges.gateio.ledger import Account, Position, Trade
from loadtest.exchanges.gateio.orders import ZERO, Order

Json = dict[str, Any]


def plain(number: Decimal) -> str:
    """A decimal without exponent and without trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


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
        "tkfr": plain(it.taker_fee_rate),
        "mkfr": plain(it.maker_fee_rate),
        "refu": 0,
        "stp_id": 0,
        "stp_act": "-",
        "amend_text": "-",
        "biz_info": "-",
    }
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


def account(it: Account, marks: dict[str, Decimal]) -> Json:
    balance = it.balance or ZERO
    margin = it.position_margin(marks)
    return {
        "user": it.uid,
        "currency": "USDT",
        "total": money(balance),
        "unrealised_pnl": money(it.unrealised(marks)),
        "position_margin": money(margin),
        "order_margin": money(it.order_margin),
        "available": money(it.available(marks)),
        "point": "0",
        "bonus": "0",
        "in_dual_mode": it.dual_mode,
        "position_mode": "dual" if it.dual_mode else "single",
        "enable_credit": False,
        "enable_evolved_classic": False,
        "enable_new_dual_mode": False,
        "margin_mode": 0,
        "position_initial_margin": "0",
        "maintenance_margin": "0",
        "history": {
            "dnw": money(it.deposits),
            "pnl": money(it.pnl),
            "fee": money(-it.fees),
            "refr": "0",
            "fund": "0",
            "point_dnw": "0",
            "point_fee": "0",
            "point_refr": "0",
            "bonus_dnw": "0",
            "bonus_offset": "0",
        },
    }


def position(it: Position, owner: Account, mark: Decimal, *, decimals: bool) -> Json:
    margin = it.value(mark) / owner.leverage
    pending = sum(o.contract == it.contract.name for o in owner.open_orders.values())
    return {
        "user": owner.uid,
        "contract": it.contract.name,
        "size": size(it.size, decimals),
        "leverage": "0",  # cross margin
        "cross_leverage_limit": plain(owner.leverage),
        "leverage_max": plain(it.contract.leverage_max),
        "risk_limit": "1000000",
        "maintenance_rate": plain(it.contract.maintenance_rate),
        "value": money(it.value(mark)),
        "margin": money(margin),
        "initial_margin": money(margin),
        "maintenance_margin": money(it.value(mark) * it.contract.maintenance_rate),
        "entry_price": money(it.entry_price),
        "liq_price": "0",
        "mark_price": plain(mark),
        "unrealised_pnl": money(it.unrealised(mark)),
        "realised_pnl": money(it.realised_pnl - it.realised_fee),
        "pnl_pnl": money(it.realised_pnl),
        "pnl_fund": "0",
        "pnl_fee": money(-it.realised_fee),
        "history_pnl": "0",
        "last_close_pnl": "0",
        "realised_point": "0",
        "history_point": "0",
        "adl_ranking": 6 if not it.size else 5,
        "pending_orders": pending,
        "close_order": None,
        "mode": "single",
        "pos_margin_mode": "cross",
        "update_time": int(it.update_time),
        "update_id": it.update_id,
        "open_time": int(it.open_time),
    }


def contract(book: Book, *, decimals: bool) -> Json:
    it = book.contract
    return {
        "name": it.name,
        "type": "direct",
        "quanto_multiplier": plain(it.quanto_multiplier),
        "leverage_min": "1",
        "leverage_max": plain(it.leverage_max),
        "maintenance_rate": plain(it.maintenance_rate),
        "mark_type": "index",
        "mark_price": plain(book.mark),
        "index_price": plain(book.mark),
        "last_price": plain(book.last),
        "maker_fee_rate": plain(it.maker_fee_rate),
        "taker_fee_rate": plain(it.taker_fee_rate),
        "order_price_round": plain(it.order_price_round),
        "mark_price_round": plain(it.order_price_round),
        "funding_rate": "0",
        "funding_interval": 28800,
        "funding_next_apply": 0,
        "risk_limit_base": "1000000",
        "risk_limit_step": "1000000",
        "risk_limit_max": "100000000",
        "order_size_min": size(it.order_size_min, decimals),
        "order_size_max": size(it.order_size_max, decimals),
        "enable_decimal": it.enable_decimal,
        "order_price_deviate": plain(it.order_price_deviate),
        "market_order_slip_ratio": plain(it.market_order_slip_ratio),
        "market_order_size_max": plain(it.order_size_max),
        "ref_discount_rate": "0",
        "ref_rebate_rate": "0.2",
        "orderbook_id": 0,
        "trade_id": 0,
        "trade_size": size(ZERO, decimals),
        "position_size": size(ZERO, decimals),
        "config_change_time": 0,
        "create_time": 0,
        "launch_time": 0,
        "in_delisting": False,
        "status": "trading",
        "orders_limit": it.orders_limit,
        "enable_bonus": False,
        "enable_credit": True,
        "contract_type": "",
    }


def ticker(book: Book, *, decimals: bool) -> Json:
    bid, ask = book.best()
    return {
        "contract": book.contract.name,
        "last": plain(book.last),
        "change_percentage": "0",
        "total_size": size(ZERO, decimals),
        "low_24h": plain(book.last),
        "high_24h": plain(book.last),
        "volume_24h": "0",
        "volume_24h_base": "0",
        "volume_24h_quote": "0",
        "volume_24h_settle": "0",
        "mark_price": plain(book.mark),
        "index_price": plain(book.mark),
        "funding_rate": "0",
        "funding_rate_indicative": "0",
        "quanto_base_rate": "",
        "lowest_ask": plain(ask.price) if ask else "",
        "lowest_size": plain(ask.qty) if ask else "",
        "highest_bid": plain(bid.price) if bid else "",
        "highest_size": plain(bid.qty) if bid else "",
    }


def account_detail(it: Account) -> Json:
    return {
        "user_id": it.uid,
        "ip_whitelist": list(it.ip_whitelist),
        "currency_pairs": [],
        "tier": 0,
        "key": {"mode": _mode(it)},
        "copy_trading_role": 0,
    }


def main_keys(it: Account) -> Json | list[Json]:
    """What the key may do. As one object, which is how the official client reads it, or as a list of
    the user's keys, each cut to its first characters, which is how the documentation shows it."""
    shown = {
        "state": it.key_state,
        "mode": _mode(it),
        "name": "simulated",
        "user_id": it.uid,
        "currency_pairs": [],
        "ip_whitelist": list(it.ip_whitelist),
        "perms": [{"name": name, "read_only": name in it.read_only} for name in it.permissions],
    }
    if it.listed == "object":
        return {**shown, "key": {"mode": _mode(it)}}
    another = {
        **shown,
        "key": "52fd0035f665*****",
        "perms": [{"name": "wallet", "read_only": False}],
    }
    return [another, {**shown, "key": it.key[:12] + "*****"}]


def _mode(it: Account) -> int:
    return 2 if it.unified else 1
