"""What Gate.io's answers mean: may the order exist?"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.brokers.gate import labels
from fanout.brokers.gate.reading import Answer, Unreadable
from fanout.brokers.gateio import answers, holdings, state
from fanout.brokers.gateio.answers import Missing
from fanout.order import OrdState
from fanout.ports import (
    Acked,
    AuthFailed,
    CancelDone,
    CancelTooLate,
    CancelUnknown,
    InDoubt,
    Outcome,
    RateLimited,
    Rejected,
    Report,
    Unsent,
)
from tests.fakes.orders import an_account, an_order

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1.4)
ORDER = an_order(an_account(), order_qty=Decimal(10))


def body(**changed: Any) -> bytes:
    facts = {
        "id": 15675394,
        "contract": "BTC_USDT",
        "size": 10,
        "left": 0,
        "price": "0",
        "fill_price": "60000.5",
        "status": "finished",
        "finish_as": "filled",
        "text": f"t-{ORDER.cl_ord_id}",
        "create_time": 1514764800.123,
        "finish_time": 1514764900.5,
        "user": 100000,
    }
    return json.dumps(facts | changed).encode()


def error(label: str, message: str = "words") -> bytes:
    return json.dumps({"label": label, "message": message}).encode()


def outcome(status: int, content: bytes, *, now: datetime = NOW, **headers: str) -> Outcome:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Answer(status, content, named)
    return answers.outcome(answer, ORDER, not_after=LATER, now=now, clock_error_s=0.1)


@pytest.mark.parametrize(
    ("changed", "status", "cum_qty"),
    [
        ({}, OrdState.FILLED, 10),
        ({"size": "10", "left": "0"}, OrdState.FILLED, 10),
        ({"status": "open", "finish_as": None, "left": 10}, OrdState.NEW, 0),
        ({"status": "open", "finish_as": "", "left": 4}, OrdState.PARTIALLY_FILLED, 6),
        ({"finish_as": "ioc", "left": 10}, OrdState.CANCELED, 0),
        ({"finish_as": "ioc", "left": 3}, OrdState.CANCELED, 7),
        ({"finish_as": "cancelled", "left": 10}, OrdState.CANCELED, 0),
        ({"finish_as": "reduce_only", "left": 10}, OrdState.CANCELED, 0),
        ({"finish_as": "stp", "left": 9}, OrdState.CANCELED, 1),
        ({"finish_as": "ioc", "left": 0}, OrdState.FILLED, 10),
    ],
)
def test_what_gate_says_of_an_order_in_fix_words(
    changed: dict, status: OrdState, cum_qty: int
) -> None:
    seen = outcome(201, body(**changed))
    assert isinstance(seen, Acked)
    assert (seen.report.ord_status, seen.report.cum_qty) == (status, cum_qty)
    assert seen.report.avg_px == (Decimal("60000.5") if cum_qty else None)
    assert seen.report.raw == body(**changed)


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (201, b""),
        (201, b"{}"),
        (201, b"[]"),
        (201, b"<html>"),
        (201, body()[:-5]),
        (201, body(status="weird")),
        (201, body(finish_as="vaporised")),
        (201, body(finish_as=None)),
        (201, body(left=11)),
        (201, body(left="NaN")),
        (201, body(size="NaN")),
        (201, body(size="Infinity")),
        (201, body(size=-10)),
        (201, body(size=11)),
        (201, body(text="t-another")),
        (201, body(contract="ETH_USDT")),
        (202, body()),
        (204, b""),
        (307, b""),
        (500, error("INTERNAL")),
        (502, b"<html>bad gateway"),
        (503, b""),
        (400, b"<html>"),
        (408, b""),
        (400, error("SERVER_ERROR")),
        (400, error("INTERNAL")),
    ],
)
def test_what_cannot_be_taken_at_its_word_is_in_doubt(status: int, content: bytes) -> None:
    seen = outcome(status, content)
    assert isinstance(seen, InDoubt)
    assert (seen.not_after, seen.raw) == (LATER, content)


@pytest.mark.parametrize(("label", "kind"), sorted(labels.REJECTED.items()))
def test_each_known_refusal_is_final_and_has_its_kind(label: str, kind: str) -> None:
    assert outcome(400, error(label)) == Rejected(code=label, kind=kind, text="words")


@pytest.mark.parametrize(("label", "kind"), sorted(labels.AUTH.items()))
def test_each_refused_credential_stops_the_account(label: str, kind: str) -> None:
    assert outcome(401, error(label)) == AuthFailed(kind=kind, text=f"{label}: words")


def test_a_new_label_on_a_4xx_is_a_refusal() -> None:
    assert outcome(400, error("NEW_RULE")) == Rejected(code="NEW_RULE", kind="other", text="words")


def test_a_request_that_came_too_late_is_unsent_and_not_a_wrong_clock() -> None:
    """Gate says REQUEST_EXPIRED for both; stopping the account for a slow network would be wrong."""
    assert isinstance(outcome(401, error("REQUEST_EXPIRED"), now=LATER), Unsent)
    assert isinstance(outcome(401, error("REQUEST_EXPIRED"), now=NOW), AuthFailed)


@pytest.mark.parametrize("status", [429, 400])
def test_too_many_requests_says_how_long_to_wait(status: int) -> None:
    reset = str(NOW.timestamp() + 2)
    seen = outcome(
        status,
        error("TOO_MANY_REQUESTS"),
        X_Gate_RateLimit_Requests_Remain="0",
        X_Gate_RateLimit_Reset_Timestamp=reset,
    )
    assert seen == RateLimited(retry_after_s=2.0)
    assert outcome(429, b"") == RateLimited(retry_after_s=1.0)
    assert outcome(429, b"", Retry_After="7") == RateLimited(retry_after_s=7.0)


@settings(deadline=None)
@given(status=st.integers(100, 599), content=st.binary(max_size=200))
def test_no_answer_whatever_makes_an_exception(status: int, content: bytes) -> None:
    seen = outcome(status, content)
    assert not isinstance(seen, Acked)
    if status >= 500:
        assert isinstance(seen, InDoubt)
    answers.canceled(Answer(status, content), ORDER)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(deadline=None)
@given(st.sampled_from(sorted(json.loads(body()))), json_values)
def test_any_value_in_any_field_is_understood_or_in_doubt(field: str, value: Any) -> None:
    seen = outcome(201, body(**{field: value}))
    assert isinstance(seen, Acked | InDoubt)


def test_only_order_not_found_means_missing() -> None:
    assert isinstance(answers.looked_up(Answer(404, error("ORDER_NOT_FOUND")), ORDER), Missing)
    assert isinstance(answers.looked_up(Answer(200, body()), ORDER), Report)
    for status, content in [
        (404, error("NOT_FOUND")),
        (404, b"<html>"),
        (400, error("ORDER_NOT_FOUND")),
        (500, error("ORDER_NOT_FOUND")),
        (200, b""),
        (200, body(finish_as="vaporised")),
    ]:
        with pytest.raises(Unreadable):
            answers.looked_up(Answer(status, content), ORDER)


def test_a_cancel_is_done_too_late_or_unknown() -> None:
    gone = body(finish_as="cancelled", left=10)
    assert isinstance(answers.canceled(Answer(200, gone), ORDER), CancelDone)
    assert isinstance(answers.canceled(Answer(200, body()), ORDER), CancelTooLate)
    for label in labels.TOO_LATE:
        assert isinstance(answers.canceled(Answer(400, error(label)), ORDER), CancelTooLate)
    for status, content in [(500, error("INTERNAL")), (200, b""), (401, error("INVALID_KEY"))]:
        assert isinstance(answers.canceled(Answer(status, content), ORDER), CancelUnknown)


def test_equity_adds_unrealised_profit_to_the_wallet() -> None:
    content = json.dumps(
        {"total": "1000.5", "unrealised_pnl": "-0.5", "available": "900", "currency": "usdt"}
    ).encode()
    seen = holdings.equity(holdings.futures_account(content), NOW)
    assert (seen.equity, seen.available, seen.currency) == (Decimal(1000), Decimal(900), "USDT")
    assert seen.unrealised == Decimal("-0.5")


def test_positions_of_a_hedged_account_are_refused_not_netted() -> None:
    one = {"contract": "BTC_USDT", "size": "-3", "mode": "single", "entry_price": "5"}
    (seen,), _ = holdings.positions(json.dumps([one]).encode())
    assert seen.qty == -3
    with pytest.raises(Unreadable):
        holdings.positions(json.dumps([one | {"mode": "dual_short"}]).encode())


def test_instruments_leave_out_what_cannot_be_traded() -> None:
    one = {
        "name": "BTC_USDT",
        "quanto_multiplier": "0.0001",
        "order_price_round": "0.1",
        "order_size_min": 1,
        "order_size_max": 1000000,
        "last_price": "60000",
        "mark_price": "0",
    }
    rows = [
        one,
        one | {"name": "A", "in_delisting": True},
        one | {"name": "B", "status": "prelaunch"},
        one | {"name": "C", "quanto_multiplier": "0"},
    ]
    table = state.instruments(json.dumps(rows).encode(), "usdt", NOW)
    assert list(table) == ["BTC_USDT"]
    btc = table["BTC_USDT"]
    assert (btc.multiplier, btc.last_price, btc.mark_price) == (Decimal("0.0001"), 60000, None)
    with pytest.raises(Unreadable):
        state.instruments(json.dumps([one | {"last_price": "NaN"}]).encode(), "usdt", NOW)


@pytest.mark.parametrize(
    ("bid", "ask", "read"),
    [
        ("59999.9", "60000", (Decimal("59999.9"), Decimal(60000))),
        ("", "60000", (None, Decimal(60000))),
        ("0", "", (None, None)),
        ("60001", "60000", (None, None)),  # crossed: a spread below nothing passes every filter
    ],
)
def test_a_quote_is_two_prices_that_do_not_cross(bid: str, ask: str, read: tuple) -> None:
    row = {"contract": "BTC_USDT", "last": "1", "highest_bid": bid, "lowest_ask": ask}
    assert state.quotes(json.dumps([row]).encode()) == {"BTC_USDT": read}


@pytest.mark.parametrize("text", ["NaN", "x", "1e400"])
def test_a_quote_that_is_no_number_is_unreadable(text: str) -> None:
    row = {"contract": "BTC_USDT", "highest_bid": text, "lowest_ask": "1"}
    with pytest.raises(Unreadable):
        state.quotes(json.dumps([row]).encode())


def test_a_foreign_open_order_keeps_its_text_as_its_name() -> None:
    rows = [json.loads(body(status="open", finish_as=None, left=10)), {}]
    rows[1] = rows[0] | {"text": "web", "id": 2}
    ours, foreign = answers.open_reports(json.dumps(rows).encode())
    assert (ours.cl_ord_id, foreign.cl_ord_id) == (ORDER.cl_ord_id, "web")
    assert json.loads(ours.raw) == rows[0]


def test_own_trades_name_our_order() -> None:
    rows = [
        {"create_time": 10.5, "order_id": "77", "text": f"t-{ORDER.cl_ord_id}"},
        {"create_time": 9.5, "order_id": 5, "text": "web"},
    ]
    assert answers.own_trade(Answer(200, json.dumps(rows).encode()), ORDER) == ("77", 2, 9.5)
    assert answers.own_trade(Answer(200, b"[]"), ORDER) == (None, 0, None)
