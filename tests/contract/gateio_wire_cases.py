"""Our intents at Gate.io futures as requests of ours, and as calls of the official client; and every reason
for which a request of somebody else's may differ from ours. tests/contract/test_gateio_wire.py compares.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import gate_api
import msgspec

from fanout.abilities import Protection
from fanout.brokers.gateio import account_wire, triggers, wire
from fanout.brokers.gateio.wire import Request
from fanout.order import Order
from tests.fakes.orders import an_account, an_order

CAPTURED = json.loads((Path(__file__).parent / "captured" / "gateio_ccxt.json").read_bytes())
NAME: str = CAPTURED["cl_ord_id"]
TEXT = f"t-{NAME}"
ACCOUNT = an_account()


# ------------------------------------------------------------------ why a request may differ


class Reason(msgspec.Struct, frozen=True):
    """One difference that is meant. `holds`: of our value and theirs; None where one side has none."""

    words: str
    holds: Callable[[Any, Any], bool]


SIZE = Reason(
    "size is a decimal string of ours: X-Gate-Size-Decimal: 1 is sent by all three, and a JSON number"
    " would lose digits; ccxt sends an integer where the contract has no decimal sizes",
    lambda ours, theirs: isinstance(ours, str) and Decimal(ours) == theirs,
)
SETTLE = Reason(
    "ccxt leaves the settle currency in a batch's elements, though it is in the path",
    lambda ours, theirs: ours is None and theirs == "usdt",
)
UPPER_SETTLE = Reason(
    "ccxt writes the settle currency of this one path in capitals",
    lambda ours, theirs: ours == theirs.replace("/USDT/", "/usdt/"),
)
CONTRACT_AGAIN = Reason(
    "ccxt names the contract beside an order's id, or a mode that holds for all: Gate has no such parameter",
    lambda ours, theirs: ours is None and theirs == "BTC_USDT",
)
SPOT_FIELDS = Reason(
    "ccxt sends the fields of a spot amendment, too",
    lambda ours, theirs: ours is None and theirs in ("BTC_USDT", "futures"),
)
MARGIN_MODE_AGAIN = Reason(
    "ccxt leaves its own marginMode in the query",
    lambda ours, theirs: ours is None and theirs in ("cross", "isolated"),
)
NO_TEXT = Reason(
    "initial.text is a source (`api`), not a client id: gate-api says so; ccxt puts the id there, and outside",
    lambda ours, theirs: ours in ("api", None) and theirs == TEXT,
)
STRATEGY = Reason(
    "strategy_type 0 (a price, not a spread) is said; ccxt leaves the default",
    lambda ours, theirs: ours == 0 and theirs is None,
)
ORDER_TYPE = Reason(
    "order_type says which side's position is closed; ccxt leaves it out",
    lambda ours, theirs: ours.startswith("plan-close-") and theirs is None,
)
DEFAULTS = Reason(
    "gate-api writes its defaults out; Gate reads an absent flag as false",
    lambda ours, theirs: ours is None and theirs is False,
)


# ------------------------------------------------------------------ the intents


class Case(msgspec.Struct, frozen=True):
    """`ccxt`, `official`: differing places and why. `call`: the official client's, None where it has none."""

    request: Request
    ccxt: dict[str, Reason] | None = None
    call: Callable[[gate_api.FuturesApi], Any] | None = None
    official: dict[str, Reason] = {}


def order(**changed: Any) -> Order:
    facts: dict[str, Any] = {"cl_ord_id": NAME, "order_qty": Decimal(3)}
    return an_order(ACCOUNT, **(facts | changed))


def limit(**changed: Any) -> Order:
    facts: dict[str, Any] = {
        "ord_type": "limit",
        "price": Decimal("60000.1"),
        "order_qty": Decimal(2),
        "side": "sell",
    }
    return order(**(facts | changed))


def protection(**changed: Any) -> Request:
    facts: dict[str, Any] = {
        "cl_ord_id": NAME,
        "symbol": "BTC_USDT",
        "side": "sell",
        "qty": Decimal(4),
        "stop_px": None,
        "target_px": None,
    }
    (leg,) = triggers.legs("usdt", Protection(**(facts | changed)))
    return leg.request


def futures_order(**facts: Any) -> gate_api.FuturesOrder:
    return gate_api.FuturesOrder(contract="BTC_USDT", **({"text": TEXT} | facts))


def price_order(
    size: int, price: str, rule: int, closes: str
) -> gate_api.FuturesPriceTriggeredOrder:
    return gate_api.FuturesPriceTriggeredOrder(
        initial=gate_api.FuturesInitialOrder(
            contract="BTC_USDT", size=size, price="0", tif="ioc", reduce_only=True, text="api"
        ),
        trigger=gate_api.FuturesPriceTrigger(strategy_type=0, price_type=0, price=price, rule=rule),
        order_type=f"plan-close-{closes}-position",
    )


def trail(**facts: Any) -> gate_api.CreateTrailOrder:
    return gate_api.CreateTrailOrder(
        contract="BTC_USDT",
        amount="-4",
        activation_price="0",
        is_gte=True,
        price_type=1,
        reduce_only=True,
        position_related=True,
        text=TEXT,
        **facts,
    )


PLACED = {"body.close": DEFAULTS, "body.reduce_only": DEFAULTS}
TRIGGERED = {
    "body.initial.text": NO_TEXT,
    "body.text": NO_TEXT,
    "body.trigger.strategy_type": STRATEGY,
    "body.order_type": ORDER_TYPE,
}  # size is an integer here, with all three
INITIAL = {"body.initial.close": DEFAULTS}
SECOND = msgspec.structs.replace(
    limit(order_qty=Decimal(2), price=Decimal(61000), time_in_force="gtc"),
    cl_ord_id=f"{NAME[:-1]}2",
)
RESTING = limit(broker_order_id="123")

CASES: dict[str, Case] = {
    "buy_market": Case(
        wire.place("usdt", order()),
        {"body.size": SIZE},
        lambda api: api.create_futures_order("usdt", futures_order(size="3", price="0", tif="ioc")),
        PLACED,
    ),
    "sell_market_reduce_only": Case(
        wire.place("usdt", order(side="sell", order_qty=Decimal(7), reduce_only=True)),
        {"body.size": SIZE},
        lambda api: api.create_futures_order(
            "usdt", futures_order(size="-7", price="0", tif="ioc", reduce_only=True)
        ),
        {"body.close": DEFAULTS},
    ),
    "buy_limit_gtc": Case(
        wire.place("usdt", limit(side="buy", time_in_force="gtc")),
        {"body.size": SIZE},
        lambda api: api.create_futures_order(
            "usdt", futures_order(size="2", price="60000.1", tif="gtc")
        ),
        PLACED,
    ),
    "sell_limit_ioc": Case(
        wire.place("usdt", limit(time_in_force="ioc")),
        {"body.size": SIZE},
        lambda api: api.create_futures_order(
            "usdt", futures_order(size="-2", price="60000.1", tif="ioc")
        ),
        PLACED,
    ),
    "sell_limit_fok": Case(
        wire.place("usdt", limit(time_in_force="fok")),
        {"body.size": SIZE},
        lambda api: api.create_futures_order(
            "usdt", futures_order(size="-2", price="60000.1", tif="fok")
        ),
        PLACED,
    ),
    "batch": Case(
        wire.place_batch("usdt", [order(), SECOND]),
        {
            "body.0.size": SIZE,
            "body.1.size": SIZE,
            "body.0.settle": SETTLE,
            "body.1.settle": SETTLE,
        },
        lambda api: api.create_batch_futures_order(
            "usdt",
            [
                futures_order(size="3", price="0", tif="ioc"),
                futures_order(size="-2", price="61000", tif="gtc", text=f"t-{SECOND.cl_ord_id}"),
            ],
        ),
        {f"body.{row}.{name}": DEFAULTS for row in (0, 1) for name in ("close", "reduce_only")},
    ),
    "amend_size_and_price": Case(
        wire.amend("usdt", RESTING, order_qty=Decimal(5), price=Decimal("60001.5")),
        {"body.size": SIZE, "body.currency_pair": SPOT_FIELDS, "body.account": SPOT_FIELDS},
        lambda api: api.amend_futures_order(
            "usdt", "123", gate_api.FuturesOrderAmendment(size="-5", price="60001.5")
        ),
    ),
    "amend_price": Case(
        wire.amend("usdt", RESTING, order_qty=None, price=Decimal("60001.5")),
        {"body.currency_pair": SPOT_FIELDS, "body.account": SPOT_FIELDS},
        lambda api: api.amend_futures_order(
            "usdt", "123", gate_api.FuturesOrderAmendment(price="60001.5")
        ),
    ),
    "cancel": Case(
        wire.one_order("usdt", "DELETE", "123"),
        {"query.contract": CONTRACT_AGAIN},
        lambda api: api.cancel_futures_order("usdt", "123"),
    ),
    "cancel_by_text": Case(
        wire.one_order("usdt", "DELETE", TEXT),
        {"query.contract": CONTRACT_AGAIN},
        lambda api: api.cancel_futures_order("usdt", TEXT),
    ),
    "cancel_all_in_contract": Case(
        wire.cancel_all("usdt", "BTC_USDT"),
        {},
        lambda api: api.cancel_futures_orders("usdt", contract="BTC_USDT"),
    ),
    "cancel_all": Case(
        wire.cancel_all("usdt", None),
        call=lambda api: api.cancel_futures_orders("usdt"),
    ),
    "cancel_batch": Case(
        wire.cancel_batch("usdt", ["123", "456"]),
        {"path": UPPER_SETTLE},
        lambda api: api.cancel_batch_future_orders("usdt", ["123", "456"]),
    ),
    "find_by_text": Case(
        wire.one_order("usdt", "GET", TEXT),
        {"query.contract": CONTRACT_AGAIN},
        lambda api: api.get_futures_order("usdt", TEXT),
    ),
    "stop_behind_long": Case(
        protection(stop_px=Decimal(59000)),
        TRIGGERED,
        lambda api: api.create_price_triggered_order("usdt", price_order(-4, "59000", 2, "long")),
        INITIAL,
    ),
    "target_behind_long": Case(
        protection(target_px=Decimal(61000)),
        TRIGGERED,
        lambda api: api.create_price_triggered_order("usdt", price_order(-4, "61000", 1, "long")),
        INITIAL,
    ),
    "stop_behind_short": Case(
        protection(side="buy", stop_px=Decimal(61000)),
        TRIGGERED,
        lambda api: api.create_price_triggered_order("usdt", price_order(4, "61000", 1, "short")),
        INITIAL,
    ),
    "trail_by_percent": Case(
        protection(trail_percent=Decimal("1.5")),
        call=lambda api: api.create_trail_order("usdt", trail(price_offset="1.5%")),
    ),
    "trail_by_amount": Case(
        protection(trail_amount=Decimal("250.5")),
        call=lambda api: api.create_trail_order("usdt", trail(price_offset="250.5")),
    ),
    "list_stops": Case(
        triggers.list_price_orders("usdt", "BTC_USDT", 0),
        call=lambda api: api.list_price_triggered_orders(
            "usdt", "open", contract="BTC_USDT", limit=100, offset=0
        ),
    ),
    "list_trails": Case(
        triggers.list_trails("usdt", "BTC_USDT", 1),
        call=lambda api: api.get_trail_orders(
            "usdt", contract="BTC_USDT", is_finished="false", page_num=1, page_size=100
        ),
    ),
    "take_back_stop": Case(
        triggers.take_back("usdt", "price", "123"),
        {"query.contract": CONTRACT_AGAIN},
        lambda api: api.cancel_price_triggered_order("usdt", "123"),
    ),
    "take_back_trail": Case(
        triggers.take_back("usdt", "trail", "77"),
        call=lambda api: api.stop_trail_order("usdt", gate_api.StopTrailOrder(id=77)),
    ),
    "isolated_leverage": Case(
        account_wire.set_leverage(
            "usdt", "BTC_USDT", hedge=False, margin_mode="isolated", leverage="10"
        ),
        {"query.marginMode": MARGIN_MODE_AGAIN},
        lambda api: api.update_position_leverage("usdt", "BTC_USDT", "10"),
    ),
    "cross_leverage": Case(
        account_wire.set_leverage(
            "usdt", "BTC_USDT", hedge=False, margin_mode="cross", leverage="10"
        ),
        {"query.marginMode": MARGIN_MODE_AGAIN},
        lambda api: api.update_position_leverage(
            "usdt", "BTC_USDT", "0", cross_leverage_limit="10"
        ),
    ),
    "cross_leverage_in_hedge_mode": Case(
        account_wire.set_leverage(
            "usdt", "BTC_USDT", hedge=True, margin_mode="cross", leverage="10"
        ),
        call=lambda api: api.update_dual_mode_position_leverage(
            "usdt", "BTC_USDT", "0", cross_leverage_limit="10"
        ),
    ),
    "cross_margin": Case(
        account_wire.set_margin_mode("usdt", "BTC_USDT", hedge=False, margin_mode="cross"),
        call=lambda api: api.update_position_cross_mode(
            "usdt", gate_api.FuturesPositionCrossMode(mode="CROSS", contract="BTC_USDT")
        ),
    ),
    "isolated_margin_in_hedge_mode": Case(
        account_wire.set_margin_mode("usdt", "BTC_USDT", hedge=True, margin_mode="isolated"),
        call=lambda api: api.update_dual_comp_position_cross_mode(
            "usdt",
            gate_api.UpdateDualCompPositionCrossModeRequest(mode="ISOLATED", contract="BTC_USDT"),
        ),
    ),
    "hedge_mode": Case(
        account_wire.set_position_mode("usdt", hedge=True),
        {"query.contract": CONTRACT_AGAIN},
        lambda api: api.set_dual_mode("usdt", "true"),
    ),
    "one_way_mode": Case(
        account_wire.set_position_mode("usdt", hedge=False),
        {"query.contract": CONTRACT_AGAIN},
        lambda api: api.set_dual_mode("usdt", "false"),
    ),
    "position": Case(
        account_wire.position("usdt", "BTC_USDT", hedge=False),
        {},
        lambda api: api.get_position("usdt", "BTC_USDT"),
    ),
    "position_in_hedge_mode": Case(
        account_wire.position("usdt", "BTC_USDT", hedge=True),
        call=lambda api: api.get_dual_mode_position("usdt", "BTC_USDT"),
    ),
    "account": Case(
        account_wire.account("usdt"), {}, lambda api: api.list_futures_accounts("usdt")
    ),
    "unified_account": Case(
        account_wire.unified_account(),
        {},
        lambda api: gate_api.UnifiedApi(api.api_client).list_unified_accounts(),
    ),
    "countdown": Case(
        wire.countdown("usdt", 30),
        {},
        lambda api: api.countdown_cancel_all_futures(
            "usdt", gate_api.CountdownCancelAllFuturesTask(timeout=30)
        ),
    ),
}
