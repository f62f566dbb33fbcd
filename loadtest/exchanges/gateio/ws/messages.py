"""What is pushed, as Gate's JSON: envelopes and one view per channel.

Numbers are numbers here where REST has strings, as on the live venue; sizes are strings for a
connection that asked with `X-Gate-Size-Decimal: 1`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from loadtest.exchanges.gateio.book import Book
from loadtest.exchanges.gateio.ledger import Account, Trade
from loadtest.exchanges.gateio.orders import Order
from loadtest.exchanges.gateio.positions import Closed, Position
from loadtest.exchanges.gateio.triggers import Triggered
from loadtest.exchanges.gateio.views import Json, plain, size, triggered


def envelope(channel: str, event: str, result: Any, now: float, **more: Any) -> Json:
    return {
        "time": int(now),
        "time_ms": int(now * 1000),
        "channel": channel,
        "event": event,
        **more,
        "result": result,
    }


def order(it: Order, *, decimals: bool) -> Json:
    filled = it.filled
    shown: Json = {
        "id": it.id,
        "user": str(it.uid),
        "contract": it.contract,
        "create_time": int(it.create_time),
        "create_time_ms": int(it.create_time * 1000),
        "update_time": int(it.update_time * 1000),
        "update_id": it.update_id,
        "status": it.status,
        "finish_as": it.finish_as or ("_update" if filled else "_new"),
        "size": size(it.size, decimals),
        "left": size(it.left, decimals),
        "iceberg": size(it.iceberg, decimals),
        "price": float(it.price),
        "fill_price": float(it.value / filled) if filled else 0,
        "tif": it.tif,
        "text": it.text,
        "is_reduce_only": it.reduce_only,
        "is_close": it.close,
        "is_liq": False,
        "tkfr": float(it.taker_fee_rate),
        "mkfr": float(it.maker_fee_rate),
        "refu": 0,
        "refr": 0,
        "amend_text": it.amend_text,
        "biz_info": "-",
        "stop_loss_price": "",
        "stop_profit_price": "",
    }
    if it.finish_time is not None:
        shown["finish_time"] = int(it.finish_time)
        shown["finish_time_ms"] = int(it.finish_time * 1000)
    return shown


def fill(it: Trade, *, decimals: bool) -> Json:
    return {
        "id": str(it.id),
        "create_time": int(it.create_time),
        "create_time_ms": int(it.create_time * 1000),
        "contract": it.contract,
        "order_id": str(it.order_id),
        "size": size(it.size, decimals),
        "price": plain(it.price),
        "role": it.role,
        "text": it.text,
        "fee": float(it.fee),
        "point_fee": 0,
    }


def position(it: Position, owner: Account, *, decimals: bool) -> Json:
    return {
        "user": str(owner.uid),
        "contract": it.contract.name,
        "size": size(it.size, decimals),
        "mode": it.leg,
        "entry_price": float(it.entry_price),
        "leverage": float(it.leverage),
        "cross_leverage_limit": 0 if it.isolated else float(it.cross_limit),
        "leverage_max": float(it.contract.leverage_max),
        "maintenance_rate": float(it.contract.maintenance_rate),
        "margin": float(it.margin(it.entry_price)) if it.size else 0,
        "liq_price": 0,
        "risk_limit": 1_000_000,
        "history_pnl": float(it.history_pnl),
        "history_point": 0,
        "last_close_pnl": float(it.last_close_pnl),
        "realised_pnl": float(it.realised_pnl - it.realised_fee),
        "realised_point": 0,
        "time": int(it.update_time),
        "time_ms": int(it.update_time * 1000),
        "update_id": it.update_id,
    }


def closed(it: Closed, owner: Account) -> Json:
    return {
        "user": str(owner.uid),
        "contract": it.contract,
        "side": it.side,
        "pnl": float(it.pnl - it.fees),
        "text": it.text,
        "time": int(it.at),
        "time_ms": int(it.at * 1000),
    }


def balances(it: Trade, owner: Account) -> list[Json]:
    """What a fill did to the wallet: the profit, where there was one, and the fee."""
    changes = [(it.pnl, it.balance + it.fee, "pnl")] if it.pnl else []
    changes.append((-it.fee, it.balance, "fee"))
    return [_balance(it, owner, change, after, kind) for change, after, kind in changes]


def _balance(it: Trade, owner: Account, change: Decimal, after: Decimal, kind: str) -> Json:
    return {
        "user": str(owner.uid),
        "balance": float(after),
        "change": float(change),
        "text": f"{it.contract}:{it.order_id}",
        "time": int(it.create_time),
        "time_ms": int(it.create_time * 1000),
        "type": kind,
        "currency": "usdt",
    }


def auto_order(it: Triggered, *, decimals: bool) -> Json:
    shown = triggered(it)
    shown["initial"]["size"] = size(it.wanted.size, decimals)
    return {
        **shown,
        "name": "price_autoorders",
        "is_stop_order": False,
        "stop_trigger": {"rule": 0, "trigger_price": "", "order_price": ""},
    }


def book_ticker(book: Book, now: float, number: int, *, decimals: bool) -> Json:
    bid, ask = book.best()
    return {
        "t": int(now * 1000),
        "u": number,
        "s": book.contract.name,
        "b": plain(bid.price) if bid else "",
        "B": size(bid.qty if bid else Decimal(0), decimals),
        "a": plain(ask.price) if ask else "",
        "A": size(ask.qty if ask else Decimal(0), decimals),
    }
