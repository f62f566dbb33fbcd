"""Our port, and the scripted SDK, against the installed `shioaji`: signatures, words, errors, fields.

Nothing here makes a `Shioaji()`: it would dial out. What can be made without one is made.
"""

from __future__ import annotations

import ast
import inspect
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import shioaji

from fanout.brokers.shioaji import contracts, errors, port
from fanout.ports import (
    AuthFailed,
    InDoubt,
    Maintenance,
    RateLimited,
    Rejected,
)
from loadtest.exchanges.shioaji import objects, sdk, showing

STUB = ast.parse((Path(str(shioaji.__file__)).parent / "_core.pyi").read_text())


def methods(kind: type) -> dict[str, Any]:
    return {name: each for name, each in vars(kind).items() if inspect.isfunction(each)}


def fields_of(name: str) -> set[str]:
    """Of one of the SDK's classes or TypedDicts, by its stub."""
    for node in STUB.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            own = {
                each.target.id
                for each in node.body
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
            }
            return own | {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
    raise AssertionError(f"the SDK's stub has no {name}")


def test_it_is_the_version_that_was_read() -> None:
    assert shioaji.__version__.startswith("1.7.")


@pytest.mark.parametrize("client", [port.Sdk, sdk.Sdk], ids=["port", "scripted"])
def test_every_call_takes_what_the_installed_one_takes(client: type) -> None:
    """By name, order, kind and default. `self` apart, which the SDK takes by position only."""
    ours = {name for name in methods(client) if not name.startswith("_")}
    assert {"login", "place_order", "update_status", "list_trades", "logout"} <= ours
    for name in ours:
        installed = inspect.signature(getattr(shioaji.Shioaji, name))
        stated = inspect.signature(getattr(client, name))
        assert shape(stated) == shape(installed), name


def shape(signature: inspect.Signature) -> list[tuple[str, str, Any]]:
    rows = list(signature.parameters.values())[1:]
    return [(row.name, row.kind.name, row.default) for row in rows]


def test_the_scripted_client_has_every_call_of_the_port_and_is_made_like_the_real_one() -> None:
    missing = set(methods(port.Sdk)) - set(methods(sdk.Sdk))
    assert {name for name in missing if not name.startswith("_")} == set()
    assert shape(inspect.signature(lambda self, simulation=None, proxy=None, vpn=None: 0)) == [
        (row.name, row.kind.name, row.default)
        for row in inspect.signature(sdk.Shioaji).parameters.values()
    ]
    stub = next(
        node for node in STUB.body if isinstance(node, ast.ClassDef) and node.name == "Shioaji"
    )
    made = next(
        each for each in stub.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"
    )
    assert [arg.arg for arg in made.args.args[1:]] == ["simulation", "proxy", "vpn"]


@pytest.mark.parametrize("name", sorted(port.WORDS))
def test_every_word_that_is_used_is_one_of_the_enum(name: str) -> None:
    kind = getattr(shioaji, name)
    members = {each.value for each in vars(kind).values() if isinstance(each, kind)}
    assert set(port.WORDS[name]) <= members
    if name == "OrderStatus":
        assert set(port.WORDS[name]) == members, "a status that reading.py does not know"


@pytest.mark.parametrize("name", sorted(port.RAISED))
def test_every_exception_that_is_sorted_exists_and_is_of_that_kind(name: str) -> None:
    kind = getattr(shioaji, name)
    parent = getattr(shioaji, port.RAISED[name], None) or Exception
    assert issubclass(kind, parent)


PROTOCOLS = {
    "Account": port.SdkAccount,
    "OrderResult": port.SdkOrder,
    "Deal": port.SdkDeal,
    "OrderStatusInfo": port.SdkStatus,
    "Trade": port.SdkTrade,
    "TradeCacheHealth": port.SdkHealth,
    "UsageOut": port.SdkUsage,
    "StockPosition": port.SdkPosition,
    "FuturePosition": port.SdkPosition,
    "Margin": port.SdkMargin,
    "AccountBalance": port.SdkBalance,
    "Snapshot": port.SdkSnapshot,
    "Contract": port.SdkContract,
    "Contracts": port.SdkContracts,
}


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_every_field_that_is_read_is_a_field(name: str) -> None:
    protocol = PROTOCOLS[name]
    used = set(protocol.__annotations__) | {
        each for each, value in vars(protocol).items() if isinstance(value, property)
    }
    assert used
    assert used <= fields_of(name)
    assert used <= set(dir(getattr(shioaji, name)))


SCRIPTED = {
    "OrderResult": objects.OrderResult,
    "OrderStatusInfo": objects.OrderStatusInfo,
    "Trade": objects.Trade,
    "Deal": objects.Deal,
    "FuturePosition": objects.Position,
    "StockPosition": objects.Position,
    "Margin": objects.Margin,
    "AccountBalance": objects.AccountBalance,
    "UsageOut": objects.UsageOut,
    "Snapshot": objects.Snapshot,
    "TradeCacheHealth": objects.TradeCacheHealth,
}


@pytest.mark.parametrize("name", sorted(SCRIPTED))
def test_a_scripted_value_has_no_field_that_the_sdk_has_not(name: str) -> None:
    assert set(SCRIPTED[name].__dataclass_fields__) <= set(dir(getattr(shioaji, name)))


@pytest.mark.parametrize("kind", ["StockOrder", "FuturesOrder"])
def test_the_orders_that_are_made_are_the_real_ones_and_check_nothing(kind: str) -> None:
    """Why rules.py exists: quantity -1 and NaN pass the SDK's own constructor."""
    make = getattr(sdk, kind)
    assert make is getattr(shioaji, kind)
    more = {"octype": "Cover"} if kind == "FuturesOrder" else {"order_lot": "IntradayOdd"}
    order = make(
        action="Buy", price=float("nan"), quantity=-1, price_type="MKT", time_in_force="ROD",
        custom_field="A1B2C3", account=shioaji.Account(broker_id="F002000", account_id="1"), **more,
    )  # fmt: skip
    assert (order.quantity, order.custom_field, order.time_in_force.value) == (-1, "A1B2C3", "ROD")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (shioaji.OrderOutcomeUnknownError("409"), InDoubt),
        (shioaji.ShioajiTimeoutError("time-out"), InDoubt),
        (shioaji.ShioajiConnectionError("reset"), InDoubt),
        (shioaji.ResponseError("?"), InDoubt),
        (shioaji.DecodeError("?"), InDoubt),
        (shioaji.ServerError("500"), InDoubt),
        (shioaji.ShioajiError("?"), InDoubt),
        (RuntimeError("nobody foresaw it"), InDoubt),
        (shioaji.SystemMaintenance("503"), Maintenance),
        (shioaji.SystemMaintenance("503 please log in again after 1 minute"), RateLimited),
        (shioaji.TokenError("401"), AuthFailed),
        (shioaji.CaError("not activated"), AuthFailed),
        (shioaji.ValidationError("422"), Rejected),
        (shioaji.BadRequestError("400"), Rejected),
        (shioaji.AccountNotSignError("not signed"), Rejected),
        (shioaji.ShioajiValueError("Invalid Action"), Rejected),
    ],
)
def test_every_exception_of_an_order_is_sorted_by_whether_the_order_may_exist(
    error: Exception, outcome: type
) -> None:
    assert isinstance(errors.after_place(error), outcome)


EVENTS = {
    "StockOrderEvent": {"event_id", "order", "contract"},
    "FuturesOrderEvent": {"event_id", "order", "contract"},
    "StockDealEvent": {"event_id", "trade_id", "broker_id", "account_id", "code"},
    "FuturesDealEvent": {"event_id", "trade_id", "broker_id", "account_id", "code", "full_code"},
    "StockOrderDetailDict": {"id", "account"},
    "FuturesOrderDetailDict": {"id", "account"},
    "StockContractDict": {"code"},
    "FuturesContractDict": {"code", "full_code"},
    "AccountDict": {"broker_id", "account_id"},
}


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_every_key_of_an_event_that_is_read_is_a_key(name: str) -> None:
    assert EVENTS[name] <= fields_of(name)


def test_futures_events_do_not_carry_our_name() -> None:
    """Why the journal writes down which id SinoPac gave an order."""
    assert "custom_field" not in fields_of("FuturesOrderDetailDict") | fields_of("FuturesDealEvent")
    assert "custom_field" in fields_of("StockOrderDetailDict") & fields_of("StockDealEvent")


def test_a_real_contract_becomes_one_of_ours() -> None:
    raw = shioaji.Future(
        code="TXFR1", category="TXF", multiplier=200, target_code="TXFL6", reference=23000.0,
        limit_up=25300.0, limit_down=20700.0, delivery_date="2026/12/16",
    )  # fmt: skip
    made = contracts.derivative(raw, "TXF", 100)
    assert made is not None
    assert (made.symbol, made.code, made.multiplier) == ("TXFR1", "TXFL6", 200)
    assert (made.limit_up, str(made.expires_on)) == (25300, "2026-12-16")
    wrong = shioaji.Future(code="TXFL6", category="TXF", multiplier=50)
    assert contracts.derivative(wrong, "TXF", 100) is None, "a size wrong by a factor"
    put = contracts.derivative(
        shioaji.Option(code="TXO22000X6", multiplier=50, option_right=shioaji.OptionRight.Put,
                       strike_price=22000.0), "TXO", 100,
    )  # fmt: skip
    assert put is not None
    assert (put.kind, put.option_type, put.strike, put.multiplier) == ("option", "put", 22000, 50)
    assert put.tick_at(Decimal("12.5")) == Decimal("0.5")


@pytest.mark.parametrize("stock", [True, False], ids=["stock", "futures"])
def test_the_scripted_events_have_the_keys_of_the_sdk_s_and_no_other(stock: bool) -> None:
    order = showing.Order(
        id="1", seqno="2", ordno="3", account="F002000-1", code="TXFL6",
        security_type="STK" if stock else "FUT", action="Buy", price=1.0, quantity=1,
        price_type="LMT", time_in_force="ROD", lot="Common", octype="Auto", custom_field="A1B2C3",
        ordered_at=0.0,
    )  # fmt: skip
    kind = "Stock" if stock else "Futures"
    deal = {"seq": "1", "price": 1.0, "quantity": 1, "ts": 0.0}
    for made, named in (
        (showing.order_event("e", order, "New", "00", ""), "Order"),
        (showing.deal_event("e", order, deal), "Deal"),
    ):
        event = {key: value for key, value in made[1].items() if key != "_row"}
        assert set(event) == fields_of(f"{kind}{named}Event")
        if named == "Order":
            assert set(event["order"]) == fields_of(f"{kind}OrderDetailDict")
            assert set(event["contract"]) == fields_of(f"{kind}ContractDict")
            assert set(event["status"]) == fields_of("EventOrderStatusDict")
            assert set(event["operation"]) == fields_of("OperationDict")
