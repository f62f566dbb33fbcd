"""What ccxt would send to Gate.io futures for our intents, captured without a network.

    python -m venv /tmp/ccxt && /tmp/ccxt/bin/pip install ccxt
    /tmp/ccxt/bin/python tests/longer/capture_ccxt.py > tests/contract/captured/gateio_ccxt.json

Needs ccxt and nothing of ours, so it runs in an environment of its own: ccxt is no dependency of this
project. Its clock stands still and its `fetch` is replaced, so nothing is dialled. What compares the captured
requests with ours is tests/contract/test_gateio_wire.py; make them anew when ccxt changes what it sends.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import ccxt

TIME_MS = 1541993715000
SWAP = "BTC/USDT:USDT"
NAME = "abcdefghijklmnopqrstuvwx.1"  # a ClOrdID of ours

CONTRACT = {
    "name": "BTC_USDT",
    "quanto_multiplier": "0.0001",
    "order_price_round": "0.1",
    "mark_price_round": "0.01",
    "order_size_min": 1,
    "order_size_max": 1000000,
    "leverage_min": "1",
    "leverage_max": "125",
    "maker_fee_rate": "-0.0001",
    "taker_fee_rate": "0.0005",
    "in_delisting": False,
    "type": "direct",
    "order_price_deviate": "0.5",
    "mark_price": "60000",
    "last_price": "60000",
    "create_time": 1541993715,
}


class Captured(Exception):
    """The request was built; nothing is sent."""


def exchange() -> tuple[Any, list[dict[str, Any]]]:
    gate = ccxt.gate({"apiKey": "key", "secret": "secret", "enableRateLimit": False})
    gate.options["unifiedAccount"] = False
    gate.milliseconds = lambda: TIME_MS
    gate.set_markets([gate.parse_contract_market(CONTRACT, "usdt")])
    seen: list[dict[str, Any]] = []

    def fetch(url: str, method: str, headers: dict[str, str], body: str | None) -> None:
        parts = urlsplit(url)
        seen.append(
            {
                "method": method,
                "path": parts.path,
                "query": unquote(parts.query),
                "body": None if body is None else json.loads(body),
                "sent_body": body,
                "headers": {
                    name: headers[name]
                    for name in ("KEY", "SIGN", "Timestamp", "X-Gate-Size-Decimal")
                    if name in headers
                },
            }
        )
        raise Captured

    gate.fetch = fetch
    return gate, seen


def order(kind: str, side: str, qty: int, price: float | None, **params: Any) -> dict[str, Any]:
    text = {"text": f"t-{NAME}"} if "text" not in params else {}
    return {
        "symbol": SWAP,
        "type": kind,
        "side": side,
        "amount": qty,
        "price": price,
        "params": text | params,
    }


INTENTS: dict[str, Callable[[Any], Any]] = {
    "buy_market": lambda x: x.create_order(**order("market", "buy", 3, None)),
    "sell_market_reduce_only": lambda x: x.create_order(
        **order("market", "sell", 7, None, reduceOnly=True)
    ),
    "buy_limit_gtc": lambda x: x.create_order(
        **order("limit", "buy", 2, 60000.1, timeInForce="GTC")
    ),
    "sell_limit_ioc": lambda x: x.create_order(
        **order("limit", "sell", 2, 60000.1, timeInForce="IOC")
    ),
    "sell_limit_fok": lambda x: x.create_order(
        **order("limit", "sell", 2, 60000.1, timeInForce="FOK")
    ),
    "batch": lambda x: x.create_orders(
        [
            order("market", "buy", 3, None),
            order("limit", "sell", 2, 61000, timeInForce="GTC", text=f"t-{NAME[:-1]}2"),
        ]
    ),
    "amend_size_and_price": lambda x: x.edit_order("123", SWAP, "limit", "sell", 5, 60001.5),
    "amend_price": lambda x: x.edit_order("123", SWAP, "limit", "sell", None, 60001.5),
    "cancel": lambda x: x.cancel_order("123", SWAP),
    "cancel_by_text": lambda x: x.cancel_order(f"t-{NAME}", SWAP),
    "cancel_all_in_contract": lambda x: x.cancel_all_orders(SWAP),
    "cancel_batch": lambda x: x.cancel_orders(["123", "456"], SWAP),
    "find_by_text": lambda x: x.fetch_order(f"t-{NAME}", SWAP),
    "stop_behind_long": lambda x: x.create_order(
        **order("market", "sell", 4, None, stopLossPrice=59000, reduceOnly=True)
    ),
    "target_behind_long": lambda x: x.create_order(
        **order("market", "sell", 4, None, takeProfitPrice=61000, reduceOnly=True)
    ),
    "stop_behind_short": lambda x: x.create_order(
        **order("market", "buy", 4, None, stopLossPrice=61000, reduceOnly=True)
    ),
    "take_back_stop": lambda x: x.cancel_order("123", SWAP, {"trigger": True}),
    "isolated_leverage": lambda x: x.set_leverage(10, SWAP, {"marginMode": "isolated"}),
    "cross_leverage": lambda x: x.set_leverage(10, SWAP, {"marginMode": "cross"}),
    "hedge_mode": lambda x: x.set_position_mode(True, SWAP),
    "one_way_mode": lambda x: x.set_position_mode(False, SWAP),
    "position": lambda x: x.fetch_position(SWAP),
    "unified_account": lambda x: x.fetch_balance({"unifiedAccount": True}),
    "account": lambda x: x.fetch_balance({"type": "swap", "settle": "usdt"}),
    "countdown": lambda x: x.private_futures_post_settle_countdown_cancel_all(
        {"settle": "usdt", "timeout": 30}
    ),
}


def captured() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, intent in INTENTS.items():
        gate, seen = exchange()
        try:
            intent(gate)
        except Captured:
            found[name] = seen[0]
    return found


if __name__ == "__main__":
    content = {
        "ccxt": ccxt.__version__,
        "key": "key",
        "secret": "secret",
        "time_s": TIME_MS // 1000,
        "cl_ord_id": NAME,
        "requests": captured(),
    }
    print(json.dumps(content, indent=1, sort_keys=True))
