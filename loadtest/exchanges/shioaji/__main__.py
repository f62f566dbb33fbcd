"""Run a scripted SinoPac: `python -m loadtest.exchanges.shioaji --socket PATH [--seed N --rate R]`."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from loadtest.exchanges.shioaji.exchange import Exchange
from loadtest.exchanges.shioaji.faults import Faults
from loadtest.exchanges.shioaji.showing import Account, Listed
from loadtest.exchanges.shioaji.wire import ExchangeServer


def a_market() -> Exchange:
    """Contracts of each kind, a futures and a stock account; key `key`, secret `secret`."""
    exchange = Exchange()
    exchange.add(
        Listed("future", "TXFL6", "TXF", 23000, 200, delivery_date="2026/12/16", margin=250_000),
        Listed("future", "TXFR1", "TXF", 23000, 200, target_code="TXFL6", margin=250_000),
        Listed("future", "MXFL6", "MXF", 23000, 50, delivery_date="2026/12/16", margin=62_500),
        Listed("future", "MXFR1", "MXF", 23000, 50, target_code="MXFL6", margin=62_500),
        Listed("future", "TMFL6", "TMF", 23000, 10, delivery_date="2026/12/16", margin=12_500),
        Listed("future", "TMFR1", "TMF", 23000, 10, target_code="TMFL6", margin=12_500),
        Listed(
            "option", "TXO23000L6", "TXO", 250, 50, delivery_date="2026/12/16", option_right="C",
            strike_price=23000, margin=12_500, limit_up=2500, limit_down=0.1,
        ),
        Listed("stock", "2330", "24", 1000),
        Listed("stock", "0050", "00", 60),
    )  # fmt: skip
    exchange.open_account(Account("F", "F002000", "1234567", 10_000_000))
    exchange.open_account(Account("S", "9A95", "7654321", 10_000_000))
    exchange.keys["key"] = "secret"
    return exchange


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.exchanges.shioaji", description=__doc__
    )
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--seed", type=int, help="draw faults by this seed")
    parser.add_argument("--rate", type=float, default=0.05, help="of orders that go wrong")
    given = parser.parse_args(arguments)
    exchange = a_market()
    if given.seed is not None:
        exchange.faults = Faults(seed=given.seed, rate=given.rate)
    server = ExchangeServer(exchange, given.socket)
    server.start()
    stop = threading.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, lambda *_: stop.set())
    print(f"a scripted SinoPac at {given.socket}: sdk = loadtest.exchanges.shioaji.sdk", flush=True)
    stop.wait()
    print(exchange.limits.order_ops, exchange.faults.happened, flush=True)
    server.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
