"""`portcullis signal preview` and `replay`: what people read, and that numbers go out as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ops.cli.api.dead_letters import show as show_dead_letter
from ops.cli.api.preview import order_text, proposed, read_raw, show_preview
from ops.cli.api.replay import show_replay
from tenancy.errors import Invalid

LEG = {
    "side": "buy", "order_qty": "3", "ord_type": "limit", "price": "50000", "reduce_only": False,
    "stop_px": None, "trail_amount": None, "trail_percent": None, "protect": None,
}  # fmt: skip


def entry(name: str, decision: str, reason: str, legs: list[Any]) -> dict[str, Any]:
    return {
        "place": 0, "name": name, "decision": decision, "reason": reason, "words": "3 lots",
        "symbol": "BTC_USDT", "legs": legs,
    }  # fmt: skip


def test_a_preview_reads_like_what_would_happen(capsys: pytest.CaptureFixture[str]) -> None:
    show_preview(
        {
            "quorum": "not_met",
            "brokers": [{"broker": "gateio", "age_ms": 41_500, "fresh": False}],
            "totals": {
                "accounts": 2, "trading": 1, "asked": 1,
                "reasons": [{"reason": "order", "sentence": "An order was planned.", "accounts": 1}],
                "turnover": [
                    {"broker": "gateio", "symbol": "BTC_USDT", "currency": "USDT", "buy_lots": "3",
                     "sell_lots": "0", "buy_notional": "15", "sell_notional": "0"},
                ],
            },
            "entries": [
                entry("Client 1", "order", "order", [LEG]),
                entry("Client 2", "nothing", "no_position", []),
            ],
        }
    )  # fmt: skip
    said = capsys.readouterr().out
    for words in (
        "buy 3 BTC_USDT limit at 50000", "no_position", "1 of 2 accounts trade, about 1 a person is asked",
        "quorum not met", "1  order: An order was planned.", "gateio BTC_USDT: buy 3 lots (15 USDT)",
        "prices of gateio: 41.5 s old: too old to plan by",
    ):  # fmt: skip
        assert words in said


def test_without_any_picture_a_preview_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    totals = {"accounts": 0, "trading": 0, "asked": 0, "reasons": [], "turnover": []}
    show_preview({"quorum": None, "brokers": [], "totals": totals, "entries": []})
    assert "does one run?" in capsys.readouterr().out


def test_a_replay_shows_both_sides_the_sums_and_what_nobody_knows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = {"reason": "order", "symbol": "BTC_USDT", "orders": [LEG]}
    after = {"reason": "position_exists", "symbol": "BTC_USDT", "orders": []}
    show_replay(
        {
            "replayed": 1, "same": 4, "different": 1, "unknown": 1, "not_listed": 7,
            "not_known": ["Bid and ask."],
            "lots": [{"broker": "gateio", "symbol": "BTC_USDT", "buy_before": "3", "buy_after": "0",
                      "sell_before": "0", "sell_after": "0"}],
            "signals": [
                {"signal_id": "s", "ticker": "BTC", "differences": [
                    {"account_id": "a", "kind": "different", "before": before, "after": after},
                    {"account_id": "b", "kind": "unknown", "before": None, "after": before},
                ]},
            ],
        }
    )  # fmt: skip
    said = capsys.readouterr().out
    for words in ("buy 3 BTC_USDT limit at 50000", "position_exists", "not in the plan", "7 more",
                  "4 decisions the same, 1 different, 1 unknown", "bought 3, would have 0",
                  "Bid and ask."):  # fmt: skip
        assert words in said


def test_a_signals_numbers_leave_as_they_were_written(tmp_path: Path) -> None:
    """A float on the way would make 0.1000000000000000055 of it, or drop a digit."""
    text = '{"ticker": "X", "action": "buy", "quantity": 0.12345678901234567890123}'
    path = tmp_path / "signal.json"
    path.write_text(text)
    assert msgspec.json.encode({"signal": read_raw(path)}) == b'{"signal":' + text.encode() + b"}"
    path.write_text('{"settings": {"default_quantity": "1"}, "sequence": "fixed"}')
    assert msgspec.json.encode(proposed(path)) == (
        b'{"settings":{"default_quantity": "1"},"sequence":"fixed"}'
    )
    assert proposed(None) == {}


@pytest.mark.parametrize("text", ["[1]", "{", "\xff"])
def test_what_is_no_json_object_is_refused_with_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "signal.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(Invalid, match=r"signal\.json"):
        read_raw(path)
    with pytest.raises(Invalid, match=r"nowhere\.json"):
        read_raw(tmp_path / "nowhere.json")


def test_an_order_says_its_stop_and_what_will_stand_behind_it():
    kept = {"stop_loss": {"percent": "2"}, "take_profit": {"limit_price": "61000"}}
    leg = {**LEG, "ord_type": "stop_limit", "stop_px": "49000", "protect": kept}
    assert order_text(leg, "BTC_USDT") == (
        "buy 3 BTC_USDT stop_limit at 50000 stop 49000, stop loss percent 2, take profit limit price 61000"
    )


def test_a_dead_letters_preview_says_who_takes_part_and_how_to_send_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = {
        "preview": "0199", "expires_at": "2026-11-22T03:00:00Z", "account_ids": ["a"],
        "left_out": [{"account_id": "b", "why_not": "it was replayed as signal s"}],
        "would": {
            "entries": [
                {**entry("Client 1", "order", "order", [LEG]), "account_id": "a"},
                {**entry("Client 2", "nothing", "no_position", []), "account_id": "c"},
            ]
        },
    }  # fmt: skip
    show_dead_letter("S", seen)
    said = capsys.readouterr().out
    assert "Client 1" in said
    assert "Client 2" not in said
    assert "not b: it was replayed as signal s" in said
    assert "portcullis deadletter replay S --preview 0199" in said
    show_dead_letter("S", {**seen, "preview": None, "account_ids": []})
    assert "Nothing would be sent." in capsys.readouterr().out
