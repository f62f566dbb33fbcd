"""Who may speak and how often: Gate's signature vectors, header errors, rate limits."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from gate_api.exceptions import GateApiException

from loadtest.exchanges.gateio.auth import signature
from loadtest.exchanges.gateio.control import Settings
from loadtest.exchanges.gateio.limits import Limiter, Limits, TooMany
from tests.integration.simulator.clients import ORDERS, Wire, market, official

ACCOUNTS = "/api/v4/futures/usdt/accounts"


@pytest.mark.parametrize(
    ("method", "query", "body", "expected"),
    [
        (
            "GET",
            "contract=BTC_USD&status=finished&limit=50",
            b"",
            "55f84ea195d6fe57ce62464daaa7c3c02fa9d1dde954e4c898289c9a2407a3d6"
            "fb3faf24deff16790d726b66ac9f74526668b13bd01029199cc4fcc522418b8a",
        ),
        (
            "POST",
            "",
            b'{"contract":"BTC_USD","type":"limit","size":100,"price":6800,"time_in_force":"gtc"}',
            "eae42da914a590ddf727473aff25fc87d50b64783941061f47a3fdb92742541f"
            "c4c2c14017581b4199a1418d54471c269c03a38d788d802e2c306c37636389f0",
        ),
    ],
)
def test_gates_published_signature_vectors(method, query, body, expected):
    assert expected == signature(
        b"secret",
        method=method,
        path="/api/v4/futures/orders",
        query=query,
        body=body,
        timestamp="1541993715",
    )


@pytest.fixture
async def wire(gateio):
    await gateio.control.create_account("key", "secret")
    return Wire(gateio.url, "key", "secret")


async def test_a_request_61_s_old_or_early_is_expired_and_59_s_is_not(wire):
    for seconds, status in ((-61.5, 403), (61.5, 403), (-58, 200), (58, 200)):
        answer = await wire.send("GET", ACCOUNTS, at=time.time() + seconds)
        assert answer[0] == status, seconds
        if status == 403:
            assert json.loads(answer[1])["label"] == "REQUEST_EXPIRED"


@pytest.mark.parametrize("missing", ["KEY", "SIGN", "Timestamp"])
async def test_a_missing_header_is_named(wire, missing):
    status, body, _ = await wire.send("GET", ACCOUNTS, headers={missing: ""})
    assert status == 400
    assert json.loads(body)["label"] == "MISSING_REQUIRED_HEADER"
    assert missing in json.loads(body)["message"]


async def test_a_changed_body_or_query_breaks_the_signature(wire):
    document = {"contract": "BTC_USDT", "size": 1, "price": "0", "tif": "ioc"}
    stolen = {"SIGN": "0" * 128}
    status, body, _ = await wire.send("POST", ORDERS, document, headers=stolen)
    assert (status, json.loads(body)["label"]) == (401, "INVALID_SIGNATURE")
    status, _, _ = await wire.send("GET", ORDERS, query="status=open&contract=BTC_USDT")
    assert status == 200


async def test_the_query_is_signed_unescaped(gateio, wire):
    """Sent as %5F, signed as an underscore."""
    sent = Wire(gateio.url, "key", "secret")
    import yarl

    plain = "status=open&contract=BTC_USDT"
    escaped = yarl.URL(gateio.url + ORDERS + "?" + plain.replace("_", "%5F"), encoded=True)
    import aiohttp

    from tests.integration.simulator.clients import signed

    headers = signed(sent.key, sent.secret, "GET", ORDERS, plain, b"")
    async with aiohttp.ClientSession() as session, session.get(escaped, headers=headers) as answer:
        assert answer.status == 200


async def test_a_never_funded_user_is_not_found(gateio):
    await gateio.control.create_account("poor", "secret", balance=None)
    status, body, _ = await Wire(gateio.url, "poor", "secret").send("GET", ACCOUNTS)
    assert (status, json.loads(body)["label"]) == (400, "USER_NOT_FOUND")


async def test_a_key_without_the_futures_permission_is_forbidden(gateio):
    await gateio.control.create_account("spot", "secret", permissions=("spot",))
    status, body, _ = await Wire(gateio.url, "spot", "secret").send("GET", ACCOUNTS)
    assert (status, json.loads(body)["label"]) == (403, "FORBIDDEN")


async def test_an_order_over_the_limit_is_429_and_not_executed(gateio):
    await gateio.control.create_account("fast", "secret")
    await gateio.control.change_settings(Settings(orders_per_s=5))
    wire = Wire(gateio.url, "fast", "secret")
    answers = [(await wire.order(f"t-{n}")) for n in range(6)]
    assert [status for status, _ in answers] == [201] * 5 + [429]
    assert answers[5][1]["label"] == "TOO_MANY_REQUESTS"
    assert len((await gateio.control.audit()).orders) == 5


async def test_the_headers_count_down_per_user(gateio, wire):
    await gateio.control.create_account("other", "secret")
    document = {"contract": "BTC_USDT", "size": 1, "price": "0", "tif": "ioc"}
    seen = []
    for who in (wire, wire, Wire(gateio.url, "other", "secret")):
        _, _, headers = await who.send("POST", ORDERS, document)
        assert headers["X-Gate-RateLimit-Limit"] == "100"
        assert abs(int(headers["X-Gate-RateLimit-Reset-Timestamp"]) - time.time()) < 3
        seen.append(int(headers["X-Gate-RateLimit-Requests-Remain"]))
    assert seen == [99, 98, 99]


async def test_gate_api_sees_the_rate_limit_as_its_own_exception(gateio):
    await gateio.control.create_account("fast", "secret")
    await gateio.control.change_settings(Settings(orders_per_s=1))
    api = official(gateio.api, "fast", "secret")
    await asyncio.to_thread(api.create_futures_order, "usdt", market(1))
    with pytest.raises(GateApiException) as refused:
        await asyncio.to_thread(api.create_futures_order, "usdt", market(1))
    api.api_client.rest_client.pool_manager.clear()
    assert (refused.value.status, refused.value.label) == (429, "TOO_MANY_REQUESTS")
    assert refused.value.headers["X-Gate-RateLimit-Requests-Remain"] == "0"


def test_limits_are_per_user_and_kind_and_a_batch_counts_each_order():
    limiter = Limiter(Limits())
    for _ in range(10):
        limiter.count(1, "orders", 100.0, weight=10)
    with pytest.raises(TooMany) as refused:
        limiter.count(1, "orders", 100.9)
    assert refused.value.headers["X-Gate-RateLimit-Reset-Timestamp"] == "101"
    limiter.count(2, "orders", 100.9)
    for _ in range(200):
        limiter.count(1, "cancels", 100.0)
        limiter.count(1, "order", 100.0)
    with pytest.raises(TooMany):
        limiter.count(1, "cancels", 100.9)
    with pytest.raises(TooMany):
        limiter.count(1, "order", 109.9)
    limiter.count(1, "orders", 101.0)
    limiter.count(1, "order", 110.0)
