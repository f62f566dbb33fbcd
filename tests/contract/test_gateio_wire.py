"""What we send to Gate.io is what the official client and ccxt send for the same intent, but for named reasons.

Method, path, query and body are compared value by value, and every difference has to be one of
gateio_wire_cases.py, with its reason, and has to be there: nothing is ignored. gate-api is asked in this
process and stopped where it would dial; ccxt's requests were captured by tests/longer/capture_ccxt.py.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import gate_api
import pytest

from fanout.brokers.gate import stream_wire
from fanout.brokers.gateio import wire
from fanout.brokers.gateio.wire import Request
from hsm import policy
from tests.contract.gateio_wire_cases import CAPTURED, CASES, Case, Reason

NOW_S: int = CAPTURED["time_s"]


def flat(value: Any, at: str) -> dict[str, Any]:
    """`{"a": [1]}` as `{"a.0": 1}`."""
    if isinstance(value, dict):
        rows = [flat(inner, f"{at}.{name}") for name, inner in value.items()]
    elif isinstance(value, list):
        rows = [flat(inner, f"{at}.{number}") for number, inner in enumerate(value)]
    else:
        return {} if value is None else {at: value}
    return {name: inner for row in rows for name, inner in row.items()}


def parts(method: str, path: str, query: str, body: Any) -> dict[str, Any]:
    asked = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    return {"method": method, "path": path} | flat(asked, "query") | flat(body, "body")


def ours(request: Request) -> dict[str, Any]:
    body = json.loads(request.body) if request.body else None
    return parts(request.method, request.path, request.query, body)


def compare(mine: dict[str, Any], theirs: dict[str, Any], meant: dict[str, Reason]) -> None:
    differing = {
        place: (mine.get(place), theirs.get(place))
        for place in mine.keys() | theirs.keys()
        if mine.get(place) != theirs.get(place)
        or type(mine.get(place)) is not type(theirs.get(place))
    }
    assert differing.keys() == meant.keys(), differing
    for place, (our_value, their_value) in differing.items():
        assert meant[place].holds(our_value, their_value), (place, meant[place].words)


class CapturedGateApi(gate_api.ApiClient):
    """The official client, stopped where it would dial."""

    def request(self, method, url, query_params=None, headers=None, body=None, **_kwargs):  # type: ignore[no-untyped-def]
        self.captured = SimpleNamespace(
            method=method, url=url, query=query_params or [], headers=headers, body=body
        )
        raise StopAsyncIteration


def official(case: Case) -> SimpleNamespace:
    configuration = gate_api.Configuration(host="https://x/api/v4", key="key", secret="secret")
    configuration.client_side_validation = False  # it takes no strings where Gate does
    assert case.call is not None
    with CapturedGateApi(configuration) as client:
        with pytest.raises(StopAsyncIteration):
            case.call(gate_api.FuturesApi(client))
        return client.captured  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_request_is_the_official_clients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate_api.api_client.time.time", lambda: NOW_S)
    case = CASES[name]
    seen = official(case)
    path = seen.url.removeprefix("https://x")
    query = "&".join(f"{field}={value}" for field, value in seen.query)
    compare(ours(case.request), parts(seen.method, path, query, seen.body), case.official)
    # Over its own bytes, its signature is the one that we would make.
    body = b"" if seen.body is None else json.dumps(seen.body).encode()
    theirs = Request(seen.method, path, query, body)
    assert seen.headers["SIGN"] == wire.signature(b"secret", theirs, NOW_S)


@pytest.mark.parametrize(
    "name", sorted(name for name, case in CASES.items() if case.ccxt is not None)
)
def test_a_request_is_ccxts(name: str) -> None:
    case, seen = CASES[name], CAPTURED["requests"][name]
    theirs = parts(seen["method"], seen["path"], seen["query"], seen["body"])
    compare(ours(case.request), theirs, case.ccxt or {})
    body = (seen["sent_body"] or "").encode()
    signed = Request(seen["method"], seen["path"], seen["query"], body)
    assert seen["headers"]["SIGN"] == wire.signature(b"secret", signed, NOW_S)
    if not case.ccxt and not case.request.body:
        assert seen["headers"]["SIGN"] == wire.signature(b"secret", case.request, NOW_S)


def test_every_captured_request_is_compared() -> None:
    assert CAPTURED["requests"].keys() == {
        name for name, case in CASES.items() if case.ccxt is not None
    }


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_signer_signs_the_same_and_nothing_else_of_that_path(name: str) -> None:
    """The policy names each request of ours; as a DELETE of money it would not."""
    request = CASES[name].request
    signable = policy.Request(
        "gateio", request.method, request.path, request.query, request.body, NOW_S
    )
    policy.check_request(signable, NOW_S)
    assert policy.text_to_sign(signable) == wire.signing_text(request, NOW_S)


def test_a_subscription_is_signed_as_gates_documentation_does() -> None:
    """Channel, event and time in one line; the example of https://www.gate.com/docs/developers/futures/ws."""
    signable = policy.Request("gateio_ws", "subscribe", "futures.orders", "", b"", NOW_S)
    policy.check_request(signable, NOW_S)
    assert (
        policy.text_to_sign(signable) == b"channel=futures.orders&event=subscribe&time=%d" % NOW_S
    )
    assert stream_wire.SCHEME == "gateio_ws"
