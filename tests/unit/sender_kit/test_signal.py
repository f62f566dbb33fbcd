"""A signal as the kit says it is the signal as the gateway reads it."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout import signal as ours
from gateway.sender_kit.portcullis_sender import Signal, StopLoss, TakeProfit
from gateway.sender_kit.portcullis_sender import signal as kit
from gateway.sender_kit.portcullis_sender.signal import _EXACT, _camel, exact


@pytest.mark.parametrize(
    ("theirs", "read"),
    [(Signal, ours.Signal), (TakeProfit, ours.TakeProfit), (StopLoss, ours.StopLoss)],
)
def test_the_kit_has_every_field_of_the_language_and_no_other(theirs: Any, read: Any) -> None:
    """`price` is another name of signalPrice; `delayedUntil` is the gateway's own, and no field."""
    has = {_camel(field.name) for field in dataclasses.fields(theirs)}
    assert has == {field.encode_name for field in msgspec.structs.fields(read)} - {
        "price",
        "delayedUntil",
    }


def test_every_decimal_of_the_language_is_exact_in_the_kit() -> None:
    decimals = {
        field.name
        for struct in (ours.Signal, ours.TakeProfit, ours.StopLoss)
        for field in msgspec.structs.fields(struct)
        if field.type == Decimal | None and field.name != "price"
    }
    assert decimals == set(_EXACT)


@pytest.mark.parametrize("name", ["Signal", "TakeProfit", "StopLoss"])
def test_the_words_of_each_field_are_the_languages(name: str) -> None:
    theirs, read = get_type_hints(getattr(kit, name)), get_type_hints(getattr(ours, name))
    for field, hint in theirs.items():
        assert words(hint) == words(read[field]), field


def words(hint: Any) -> set[str]:
    """What a Literal allows, wherever it stands in a type."""
    if get_origin(hint) is Literal:
        return set(get_args(hint))
    return {word for part in get_args(hint) for word in words(part)}


def test_whole_signals_arrive() -> None:
    made = Signal(
        ticker="BTC_USDT", action="buy", quantity=Decimal("0.10"), order_type="limit",
        limit_price="60000.5", signal_price=60001, time=datetime(2026, 11, 20, tzinfo=UTC),
        take_profit=TakeProfit(percent="5"), stop_loss=StopLoss(amount="1E+2"),
        expiration=date(2026, 12, 18), delay=timedelta(minutes=5), cancel_after=60,
        expires_at=1_800_000_000, target_position_type="contracts", extras={"note": "½"},
    )  # fmt: skip
    read = ours.decode(made.body())
    assert read.quantity is not None
    assert read.quantity.as_tuple() == Decimal("0.10").as_tuple()
    assert (read.limit_price, read.signal_price) == (Decimal("60000.5"), Decimal(60001))
    assert read.time == datetime(2026, 11, 20, tzinfo=UTC)
    assert read.take_profit == ours.TakeProfit(percent=Decimal(5))
    assert read.stop_loss == ours.StopLoss(amount=Decimal(100))
    assert (read.expiration, read.delay, read.cancel_after) == (
        "2026-12-18", timedelta(minutes=5), 60,
    )  # fmt: skip
    assert read.extras == {"note": "½"}


@given(st.decimals(min_value=Decimal("0.00000001"), max_value=Decimal(10) ** 12, places=8))
def test_every_digit_arrives(number: Decimal) -> None:
    assert ours.decode(Signal(ticker="X", action="buy", quantity=number).body()).quantity == number


@pytest.mark.parametrize("number", [0.1, 1.0, True, None, [1]])
def test_what_is_not_exact_is_a_type_error(number: Any) -> None:
    with pytest.raises(TypeError):
        exact(number, "quantity")


@pytest.mark.parametrize("text", ["1_000", " 1", "1 ", "٣", "NaN", "inf", "", "1.", ".5", "0x1"])
def test_what_is_no_number_is_refused_before_it_is_sent(text: str) -> None:
    with pytest.raises(ValueError, match="decimal number"):
        exact(text, "quantity")


def test_a_number_that_is_none_and_a_time_without_a_zone_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        exact(Decimal("NaN"), "quantity")
    with pytest.raises(ValueError, match="zone"):
        Signal(ticker="X", action="buy", time=datetime(2026, 1, 1)).body()
    with pytest.raises(ValueError, match="whole seconds"):
        Signal(ticker="X", action="buy", cancel_after=timedelta(seconds=0.5)).body()
    with pytest.raises(TypeError):
        Signal(ticker="X", action="buy", delay=0.5).body()  # type: ignore[arg-type]


FILLED = {
    "ticker": "BTCUSDT", "strategy.order.action": "buy", "strategy.market_position": "long",
    "strategy.order.contracts": "0.125", "strategy.order.price": "60000.5", "close": "60000.5",
    "timenow": "2026-11-20T08:45:00Z", "time": "2026-11-20T08:44:00Z", "interval": "1",
    "strategy.order.comment": "Long", 'plot("target")': "-2",
}  # fmt: skip


def test_the_messages_of_the_pine_page_are_signals() -> None:
    page = Path(__file__).parents[3] / "docs/senders/tradingview-pine.md"
    messages = re.findall(r"```json\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(messages) == 2
    for message in messages:
        filled = re.sub(r"\{\{(.+?)\}\}", lambda it: FILLED[it.group(1)], message)
        read = ours.decode(filled.encode())
        assert read.ticker == "BTCUSDT"
        assert read.time == datetime(2026, 11, 20, 8, 45, tzinfo=UTC)
        assert read.quantity == Decimal("0.125") or read.target_position == -2
