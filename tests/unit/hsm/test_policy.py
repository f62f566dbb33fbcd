"""The table of what may be signed, and the string that is signed."""

import base64
import hmac

import pytest

from hsm.errors import SigningRefused
from hsm.policy import (
    Request,
    check_market,
    check_opening,
    check_purpose,
    check_request,
    checkpoint_origin,
    text_to_sign,
)

NOW = 1_541_993_715
ROOT = base64.b64encode(bytes(range(32))).decode()


def request(method: str = "GET", path: str = "/api/v4/futures/usdt/orders", **more) -> Request:
    fields = {"query": "", "body": b"", "timestamp": NOW, "scheme": "gateio", **more}
    return Request(method=method, path=path, **fields)


@pytest.mark.parametrize(
    ("method", "query", "body", "signature"),
    [
        (
            "GET", "contract=BTC_USD&status=finished&limit=50", b"",
            "55f84ea195d6fe57ce62464daaa7c3c02fa9d1dde954e4c898289c9a2407a3d6fb3faf24deff16790d7"
            "26b66ac9f74526668b13bd01029199cc4fcc522418b8a",
        ),
        (
            "POST", "",
            b'{"contract":"BTC_USD","type":"limit","size":100,"price":6800,"time_in_force":"gtc"}',
            "eae42da914a590ddf727473aff25fc87d50b64783941061f47a3fdb92742541fc4c2c14017581b4199a"
            "1418d54471c269c03a38d788d802e2c306c37636389f0",
        ),
    ],
)  # fmt: skip
def test_the_string_is_the_one_gate_signs(method, query, body, signature):
    """Both vectors of Gate's own documentation."""
    text = text_to_sign(request(method, "/api/v4/futures/orders", query=query, body=body))
    assert hmac.digest(b"secret", text, "sha512").hex() == signature


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v4/futures/usdt/orders"),
        ("PUT", "/api/v4/futures/usdt/orders/t-0198af"),
        ("DELETE", "/api/v4/futures/usdt/orders/t-0198af"),
        ("GET", "/api/v4/futures/usdt/orders/t-0198.af"),
        ("GET", "/api/v4/futures/usdt/accounts"),
        ("GET", "/api/v4/futures/usdt/positions/BTC_USDT"),
        ("POST", "/api/v4/futures/btc/batch_orders"),
        ("GET", "/api/v4/spot/my_trades"),
        ("PATCH", "/api/v4/spot/orders/123"),
        ("GET", "/api/v4/account/detail"),
        ("GET", "/api/v4/account/main_keys"),
        ("GET", "/api/v4/unified/accounts"),
        ("POST", "/api/v4/futures/usdt/positions/BTC_USDT/leverage"),
        ("POST", "/api/v4/futures/usdt/dual_comp/positions/BTC_USDT/leverage"),
        ("POST", "/api/v4/futures/usdt/positions/cross_mode"),
        ("POST", "/api/v4/futures/usdt/dual_mode"),
        ("POST", "/api/v4/futures/usdt/autoorder/v1/trail/create"),
        ("POST", "/api/v4/futures/usdt/autoorder/v1/trail/stop"),
        ("GET", "/api/v4/futures/usdt/autoorder/v1/trail/list"),
    ],
)
def test_orders_and_reading_are_signed(method, path):
    check_request(request(method, path), NOW)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v4/withdrawals"),
        ("DELETE", "/api/v4/withdrawals/1"),
        ("POST", "/api/v4/wallet/transfers"),
        ("GET", "/api/v4/wallet/total_balance"),
        ("POST", "/api/v4/wallet/sub_account_transfers"),
        ("POST", "/api/v4/unified/loans"),
        ("PUT", "/api/v4/unified/unified_mode"),
        ("POST", "/api/v4/unified/accounts"),
        ("POST", "/api/v4/futures/usdt/positions/BTC_USDT/margin"),
        ("POST", "/api/v4/futures/usdt/positions/BTC_USDT/risk_limit"),
        ("POST", "/api/v4/futures/usdt/autoorder/v1/trail/stop_all"),
        ("POST", "/api/v4/futures/usdt/autoorder/v1/trail/../../../wallet/transfers"),
        ("POST", "/api/v4/sub_accounts"),
        ("POST", "/api/v4/sub_accounts/1/keys"),
        ("POST", "/api/v4/account/detail"),
        ("POST", "/api/v4/account/main_keys"),
        ("GET", "/api/v4/account/main_keys/1"),
        ("GET", "/api/v4/account/main_keysx"),
        ("GET", "/api/v4/account/debit_fee"),
        ("PUT", "/api/v4/futures/usdt/orders"),
        ("get", "/api/v4/futures/usdt/orders"),
        ("GET", "/api/v4/futures/orders"),
        ("GET", "/api/v4/futures/usdt/orders/"),
        ("GET", "/api/v4/futures/usdt/orders/.."),
        ("POST", "/api/v4/futures/usdt/orders/../../../withdrawals"),
        ("POST", "/api/v4/futures/usdt/orders%2f..%2f..%2fwithdrawals"),
        ("POST", "/api/v4/futures/usdt/orders?x=/api/v4/withdrawals"),
        ("POST", "/api/v4/futures/usdt/orders\n"),
        ("POST", "//api/v4/futures/usdt/orders"),
        ("POST", ""),
    ],
)
def test_whatever_the_table_does_not_name_is_refused(method, path):
    with pytest.raises(SigningRefused):
        check_request(request(method, path), NOW)


@pytest.mark.parametrize("query", ["a=b\nx", "a=\x00", "a=ü", "a b"])
def test_a_query_cannot_break_out_of_its_line(query):
    with pytest.raises(SigningRefused):
        check_request(request(query=query), NOW)


def test_time_is_ours_give_or_take_a_minute():
    check_request(request(timestamp=NOW + 60), NOW)
    check_request(request(timestamp=NOW - 60), NOW)
    for off in (61, -61, 3600):
        with pytest.raises(SigningRefused, match="clock"):
            check_request(request(timestamp=NOW + off), NOW)


def test_a_key_signs_only_the_scheme_of_its_broker():
    check_purpose("gateio", "gateio")
    check_purpose("gateio", "gateio_ws")
    check_purpose("gateio_spot", "gateio_ws")
    for purpose, scheme in (("hook", "gateio"), ("gateio", "gateio_wss"), ("paper", "gateio")):
        with pytest.raises(SigningRefused):
            check_purpose(purpose, scheme)


@pytest.mark.parametrize(
    ("purpose", "own", "other"),
    [
        ("gateio", "/api/v4/futures/usdt/orders", "/api/v4/spot/orders"),
        ("gateio", "futures.orders", "spot.orders"),
        ("gateio_spot", "/api/v4/spot/orders", "/api/v4/futures/usdt/orders"),
        ("gateio_spot", "spot.balances", "futures.balances"),
    ],
)
def test_a_futures_key_signs_no_spot_request_and_a_spot_key_no_futures_one(purpose, own, other):
    check_market(purpose, own)
    check_market(purpose, "/api/v4/account/detail")
    with pytest.raises(SigningRefused):
        check_market(purpose, other)


def test_an_unknown_scheme_is_refused():
    with pytest.raises(SigningRefused, match="scheme"):
        check_request(request(scheme="raw"), NOW)


def test_only_hook_secrets_come_out():
    check_opening("hook")
    for purpose in ("gateio", "", "Hook", "hook "):
        with pytest.raises(SigningRefused):
            check_opening(purpose)


def test_a_checkpoint_says_its_origin():
    text = f"example.org/log/7\n12\n{ROOT}\n".encode()
    assert checkpoint_origin(text) == "example.org/log/7"


@pytest.mark.parametrize(
    "text",
    [
        "", "o\n1\n", f"o\n1\n{ROOT}", f"o\n1\n{ROOT}\next\n", f"\n1\n{ROOT}\n", f"o\n01\n{ROOT}\n",
        f"o\n-1\n{ROOT}\n", f"o\n１\n{ROOT}\n", f"o o\n1\n{ROOT}\n", f"o+\n1\n{ROOT}\n",
        f"o\n1\n{ROOT[:-4]}\n", f"o\n1\n{ROOT} \n", f"o\n1\n{ROOT}\n\n", f"o\r\n1\n{ROOT}\n",
    ],
)  # fmt: skip
def test_nothing_but_a_checkpoint_is_signed_with_a_log_key(text):
    with pytest.raises(SigningRefused):
        checkpoint_origin(text.encode())


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(SigningRefused):
        checkpoint_origin(b"\xff\n1\n" + ROOT.encode() + b"\n")


@pytest.mark.parametrize(
    "channel",
    [
        "futures.orders",
        "futures.usertrades",
        "futures.positions",
        "futures.balances",
        "spot.orders",
    ],
)
def test_listening_to_an_accounts_own_channels_is_signed(channel):
    """The string of Gate's documentation, and the HMAC over it."""
    said = request("subscribe", channel, scheme="gateio_ws")
    check_request(said, NOW)
    text = text_to_sign(said)
    assert text == f"channel={channel}&event=subscribe&time={NOW}".encode()


@pytest.mark.parametrize(
    ("event", "channel", "more"),
    [
        ("api", "futures.order_place", {}),
        ("subscribe", "futures.order_place", {}),
        ("subscribe", "futures.login", {}),
        ("unsubscribe", "futures.orders", {}),
        ("subscribe", "futures.orders&event=api", {}),
        ("subscribe", "futures.orders\n", {}),
        ("subscribe", "/api/v4/withdrawals", {}),
        ("POST", "/api/v4/futures/usdt/orders", {}),
        ("subscribe", "futures.orders", {"query": "a=b"}),
        ("subscribe", "futures.orders", {"body": b"{}"}),
        ("subscribe", "futures.orders", {"timestamp": NOW + 61}),
    ],
)
def test_nothing_else_is_signed_for_the_websocket(event, channel, more):
    """No order goes that way: the API's own signature has another text and no row here."""
    with pytest.raises(SigningRefused):
        check_request(request(event, channel, scheme="gateio_ws", **more), NOW)


def test_a_subscription_is_no_request_and_a_request_no_subscription():
    with pytest.raises(SigningRefused):
        check_request(request("subscribe", "futures.orders"), NOW)
