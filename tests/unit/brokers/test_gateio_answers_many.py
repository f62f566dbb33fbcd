"""Of a batch each order is judged by its own answer, and none where the whole is unclear; an amendment is
believed only where Gate shows what was asked for."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fanout.abilities import Amended, AmendRefused, AmendUnknown
from fanout.brokers.gate.reading import Answer, Unreadable
from fanout.brokers.gateio import answers_many, holdings, triggers
from fanout.ports import (
    Acked,
    AuthFailed,
    CancelTooLate,
    CancelUnknown,
    InDoubt,
    Outcome,
    RateLimited,
    Rejected,
    Unsent,
)
from tests.fakes.orders import an_account, an_order

ACCOUNT = an_account()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORDERS = [
    an_order(ACCOUNT, ord_type="limit", price=Decimal(50), order_qty=Decimal(3)) for _ in range(2)
]


def row(number: int, **changed: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "succeeded": True,
        "id": 70 + number,
        "contract": "BTC_USDT",
        "size": "3",
        "left": "3",
        "price": "50",
        "status": "open",
        "text": f"t-{ORDERS[number].cl_ord_id}",
    }
    return facts | changed


def refused(label: str) -> dict[str, Any]:
    return {"succeeded": False, "label": label, "detail": "in its own words"}


def outcomes(status: int, content: Any, *, late: bool = False) -> list[Outcome]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return answers_many.outcomes(
        Answer(status, body),
        ORDERS,
        not_after=NOW + timedelta(seconds=0 if late else 1),
        now=NOW,
        clock_error_s=0.05,
    )


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (row(1), Acked),
        (row(1, text=f"t-{ORDERS[0].cl_ord_id}"), InDoubt),  # the first one's twice
        (row(1, status="dreaming"), InDoubt),
        (row(1, size="4"), InDoubt),
        (refused("INSUFFICIENT_AVAILABLE"), Rejected),
        (refused("NEVER_HEARD_OF"), Rejected),
        (refused(""), InDoubt),
        (refused("INTERNAL"), InDoubt),
        (refused("TOO_MANY_REQUESTS"), RateLimited),
        (refused("IP_FORBIDDEN"), AuthFailed),
        ({"label": "INSUFFICIENT_AVAILABLE"}, InDoubt),  # does not say whether it succeeded
    ],
)
def test_each_order_has_its_own_outcome(second: dict[str, Any], expected: type) -> None:
    first, other = outcomes(200, [row(0), second])
    assert isinstance(first, Acked)
    assert isinstance(other, expected), other


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, [row(0)]),
        (200, [row(0), row(1), row(1)]),
        (200, []),
        (200, b""),
        (200, {"succeeded": True}),
        (202, [row(0), row(1)]),
        (500, {"label": "INTERNAL", "message": "x"}),
        (400, b"<html>"),
    ],
)
def test_where_the_whole_is_unclear_every_order_is_in_doubt(status: int, content: Any) -> None:
    assert [type(one) for one in outcomes(status, content)] == [InDoubt, InDoubt]


@pytest.mark.parametrize(
    ("status", "label", "late", "expected"),
    [
        (400, "INVALID_PARAM_VALUE", False, Rejected),
        (429, "TOO_MANY_REQUESTS", False, RateLimited),
        (401, "INVALID_KEY", False, AuthFailed),
        (400, "REQUEST_EXPIRED", True, Unsent),
    ],
)
def test_what_gate_says_of_all_holds_for_each(
    status: int, label: str, late: bool, expected: type
) -> None:
    found = outcomes(status, {"label": label, "message": "x"}, late=late)
    assert [type(one) for one in found] == [expected, expected]


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (200, row(0), Amended),
        (200, row(0, price="49"), AmendUnknown),
        (200, row(0, size="2", left="2"), AmendUnknown),
        (200, row(0, status="finished", finish_as="cancelled"), AmendUnknown),
        (200, {}, AmendUnknown),
        (201, row(0), AmendUnknown),
        (500, {"label": "INTERNAL"}, AmendUnknown),
        (400, {"label": "TOO_BUSY"}, AmendUnknown),
        (400, {}, AmendUnknown),
        (400, {"label": "PRICE_TOO_DEVIATED", "message": "x"}, AmendRefused),
        (429, {"label": "TOO_MANY_REQUESTS", "message": "x"}, AmendRefused),
    ],
)
def test_an_amendment_is_believed_only_as_it_was_asked_for(
    status: int, content: Any, expected: type
) -> None:
    outcome = answers_many.amended(Answer(status, json.dumps(content).encode()), ORDERS[0])
    assert isinstance(outcome, expected), outcome
    assert not isinstance(outcome, AmendRefused) or not outcome.too_late


def test_cancels_are_told_apart_by_id_and_what_is_missing_is_unknown() -> None:
    rows = [
        {"id": 1, "succeeded": True, "message": ""},
        {"id": "2", "succeeded": False, "message": "ORDER_NOT_FOUND"},
        {"id": "9", "succeeded": False, "message": "ORDER_NOT_FOUND"},
    ]
    found = answers_many.canceled(Answer(200, json.dumps(rows).encode()), ["1", "2", "3"])
    assert list(found) == ["1", "2", "3"]
    assert [type(one) for one in found.values()] == [CancelUnknown, CancelTooLate, CancelUnknown]


@pytest.mark.parametrize(
    ("status", "content", "said"),
    [
        (200, [], True),
        (200, [{"status": "finished"}], True),
        (200, [{"status": "finished"}, {"status": "open"}], False),
        (200, {}, False),
        (400, [], False),
    ],
)
def test_all_is_cancelled_on_gates_word_alone(status: int, content: Any, said: bool) -> None:
    assert answers_many.all_canceled(Answer(status, json.dumps(content).encode())) is said


@pytest.mark.parametrize(
    ("content", "seconds", "said"),
    [
        ({"triggerTime": 1600000000000}, 30, True),
        ({"triggerTime": 0}, 30, False),
        ({"triggerTime": 0}, 0, True),
        ({"triggerTime": 1600000000000}, 0, False),
        ({}, 30, False),
    ],
)
def test_a_countdown_runs_on_gates_word_alone(content: Any, seconds: int, said: bool) -> None:
    assert answers_many.armed(Answer(200, json.dumps(content).encode()), seconds) is said


# ------------------------------------------------------------------ what waits at Gate


@pytest.mark.parametrize(
    "content",
    [{}, [], {"code": 5, "message": "no"}, {"data": {}}, {"orders": [{"id": 1}]}],
)
def test_a_list_of_trailing_orders_that_is_none_is_not_an_empty_one(content: Any) -> None:
    with pytest.raises(Unreadable):
        triggers.trails(json.dumps(content).encode())
    assert triggers.trails(b'{"code":0,"data":{"orders":[]}}') == triggers.trails(b'{"orders":[]}')


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("trail", {"code": 7, "message": "no", "data": {"id": "1"}}),
        ("trail", {"code": 0}),
        ("price", {}),
    ],
)
def test_a_refusal_in_a_200_places_nothing(kind: Any, content: Any) -> None:
    with pytest.raises(Unreadable):
        triggers.made(kind, json.dumps(content).encode())


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("price", {"id": 6, "status": "finished", "finish_as": "cancelled"}),
        ("price", {"id": 5, "status": "open"}),
        ("price", {"id": 5, "status": "finished", "finish_as": "succeeded"}),
        ("trail", {}),
        ("trail", {"code": 3}),
        ("trail", {"order": {"id": 6, "status": "finished"}}),
        ("trail", {"order": {"id": 5, "status": "open"}}),
    ],
)
def test_only_its_own_end_takes_a_protection_back(kind: Any, content: Any) -> None:
    with pytest.raises(Unreadable):
        triggers.taken_back(kind, "5", json.dumps(content).encode(), NOW)


@pytest.mark.parametrize(
    "name", ["", "5", "price/", "price/x", "stop/5", "price/5+trail", "price/５"]
)
def test_a_name_that_is_not_one_of_ours_is_refused(name: str) -> None:
    with pytest.raises(triggers.Unsupported, match="names no protection"):
        triggers.split(name)


# ------------------------------------------------------------------ equity


def account(**changed: Any) -> holdings.FuturesAccount:
    facts = {"total": "100", "unrealised_pnl": "7", "available": "60", "currency": "USDT"}
    return holdings.futures_account(json.dumps(facts | changed).encode())


def test_equity_in_all_currencies_is_in_dollars_and_in_one_in_its_own() -> None:
    body = json.dumps(
        {
            "unified_account_total_equity": "5000",
            "total_available_margin": "3000",
            "balances": {"USDT": {"equity": "900", "available_margin": "800"}},
        }
    ).encode()
    for margin_mode in (1, 2):
        seen = holdings.unified_equity(body, account(margin_mode=margin_mode), NOW)
        assert (seen.equity, seen.available, seen.currency) == (5000, 3000, "USD")
    seen = holdings.unified_equity(body, account(margin_mode=3), NOW)
    assert (seen.equity, seen.available, seen.currency, seen.unrealised) == (900, 800, "USDT", 7)


@pytest.mark.parametrize("body", [b"{}", b'{"balances":{"BTC":{"equity":"1","available":"1"}}}'])
def test_a_unified_account_without_equity_has_none(body: bytes) -> None:
    for margin_mode in (1, 2, 3):
        with pytest.raises(Unreadable, match="without equity"):
            holdings.unified_equity(body, account(margin_mode=margin_mode), NOW)


def test_an_evolved_account_is_worth_its_cross_margin_balance() -> None:
    seen = account(enable_evolved_classic=True, cross_margin_balance="120", cross_available="50")
    assert (holdings.equity(seen, NOW).equity, holdings.equity(seen, NOW).available) == (120, 50)
    with pytest.raises(Unreadable, match="cross_margin_balance"):
        holdings.equity(account(enable_evolved_classic=True), NOW)


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "dual_long", "size": "-1"}, {"mode": "dual_short", "size": "1"}, {"mode": "x"}],
)
def test_a_side_that_contradicts_its_size_is_not_believed(wrong: dict[str, str]) -> None:
    one = {"contract": "B", "size": "1"} | wrong
    with pytest.raises(Unreadable):
        holdings.positions(json.dumps([one]).encode(), hedge=True)
