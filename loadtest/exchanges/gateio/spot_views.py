"""What the spot side answers: its objects as Gate's JSON, field by field as in the official models."""

from __future__ import annotations

from decimal import Decimal

from loadtest.exchanges.gateio.positions import ZERO
from loadtest.exchanges.gateio.spot_book import SpotBook
from loadtest.exchanges.gateio.spot_orders import SpotOrder
from loadtest.exchanges.gateio.spot_wallets import Holding, SpotTrade
from loadtest.exchanges.gateio.views import Json, money, plain


def order(it: SpotOrder) -> Json:
    average = money(it.filled_total / it.filled) if it.filled else "0"
    return {
        "id": str(it.id),
        "text": it.text,
        "amend_text": it.amend_text,
        "create_time": str(int(it.create_time)),
        "update_time": str(int(it.update_time)),
        "create_time_ms": int(it.create_time * 1000),
        "update_time_ms": int(it.update_time * 1000),
        "status": it.status,
        "currency_pair": it.pair,
        "type": "market" if it.price is None else "limit",
        "account": it.account,
        "side": it.side,
        "amount": plain(it.amount),
        "price": plain(it.price or ZERO),
        "time_in_force": it.tif,
        "iceberg": "0",
        "left": plain(it.left),
        "filled_amount": plain(it.filled),
        "fill_price": money(it.filled_total),
        "filled_total": money(it.filled_total),
        "avg_deal_price": average,
        "fee": plain(it.fee),
        "fee_currency": it.fee_currency,
        "point_fee": plain(it.point_fee),
        "gt_fee": "0",
        "gt_maker_fee": "0",
        "gt_taker_fee": "0",
        "gt_discount": False,
        "rebated_fee": "0",
        "rebated_fee_currency": "USDT",
        "stp_id": 0,
        "stp_act": "-",
        "finish_as": it.finish_as,
    }


def trade(it: SpotTrade) -> Json:
    return {
        "id": str(it.id),
        "create_time": str(int(it.create_time)),
        "create_time_ms": f"{it.create_time * 1000:.6f}",
        "currency_pair": it.pair,
        "side": it.side,
        "role": it.role,
        "amount": plain(it.amount),
        "price": plain(it.price),
        "order_id": str(it.order_id),
        "fee": plain(it.fee),
        "fee_currency": it.fee_currency,
        "point_fee": plain(it.point_fee),
        "gt_fee": "0",
        "amend_text": "-",
        "sequence_id": str(it.id),
        "text": it.text,
        "deal": money(it.amount * it.price),
    }


def holding(currency: str, it: Holding) -> Json:
    return {
        "currency": currency,
        "available": plain(it.available),
        "locked": plain(it.locked),
        "update_id": it.update_id,
    }


def _or_null(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def pair(book: SpotBook) -> Json:
    it = book.pair
    return {
        "id": it.id,
        "base": it.base,
        "base_name": it.base,
        "quote": it.quote,
        "quote_name": it.quote,
        "fee": plain(it.fee_rate * 100),
        "min_base_amount": _or_null(it.min_base_amount),
        "min_quote_amount": _or_null(it.min_quote_amount),
        "max_base_amount": _or_null(it.max_base_amount),
        "max_quote_amount": None,
        "amount_precision": it.amount_precision,
        "precision": it.precision,
        "trade_status": "tradable",
        "sell_start": 0,
        "buy_start": 0,
        "delisting_time": 0,
        "type": "normal",
        "trade_url": "",
        "st_tag": False,
        "up_rate": plain(it.deviation),
        "down_rate": plain(it.deviation),
        "slippage": plain(it.slippage),
        "market_order_max_stock": "0",
        "market_order_max_money": "0",
    }


def ticker(book: SpotBook) -> Json:
    bid, ask = book.best()
    return {
        "currency_pair": book.pair.id,
        "last": plain(book.last),
        "lowest_ask": plain(ask.price) if ask else "",
        "lowest_size": plain(ask.qty) if ask else "",
        "highest_bid": plain(bid.price) if bid else "",
        "highest_size": plain(bid.qty) if bid else "",
        "change_percentage": "0",
        "base_volume": "0",
        "quote_volume": "0",
        "high_24h": plain(book.last),
        "low_24h": plain(book.last),
    }


def order_book(book: SpotBook, depth: int, now: float) -> Json:
    def side(buy: bool, limit: Decimal) -> list[list[str]]:
        quotes = book.opposite(buy=buy, limit=limit)
        return [[plain(q.price), plain(q.qty)] for q in quotes[:depth]]

    return {
        "id": None,
        "current": int(now * 1000),
        "update": int(now * 1000),
        "asks": side(True, Decimal("Infinity")),
        "bids": side(False, ZERO),
    }


# ------------------------------------------------------------------ pushed over the WebSocket


def pushed_order(it: SpotOrder, event: str) -> Json:
    """`event`: put, update or finish."""
    return {
        **order(it),
        "user": it.uid,
        "event": event,
        "create_time_ms": f"{it.create_time * 1000:.6f}",
        "update_time_ms": f"{it.update_time * 1000:.6f}",
        "biz_info": "-",
    }


def pushed_trade(it: SpotTrade, uid: int) -> Json:
    return {
        **trade(it),
        "id": it.id,
        "user_id": uid,
        "create_time": int(it.create_time),
        "sequence": it.id,
    }


def pushed_balance(currency: str, it: Holding, of: SpotOrder) -> Json:
    """Thin: the change itself is not reckoned; what there is after it is."""
    return {
        "timestamp": str(int(of.update_time)),
        "timestamp_ms": str(int(of.update_time * 1000)),
        "user": str(of.uid),
        "currency": currency,
        "change": "0",
        "total": plain(it.available + it.locked),
        "available": plain(it.available),
        "freeze": plain(it.locked),
        "freeze_change": "0",
        "change_type": "order-update",
    }
