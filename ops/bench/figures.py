"""What each figure is, what its floor is, and which way is better. docs/benchmarks.md says more."""

from __future__ import annotations

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """Words for people."""

    what: str
    floor: str
    more_is_better: bool = False


_LOOP = "a plain aiohttp loop, same requests"
_BARE = "bare Hypercorn + Starlette 202, same TLS"
_BARE_UVICORN = "bare uvicorn + Starlette 202 on a Unix socket"
_DECIMALS = "a plain loop of decimals over the same accounts"
_PGBENCH = "pgbench, one INSERT a commit"

FIGURES = {
    "accept_throughput": Figure("webhooks answered 202 a second", _BARE, more_is_better=True),
    "accept_p50_ms": Figure("webhook to 202, half of them", _BARE),
    "accept_p99_ms": Figure("webhook to 202, 99 of 100", _BARE),
    "accept_uvicorn_throughput": Figure(
        "the same by uvicorn, behind a proxy", _BARE_UVICORN, more_is_better=True
    ),
    "accept_uvicorn_p50_ms": Figure("webhook to 202 there, half of them", _BARE_UVICORN),
    "accept_uvicorn_p99_ms": Figure("webhook to 202 there, 99 of 100", _BARE_UVICORN),
    "accept_uvicorn_beside_hypercorn": Figure(
        "webhooks answered 202 by uvicorn, behind a proxy",
        "bare Hypercorn + Starlette 202 on such a socket",
        more_is_better=True,
    ),
    "accept_keep_throughput": Figure("webhooks kept a second", _PGBENCH, more_is_better=True),
    "first_order_p50_ms": Figure("webhook to its first order at the exchange, 8 at once", _LOOP),
    "first_order_p99_ms": Figure("the same, 99 of 100", _LOOP),
    "fanout_20_last_ms": Figure("webhook to the last of 20 orders", _LOOP),
    "fanout_1000_first_ms": Figure("webhook to the first of 1,000 orders", _LOOP),
    "fanout_1000_last_ms": Figure("webhook to the last of 1,000 orders", _LOOP),
    "dispatch_throughput": Figure("orders a second among the 1,000", _LOOP, more_is_better=True),
    **{
        f"order_cpu_us_{size}": Figure(
            f"CPU time of everything for one of {size:,} orders", "a plain aiohttp loop, its own"
        )
        for size in (20, 100, 1000, 10_000)
    },
    **{
        f"fanout_{size}_delayed_last_ms": Figure(
            f"webhook to the last of {size:,} orders at a broker that takes 50 ms", _LOOP
        )
        for size in (100, 1000)
    },
    "hsm_daemon_signatures_per_s": Figure(
        "signatures of the signer daemon", "hmac in this process", more_is_better=True
    ),
    "hsm_daemon_p99_ms": Figure(
        "one of 128 signatures at once, 99 of 100", "one hmac in this process"
    ),
    "hsm_network_1500us_signatures_per_s": Figure(
        "signatures behind a token 1.5 ms away", "hmac in this process", more_is_better=True
    ),
    "audit_records_per_s": Figure("records into the log", "COPY of such rows", more_is_better=True),
    "audit_ack_p99_ms": Figure("one record durable, 99 of 100", _PGBENCH),
    "audit_integrated_p99_ms": Figure(
        "one record under a checkpoint, 99 of 100", "three files flushed"
    ),
    "audit_proof_p99_ms": Figure(
        "a proof in a log of 10,000,000, 99 of 100", "its tiles read alone"
    ),
    "audit_reverify_leaves_per_s": Figure(
        "records of a log verified again", "their hashes alone, one core", more_is_better=True
    ),
    "sizing_1000_ms": Figure("lots of 1,000 accounts", _DECIMALS),
    "sizing_10000_ms": Figure("lots of 10,000 accounts", _DECIMALS),
    "plan_20_ms": Figure("a whole plan of 20 accounts", _DECIMALS),
    "plan_1000_ms": Figure("a whole plan of 1,000 accounts", _DECIMALS),
    "plan_10000_ms": Figure("a whole plan of 10,000 accounts", _DECIMALS),
}

_PAGES = {
    "first": "orders, first page",
    "deep": "orders, a page anywhere in the history",
    "day": "orders of one day",
    "account": "orders of an account, anywhere",
    "account_rare": "orders of an account that has five",
    "symbol": "orders of a symbol, anywhere",
    "symbol_rare": "orders of a symbol of which there are a hundred",
    "strategy": "orders of a strategy, anywhere",
    "strategy_rare": "orders of a strategy that sent five signals",
    "ticker": "orders of a ticker, anywhere",
    "signal": "orders of one signal",
    "rejected": "rejected orders, anywhere",
    "in_doubt": "orders in doubt, of which there are five",
    "filled": "filled orders, anywhere",
    "account_symbol": "orders of an account and a symbol together",
    "nothing_fits": "orders of three filters that nothing fits",
    "fills": "fills, first page",
    "fills_account": "fills of an account",
    "fills_symbol": "fills of a symbol",
    "signals": "signals, first page",
    "signals_ticker": "signals of a ticker",
}
_BY_KEY = "100 orders by primary key, prepared, no HTTP, no wall"
FIGURES |= {
    f"page_{name}_{part}_ms": Figure(f"{what}: {words}", _BY_KEY)
    for name, what in _PAGES.items()
    for part, words in (("p50", "half of them"), ("p99", "99 of 100"))
}


def figure(name: str) -> Figure:
    """Its words; a name that nobody described yet shows as itself."""
    known = FIGURES.get(name)
    return known or Figure(name, "see docs/benchmarks.md", more_is_better=name.endswith("_per_s"))


def cost(name: str, value: float, floor: float) -> float:
    """How many floors it costs: at least one where the floor is a floor."""
    return floor / value if figure(name).more_is_better else value / floor
