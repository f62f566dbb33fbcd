"""docs/signals.md is true: its examples are read, its refusals are said so, its table has each field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fanout.signal import InvalidSignal, Signal, decode

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "signals.md").read_text()
EXAMPLES = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
REFUSED = re.findall(r"^\| `(\{.*?\})` \| `(.*?)` \| (.*?) \|$", PAGE, re.MULTILINE)
FILLED = {
    "{{ticker}}": "BTCUSDT",
    "{{strategy.order.action}}": "sell",
    "{{strategy.order.contracts}}": "1.5",
    "{{close}}": "71000.5",
    "{{timenow}}": "2026-11-20T12:00:00Z",
}
"""What TradingView puts for each placeholder."""


def filled(example: str) -> bytes:
    for placeholder, value in FILLED.items():
        example = example.replace(placeholder, value)
    assert "{{" not in example, "a placeholder that this test does not know"
    return example.encode()


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_a_signal(example: str):
    assert decode(filled(example)).ticker


def test_each_action_has_an_example():
    actions = {decode(filled(example)).action for example in EXAMPLES}
    assert actions == {"buy", "sell", "exit", "add", "cancel", "reverse", "target"}


@pytest.mark.parametrize(("sent", "field", "detail"), REFUSED)
def test_each_refusal_is_said_so(sent: str, field: str, detail: str):
    with pytest.raises(InvalidSignal) as caught:
        decode(sent.encode())
    assert caught.value.field == field
    assert detail in str(caught.value)


def test_the_table_has_each_field_and_no_other():
    table = PAGE.split("## Fields")[1].split("## Actions")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    shown = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(shown) == sorted(set(Signal.__struct_encode_fields__) - {"delayedUntil"})


def test_tradingviews_page_shows_a_signal():
    page = (DOCS / "senders" / "tradingview.md").read_text()
    examples = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert [decode(filled(example)).action for example in examples] == ["sell"] * len(examples)
    assert examples


def test_there_is_something_on_the_page():
    assert len(EXAMPLES) > 10
    assert len(REFUSED) > 8
