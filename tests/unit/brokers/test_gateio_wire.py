"""What we say to Gate.io: the bytes, and the signature over them."""

from __future__ import annotations

import json
from decimal import Decimal
from types import SimpleNamespace

import gate_api
import pytest

from fanout.brokers.gateio import account_wire, wire
from tests.fakes.orders import an_account, an_order
from tests.fakes.signer import InProcessSigner

ACCOUNT = an_account()

VECTORS = [
    (
        wire.Request("GET", "/api/v4/futures/orders", "contract=BTC_USD&status=finished&limit=50"),
        "55f84ea195d6fe57ce62464daaa7c3c02fa9d1dde954e4c898289c9a2407a3d6"
        "fb3faf24deff16790d726b66ac9f74526668b13bd01029199cc4fcc522418b8a",
    ),
    (
        wire.Request(
            "POST",
            "/api/v4/futures/orders",
            "",
            b'{"contract":"BTC_USD","type":"limit","size":100,"price":6800,"time_in_force":"gtc"}',
        ),
        "eae42da914a590ddf727473aff25fc87d50b64783941061f47a3fdb92742541f"
        "c4c2c14017581b4199a1418d54471c269c03a38d788d802e2c306c37636389f0",
    ),
]


@pytest.mark.parametrize(("request_", "expected"), VECTORS)
def test_signature_equals_gates_published_vectors(request_: wire.Request, expected: str) -> None:
    assert wire.signature(b"secret", request_, 1541993715) == expected


@pytest.mark.parametrize(("request_", "expected"), VECTORS)
async def test_the_tests_own_signer_equals_the_vectors_too(
    request_: wire.Request, expected: str
) -> None:
    signer = InProcessSigner({}, default=b"secret")
    parts = {n: getattr(request_, n) for n in ("method", "path", "query", "body")}
    signed = await signer.sign_request(ACCOUNT, scheme="gateio", timestamp=1541993715, **parts)
    assert signed == expected


class CapturedGateApi(gate_api.ApiClient):
    """The official client, stopped where it would dial."""

    def request(self, method, url, query_params=None, headers=None, body=None, **_kwargs):  # type: ignore[no-untyped-def]
        self.captured = SimpleNamespace(
            method=method, url=url, query=query_params or [], headers=headers, body=body
        )
        raise StopAsyncIteration


def official(call):  # type: ignore[no-untyped-def]
    """The HTTP request that gate-api makes of `call(futures_api)`."""
    configuration = gate_api.Configuration(host="https://x/api/v4", key="key", secret="secret")
    with CapturedGateApi(configuration) as client:
        with pytest.raises(StopAsyncIteration):
            call(gate_api.FuturesApi(client))
        return client.captured


INTENTS = [
    (
        {"side": "buy", "order_qty": Decimal(3)},
        {"size": "3", "price": "0", "tif": "ioc"},
    ),
    (
        {"side": "sell", "order_qty": Decimal(7), "reduce_only": True},
        {"size": "-7", "price": "0", "tif": "ioc", "reduce_only": True},
    ),
    (
        {"ord_type": "limit", "price": Decimal("60000.10"), "time_in_force": "day"},
        {"size": "1", "price": "60000.1", "tif": "gtc"},
    ),
    (
        {"ord_type": "limit", "price": Decimal("1E+5"), "time_in_force": "fok", "side": "sell"},
        {"size": "-1", "price": "100000", "tif": "fok"},
    ),
]


@pytest.mark.parametrize(("ours", "theirs"), INTENTS)
def test_an_order_is_the_request_that_the_official_client_makes(ours: dict, theirs: dict) -> None:
    order = an_order(ACCOUNT, **ours)
    mine = wire.place("usdt", order)
    text = f"t-{order.cl_ord_id}"
    intent = gate_api.FuturesOrder(contract="BTC_USDT", text=text, **theirs)
    seen = official(lambda api: api.create_futures_order("usdt", intent))

    assert (seen.method, seen.url) == (mine.method, f"https://x{mine.path}")
    assert not seen.query
    assert not mine.query
    official_body = json.loads(json.dumps(seen.body))
    # gate-api writes its defaults out; Gate reads an absent flag as false.
    defaults = {"close": False, "reduce_only": False}
    assert defaults | json.loads(mine.body) == official_body


@pytest.mark.parametrize(
    ("mine", "call"),
    [
        (
            wire.one_order("usdt", "GET", "t-abc.1"),
            lambda api: api.get_futures_order("usdt", "t-abc.1"),
        ),
        (
            wire.one_order("usdt", "DELETE", "t-abc.1"),
            lambda api: api.cancel_futures_order("usdt", "t-abc.1"),
        ),
        (
            wire.list_open("usdt", 100),
            lambda api: api.list_futures_orders("usdt", "open", limit=100, offset=100),
        ),
        (
            wire.my_trades("usdt", "BTC_USDT", 0),
            lambda api: api.get_my_trades("usdt", contract="BTC_USDT", limit=100, offset=0),
        ),
        (
            account_wire.list_positions("usdt", 100),
            lambda api: api.list_positions("usdt", holding="true", limit=100, offset=100),
        ),
        (account_wire.account("usdt"), lambda api: api.list_futures_accounts("usdt")),
        (wire.contracts("usdt"), lambda api: api.list_futures_contracts("usdt")),
        (wire.tickers("usdt"), lambda api: api.list_futures_tickers("usdt")),
        (wire.server_time(), lambda api: gate_api.SpotApi(api.api_client).get_system_time()),
    ],
)
def test_a_question_is_the_request_that_the_official_client_makes(mine, call) -> None:  # type: ignore[no-untyped-def]
    seen = official(call)
    assert (seen.method, seen.url) == (mine.method, f"https://x{mine.path}")
    query = "&".join(f"{name}={value}" for name, value in seen.query)
    assert query == mine.query


def test_our_signature_is_the_one_that_the_official_client_would_send(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gate_api.api_client.time.time", lambda: 1541993715)
    request = wire.place("usdt", an_order(ACCOUNT))
    configuration = gate_api.Configuration(key="key", secret="secret")
    with gate_api.ApiClient(configuration) as client:
        theirs = client.gen_sign(request.method, request.path, request.query, request.body.decode())
    assert theirs["Timestamp"] == "1541993715"
    assert theirs["SIGN"] == wire.signature(b"secret", request, 1541993715)


@pytest.mark.parametrize(
    "impossible",
    [
        {"ord_type": "stop"},
        {"time_in_force": "opg"},
        {"ord_type": "market", "time_in_force": "fok"},
        {"ord_type": "limit", "price": None},
        {"ord_type": "limit", "price": Decimal(0)},
        {"order_qty": Decimal("1.5")},
    ],
)
def test_what_gate_does_not_have_is_refused_not_approximated(impossible: dict) -> None:
    with pytest.raises(wire.Unsupported):
        wire.place("usdt", an_order(ACCOUNT, **impossible))


def test_the_longest_client_id_fits_gates_text_rule() -> None:
    order = an_order(ACCOUNT)
    text = wire.client_text(order.order_id + ".999")
    assert text.startswith("t-")
    assert len(text) - 2 <= 28
