"""Gate.io's record of an account's fills: every page, whose order it was, and no hole that is passed over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tenancy.errors import Unavailable
from tests.fakes.scripted_http import HANG, Seen, reply
from tests.unit.brokers.scripted_gate import ACCOUNT, at_gate

UNTIL = datetime(2026, 3, 3, tzinfo=UTC)
SINCE = UNTIL - timedelta(days=1)


def gate_trade(number: int, **changed: Any) -> dict[str, Any]:
    said = {
        "trade_id": str(number), "create_time": SINCE.timestamp() + number, "contract": "BTC_USDT",
        "order_id": "77", "size": -3, "close_size": 0, "price": "50000.5", "role": "taker",
        "text": "t-abc.1", "fee": "0.1", "point_fee": "0",
    }  # fmt: skip
    return said | changed


async def fills(answers: Any) -> tuple[list[Any], list[dict[str, list[str]]]]:
    asked: list[dict[str, list[str]]] = []

    def script(seen: Seen) -> bytes:
        parts = urlsplit(seen.target)
        assert parts.path.endswith("/futures/usdt/my_trades_timerange")
        asked.append(parse_qs(parts.query))
        return answers(int(asked[-1]["offset"][0]))

    async with at_gate(script) as (broker, _):
        return list(await broker.fills(ACCOUNT, since=SINCE, until=UNTIL)), asked


async def test_a_trade_is_told_in_lots_with_its_side_and_the_order_that_it_was_of():
    (fill,), asked = await fills(lambda offset: reply(200, [gate_trade(1)]))
    assert (fill.side, fill.qty, fill.price) == ("sell", Decimal(3), Decimal("50000.5"))
    assert (fill.cl_ord_id, fill.broker_order_id, fill.symbol) == ("abc.1", "77", "BTC_USDT")
    assert fill.at == SINCE + timedelta(seconds=1)
    assert asked[0]["from"] == [str(int(SINCE.timestamp()))]
    assert asked[0]["to"] == [str(int(UNTIL.timestamp()))]


@pytest.mark.parametrize("text", ["", "web", "api", "liquidation", "ao-1"])
async def test_what_somebody_else_ordered_is_nobodys_order_of_ours(text: str):
    (fill,), _ = await fills(lambda offset: reply(200, [gate_trade(1, text=text)]))
    assert fill.cl_ord_id is None


async def test_pages_are_read_until_one_is_not_full_and_a_trade_on_two_of_them_counts_once():
    rows = [gate_trade(n) for n in range(150)]
    told, asked = await fills(lambda offset: reply(200, rows[max(0, offset - 1) :][:100]))
    assert [one["offset"] for one in asked] == [["0"], ["100"]]
    assert len({fill.trade_id for fill in told}) == len(told) == 150


async def test_a_trade_at_the_end_of_the_time_belongs_to_the_time_after():
    late = gate_trade(1, create_time=UNTIL.timestamp())
    assert (await fills(lambda offset: reply(200, [late])))[0] == []


@pytest.mark.parametrize(
    "answer",
    [
        HANG,
        reply(500, {"label": "SERVER_ERROR"}),
        reply(200, {"not": "a list"}),
        reply(200, [gate_trade(1, size=0)]),
        reply(200, [gate_trade(1, price="NaN")]),
    ],
)
async def test_a_statement_that_cannot_be_read_whole_is_none(answer: Any):
    with pytest.raises(Unavailable):
        await fills(lambda offset: answer)
