"""Our spot requests are those that the official client makes for the same intents, query and body."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import gate_api
import pytest

from fanout.brokers.gate.request import Request, Unsupported
from fanout.brokers.gateio_spot import wire
from fanout.brokers.gateio_spot.wire import Sized
from hsm.policy import check_request
from tests.fakes.orders import an_account, an_order

ACCOUNT = an_account()


class Seen(Exception):
    """What the official client was about to send."""

    def __init__(self, **facts: Any) -> None:
        self.request = SimpleNamespace(**facts)


def official(call: Callable[[gate_api.SpotApi], object]) -> SimpleNamespace:
    def stop(method: str, url: str, query_params: Any = None, body: Any = None, **_: Any) -> None:
        raise Seen(method=method, url=url, query=query_params, body=body)

    configuration = gate_api.Configuration(host="https://x/api/v4", key="k", secret="s")
    with gate_api.ApiClient(configuration) as client:
        client.request = stop
        with pytest.raises(Seen) as seen:
            call(gate_api.SpotApi(client))
    return seen.value.request


def same(mine: Request, theirs: SimpleNamespace) -> None:
    assert (theirs.method, theirs.url) == (mine.method, f"https://x{mine.path}")
    sent = dict(pair.split("=") for pair in mine.query.split("&")) if mine.query else {}
    assert sent == {name: str(value) for name, value in theirs.query or []}
    check_request(SimpleNamespace(**_facts(mine)), 0.0)


def _facts(mine: Request) -> dict[str, Any]:
    return {
        "scheme": "gateio", "method": mine.method, "path": mine.path, "query": mine.query,
        "body": mine.body, "timestamp": 0,
    }  # fmt: skip


INTENTS = [
    # our order, the amount and price that are sent, what the official client is told
    (
        {},
        "10",
        "60000.1",
        {"type": "limit", "side": "buy", "price": "60000.1", "time_in_force": "ioc"},
    ),
    ({"side": "sell"}, "10", None, {"type": "market", "side": "sell", "time_in_force": "ioc"}),
    (
        {"ord_type": "limit", "time_in_force": "fok", "side": "sell"},
        "0.5",
        "1E+5",
        {"type": "limit", "side": "sell", "price": "100000", "time_in_force": "fok"},
    ),
    (
        {"ord_type": "limit", "time_in_force": "day"},
        "1E-6",
        "2",
        {"type": "limit", "side": "buy", "price": "2", "time_in_force": "gtc"},
    ),
]


def intents() -> list[tuple[Sized, gate_api.Order]]:
    found = []
    for ours, amount, price, theirs in INTENTS:
        order = an_order(ACCOUNT, **ours)
        told = Sized(order, Decimal(amount), None if price is None else Decimal(price))
        text = f"t-{order.cl_ord_id}"
        plain = format(Decimal(amount), "f")
        intent = gate_api.Order(
            currency_pair="BTC_USDT", text=text, account="spot", amount=plain, **theirs
        )
        found.append((told, intent))
    return found


def told(body: Any) -> Any:
    """What is in the official client's body, without the defaults."""
    return {k: v for k, v in body.items() if v is not None}


def test_an_order_is_the_request_that_the_official_client_makes() -> None:
    for sized, intent in intents():
        mine = wire.place(sized)
        seen = official(lambda api, intent=intent: api.create_order(intent))
        same(mine, seen)
        assert json.loads(mine.body) == told(json.loads(json.dumps(seen.body)))


def test_a_batch_is_the_request_that_the_official_client_makes() -> None:
    pairs = intents()
    mine = wire.place_batch([sized for sized, _ in pairs])
    seen = official(lambda api: api.create_batch_orders([intent for _, intent in pairs]))
    same(mine, seen)
    assert json.loads(mine.body) == [told(one) for one in json.loads(json.dumps(seen.body))]


PATCH = gate_api.OrderPatch(currency_pair="BTC_USDT", account="spot", amount="2", price="60000")
TASK = gate_api.CountdownCancelAllSpotTask(timeout=30)


@pytest.mark.parametrize(
    ("mine", "call"),
    [
        (
            wire.one_order("GET", "BTC_USDT", "t-abc.1"),
            lambda api: api.get_order("t-abc.1", "BTC_USDT", account="spot"),
        ),
        (
            wire.one_order("DELETE", "BTC_USDT", "12"),
            lambda api: api.cancel_order("12", "BTC_USDT", account="spot"),
        ),
        (
            wire.amend("BTC_USDT", "12", Decimal(2), Decimal(60000)),
            lambda api: api.amend_order("12", PATCH),
        ),
        (
            wire.cancel_all("BTC_USDT"),
            lambda api: api.cancel_orders(currency_pair="BTC_USDT", account="spot"),
        ),
        (wire.cancel_all(None), lambda api: api.cancel_orders(account="spot")),
        (wire.countdown(30), lambda api: api.countdown_cancel_all_spot(TASK)),
        (
            wire.open_in("BTC_USDT", 2),
            lambda api: api.list_orders("BTC_USDT", "open", account="spot", page=2, limit=100),
        ),
        (
            wire.finished_in("BTC_USDT", 5, 1),
            lambda api: api.list_orders(
                "BTC_USDT", "finished", account="spot", _from=5, page=1, limit=100
            ),
        ),
        (
            wire.open_everywhere(1),
            lambda api: api.list_all_open_orders(account="spot", page=1, limit=100),
        ),
        (
            wire.my_trades("BTC_USDT", 5, 1),
            lambda api: api.list_my_trades(currency_pair="BTC_USDT", _from=5, page=1, limit=100),
        ),
        (
            wire.my_trades_between(5, 9, 1),
            lambda api: api.list_my_trades(_from=5, to=9, page=1, limit=100),
        ),
        (wire.balances(), lambda api: api.list_spot_accounts()),
    ],
)
def test_a_question_is_the_request_that_the_official_client_makes(mine: Request, call: Any) -> None:
    seen = official(call)
    same(mine, seen)
    if mine.body:
        assert json.loads(mine.body) == told(json.loads(json.dumps(seen.body)))


@pytest.mark.parametrize(
    "impossible",
    [{"ord_type": "stop"}, {"time_in_force": "opg"}, {"ord_type": "limit", "time_in_force": "cls"}],
)
def test_what_gate_does_not_have_is_not_sent_as_something_near_it(impossible: dict) -> None:
    with pytest.raises(Unsupported):
        wire.place(Sized(an_order(ACCOUNT, **impossible), Decimal(1), None))
