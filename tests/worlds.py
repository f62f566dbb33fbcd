"""Random strategies, accounts and markets: everything that a plan depends on, drawn from one seed."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import msgspec

from fanout.market import AccountNow, Instruments, Market, Usage
from fanout.ports import Instrument
from fanout.signal import Signal
from tenancy.limits import Limits, tightest
from tenancy.protection import StopLoss
from tenancy.snapshot import Snapshot, Subscribed
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings
from tests.builders import instrument, signal, snapshot, subscribed

MODES = (
    "fixed_quantity", "dollar_amount", "risk_dollar_amount", "risk_percent", "percent_of_equity",
    "percent_of_position", "equity_ratio",
)  # fmt: skip
OWN_MODES = (*MODES, "multiplier")
BLOCKS = ("block_equal", "block_net_liq", "block_available", "block_ratio")
ACTIONS = ("buy", "sell", "exit", "add", "reverse")
RATES = {"USD/TWD": Decimal("32.1"), "USDT/USD": Decimal("0.9997"), "TWD/JPY": Decimal("4.7")}


def amount(rng: random.Random, low: int = 1, high: int = 10**6) -> Decimal:
    """A positive decimal with up to eight places."""
    scale = rng.choice([0, 0, 1, 2, 8])
    return Decimal(rng.randrange(low, high)).scaleb(-scale)


def maybe(rng: random.Random, share: float, make: Any) -> Any:
    return make() if rng.random() < share else None


def any_instrument(rng: random.Random, symbol: str = "BTC_USDT") -> Instrument:
    step = rng.choice([Decimal(1), Decimal("0.001"), Decimal(5), Decimal("0.25")])
    price = maybe(rng, 0.9, lambda: amount(rng, 1, 10**7))
    spread = maybe(rng, 0.7, lambda: (Decimal("99.5"), Decimal("100.25")))
    return instrument(
        symbol,
        multiplier=rng.choice([Decimal("0.0001"), Decimal(1), Decimal(200), Decimal("0.3")]),
        lot_step=step,
        min_qty=step * rng.choice([1, 1, 3]),
        max_qty=step * rng.choice([5, 1000, 10**9]),
        tick=rng.choice([Decimal("0.1"), Decimal("0.01"), Decimal(5)]),
        currency=rng.choice(["USDT", "USDT", "USD", "TWD", "JPY"]),
        last_price=price,
        mark_price=maybe(rng, 0.5, lambda: price),
        bid=spread and spread[0],
        ask=spread and spread[1],
        min_notional=rng.choice([Decimal(0), Decimal(0), Decimal(10)]),
    )


def any_settings(rng: random.Random) -> SubscriptionSettings:
    own = rng.random() < 0.5
    return SubscriptionSettings(
        use_signal_quantity=maybe(rng, 0.6, lambda: not own or rng.random() < 0.5),
        override_quantity=amount(rng, 1, 10**4) if own else None,
        override_quantity_type=rng.choice(OWN_MODES) if own else None,
        override_stop_loss=maybe(rng, 0.3, lambda: any_stop(rng)),
        allow_add_to_position=maybe(rng, 0.5, lambda: rng.random() < 0.7),
        subtract_exit_quantity=maybe(rng, 0.5, lambda: rng.random() < 0.7),
        allow_side_swap=maybe(rng, 0.3, lambda: rng.random() < 0.5),
        direction=maybe(rng, 0.2, lambda: rng.choice(["long", "short"])),
        rounding=maybe(rng, 0.6, lambda: rng.choice(["down", "nearest", "up"])),
        below_minimum=maybe(rng, 0.5, lambda: rng.choice(["skip", "raise"])),
        equity_basis=maybe(rng, 0.3, lambda: "without_unrealised"),
        position_basis=maybe(rng, 0.3, lambda: "account"),
        position_mismatch=maybe(rng, 0.5, lambda: "repair"),
        block_ratio=maybe(rng, 0.5, lambda: amount(rng, 1, 100)),
        max_spread_percent=maybe(rng, 0.1, lambda: Decimal("0.7")),
        needs_approval=maybe(rng, 0.1, lambda: True),
    )


def any_stop(rng: random.Random) -> StopLoss:
    return rng.choice(
        [
            StopLoss(percent=Decimal("2.5")),
            StopLoss(amount=amount(rng, 1, 1000)),
            StopLoss(stop_price=amount(rng)),
            StopLoss(type="trailing_stop", trail_percent=Decimal(3)),
        ]
    )


def any_limits(rng: random.Random, *, share: float = 0.25) -> Limits:
    return Limits(
        max_order_quantity=maybe(rng, share, lambda: amount(rng, 1, 10**4)),
        max_order_notional=maybe(rng, share, lambda: amount(rng)),
        max_position_quantity=maybe(rng, share, lambda: amount(rng, 1, 10**4)),
        max_position_notional=maybe(rng, share, lambda: amount(rng)),
        max_leverage=maybe(rng, share, lambda: amount(rng, 1, 20)),
        max_daily_loss=maybe(rng, share, lambda: amount(rng, 1, 10**4)),
        max_orders_per_minute=maybe(rng, share, lambda: rng.randrange(1, 8)),
        price_collar_percent=maybe(rng, share, lambda: Decimal(5)),
        over_limit=maybe(rng, 0.6, lambda: rng.choice(["cut", "skip"])),
    )


def any_now(rng: random.Random) -> AccountNow:
    def signed() -> Decimal:
        return rng.choice([-1, 0, 0, 1]) * amount(rng, 1, 10**4)

    return AccountNow(
        equity=maybe(rng, 0.8, lambda: rng.choice([1, 1, 1, -1]) * amount(rng, 1, 10**9)),
        unrealised=signed(),
        available=maybe(rng, 0.8, lambda: amount(rng, 1, 10**8)),
        position=signed(),
        under_way=rng.choice([Decimal(0), Decimal(0), signed()]),
        resting_buy=rng.choice([Decimal(0), amount(rng, 1, 10**3)]),
        resting_sell=rng.choice([Decimal(0), amount(rng, 1, 10**3)]),
        in_doubt=rng.random() < 0.1,
    )


def any_usage(rng: random.Random) -> Usage:
    return Usage(
        others=rng.choice([-1, 0, 0, 1]) * amount(rng, 1, 10**4),
        others_long=rng.choice([Decimal(0), amount(rng, 1, 100)]),
        others_short=rng.choice([Decimal(0), amount(rng, 1, 100)]),
        worth_elsewhere=maybe(rng, 0.9, lambda: amount(rng)),
        orders_last_minute=rng.randrange(0, 7),
        loss_today=maybe(rng, 0.9, lambda: amount(rng, 0, 3000)),
        risk_open=maybe(rng, 0.9, lambda: amount(rng, 0, 3000)),
    )


def any_signal(rng: random.Random) -> Signal:
    fields: dict[str, Any] = {"action": rng.choice(ACTIONS)}
    kind = rng.random()
    if kind < 0.15:
        fields["targetPosition"] = str(rng.choice([-1, 0, 1]) * amount(rng, 1, 10**3))
        fields["targetPositionType"] = rng.choice(["contracts", "percent_of_equity"])
    elif kind < 0.9:
        fields["quantity"] = str(amount(rng, 1, 10**4))
        if rng.random() < 0.6:
            fields["quantityType"] = rng.choice([*MODES, *BLOCKS])
    if rng.random() < 0.2:
        against = {"buy": "bearish", "sell": "bullish"}.get(str(fields["action"]))
        if "quantity" in fields:  # a part is taken off, and the side stays
            against = None
        said = {"bullish", "bearish", "flat"} - {against}
        fields["sentiment"] = rng.choice(sorted(said))
    if rng.random() < 0.3:
        fields["signalPrice"] = str(amount(rng))
    if fields.get("quantityType") in ("risk_dollar_amount", "risk_percent") or rng.random() < 0.2:
        fields["stopLoss"] = rng.choice([{"percent": 2}, {"amount": 3}, {"stopPrice": "120.5"}])
    if rng.random() < 0.3:
        fields["orderType"] = rng.choice(["limit", "stop", "stop_limit", "trailing_stop"])
        if fields["orderType"] == "trailing_stop":
            fields["trailPercent"] = 1
        if "limit" in fields["orderType"] and rng.random() < 0.7:
            fields["limitPrice"] = str(amount(rng))
        if fields["orderType"] in ("stop", "stop_limit") and rng.random() < 0.7:
            fields["stopPrice"] = str(amount(rng))
    if rng.random() < 0.2 and "targetPosition" not in fields:
        fields["expectedPosition"] = str(rng.choice([-1, 0, 1]) * amount(rng, 1, 100))
    if rng.random() < 0.1:
        fields["bidAskSpreadFilter"] = rng.choice([1, 0.5])
    return signal(**fields)


def any_world(seed: int, accounts: int, kinds: int = 6) -> tuple[Signal, Snapshot, Market]:
    """`kinds`: how many different settings and limits the accounts share among them."""
    rng = random.Random(seed)
    strategy = StrategySettings(
        reference_equity=maybe(rng, 0.8, lambda: amount(rng)),
        reference_currency=maybe(rng, 0.3, lambda: "USD"),
        quorum_percent=maybe(rng, 0.1, lambda: Decimal(rng.choice([1, 30, 100]))),
    )
    of_strategy = any_limits(rng, share=0.08)
    cases = [any_settings(rng) for _ in range(kinds)]
    bounds = [
        tightest([("tenant", any_limits(rng, share=0.1)), ("strategy", of_strategy),
                  ("account", any_limits(rng))]) if rng.random() < 0.7 else tightest([])
        for _ in range(kinds)
    ]  # fmt: skip
    rows: list[Subscribed] = []
    for number in range(accounts):
        rows.append(
            subscribed(
                rng.choice(cases),
                strategy=strategy,
                held_to=rng.choice(bounds),
                name=str(number),
                broker=rng.choice(["gateio", "gateio", "paper"]),
                currency=rng.choice(["USDT", "USDT", "USDT", "USD", "TWD"]),
                leverage=rng.choice([Decimal(1), Decimal("2.5"), amount(rng, 1, 100)]),
                stated_equity=maybe(rng, 0.7, lambda: amount(rng)),
            )
        )
    snap = snapshot(*rows, sequence=rng.choice(["rotate", "random", "fixed"]), settings=strategy)
    tenant = msgspec.structs.replace(snap.tenant, fx_rates=RATES)
    snap = msgspec.structs.replace(snap, tenant=tenant)
    ids = [row.account.account_id for row in rows]
    known = {broker: Instruments([any_instrument(rng)]) for broker in ("gateio", "paper")}
    market = Market(
        instruments=known,
        accounts={each: any_now(rng) for each in ids if rng.random() < 0.95},
        usage={each: any_usage(rng) for each in ids if rng.random() < 0.6},
        reduces=frozenset({"gateio"}),
    )
    return any_signal(rng), snap, market
