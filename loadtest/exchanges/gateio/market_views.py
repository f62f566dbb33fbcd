"""What is public, as Gate's JSON: contracts, tickers, the order book, trades."""

from __future__ import annotations

from loadtest.exchanges.gateio.book import Book
from loadtest.exchanges.gateio.ledger import Trade
from loadtest.exchanges.gateio.positions import ZERO
from loadtest.exchanges.gateio.views import Json, plain, size


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


def order_book(book: Book, depth: int, now: float, *, decimals: bool) -> Json:
    bids, asks = book.depth(depth)
    return {
        "id": 1,
        "current": round(now, 3),
        "update": round(now, 3),
        "asks": [{"p": plain(price), "s": size(qty, decimals)} for price, qty in asks],
        "bids": [{"p": plain(price), "s": size(qty, decimals)} for price, qty in bids],
    }


def public_trade(it: Trade, *, decimals: bool) -> Json:
    """As everybody sees it: the sign is the taker's."""
    return {
        "id": it.id,
        "create_time": round(it.create_time, 3),
        "create_time_ms": round(it.create_time, 3),
        "contract": it.contract,
        "size": size(it.size, decimals),
        "price": plain(it.price),
    }
