"""What the pages of evidence, operators and set-up work out by themselves."""

from __future__ import annotations

import base64
import json
import subprocess
from zoneinfo import ZoneInfo

import pytest

from audit.record import Kind
from fanout.signal import decode
from gateway.admin.heard import REMOVED, heard_of, without_secrets
from gateway.console.evidence import instant
from gateway.console.operators import HSM, QUEUES, by_label, clock_state, shown
from gateway.console.proof_words import PROOF
from gateway.console.reports import WIDTH, drawn
from gateway.console.sender_page import (
    curl_line,
    pine_script,
    signal_of,
    tradingview_message,
    wanted,
)
from gateway.sender_kit.portcullis_sender.signing import HmacKey, signature_headers
from ops.host_state import read_checks, read_figures


def test_the_curl_line_signs_as_the_gateway_verifies(tmp_path):
    """Run by a real shell with openssl; `curl` writes down what it was given."""
    (tmp_path / "curl").write_text('#!/bin/sh\nfor one in "$@"; do printf "%s\\n" "$one"; done\n')
    (tmp_path / "curl").chmod(0o755)
    key = bytes(range(32))
    line = curl_line(
        "https://hooks.example/v1/hooks/x", wanted({"ticker": "O'NEIL", "action": "sell"})
    )
    ran = subprocess.run(
        ["/bin/bash", "-c", line], input=f"whsec_{base64.b64encode(key).decode()}\n".encode(),
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, check=True, timeout=20,
    )  # fmt: skip
    given = ran.stdout.decode().strip().split("\n")
    headers = dict(one.split(": ", 1) for one in given if one.startswith("webhook-"))
    body = given[given.index("-d") + 1]
    at = int(headers["webhook-timestamp"])
    assert headers == signature_headers([HmacKey(key)], headers["webhook-id"], at, body.encode())
    assert decode(body.encode()).ticker == "O'NEIL"
    assert "whsec_" not in body


@pytest.mark.parametrize("action", ["buy", "sell", "exit", "cancel", "add", "reverse"])
def test_what_the_sender_page_builds_is_a_signal(action):
    asked = wanted({"action": action, "quantity": "2.5", "quantity_type": "percent_of_equity"})
    made = decode(json.dumps(signal_of(asked)).encode())
    assert made.action == action
    assert ("2.5" in json.dumps(signal_of(asked))) == (action not in ("exit", "cancel"))


def test_the_tradingview_message_is_json_with_every_placeholder_in_quotes():
    filled = tradingview_message(wanted({"quantity": ""}))
    for name, value in (("ticker", "BTC_USDT"), ("strategy.order.action", "buy"), ("timenow", "1790000000"),
                        ("strategy.market_position", "long"), ("strategy.order.contracts", "3"),
                        ("strategy.order.price", "60000")):  # fmt: skip
        filled = filled.replace(f"{{{{{name}}}}}", value)
    assert str(decode(filled.encode()).quantity) == "3"


def test_pine_script_closes_its_strings_whatever_was_typed():
    script = pine_script(wanted({"action": "buy", "quantity": "1' + evil + '\"\\"}))
    assert "evil" in script
    assert script.count("'") % 2 == 0
    assert "+ evil +" in script.split('"quantity":"')[1].split('"')[0]


def test_a_brokers_answer_loses_its_secrets_and_nothing_else():
    said = {
        "broker": '{"id": 1, "signal": "x", "auth": {"api_key": "k", "sign": "s"}, "list": [{"token": 1}]}'
    }
    shown_text = heard_of(Kind.ORDER_ACKNOWLEDGED, said)
    assert shown_text is not None
    assert json.loads(shown_text) == {
        "id": 1, "signal": "x", "auth": {"api_key": REMOVED, "sign": REMOVED}, "list": [{"token": REMOVED}],
    }  # fmt: skip
    assert heard_of(Kind.ORDER_SENT, {"broker": "gateio"}) is None
    assert without_secrets("no json") == "no json"


def test_a_time_is_read_in_the_readers_zone():
    assert instant("2026-11-22T09:00", ZoneInfo("Asia/Taipei")) == "2026-11-22T09:00:00+08:00"
    assert instant("2026-11-22", ZoneInfo("UTC")) == "2026-11-22T00:00:00+00:00"
    assert instant("yesterday", ZoneInfo("UTC")) == "yesterday"


def test_figures_are_those_that_a_process_means():
    page = (
        "# TYPE portcullis_lanes_busy gauge\nportcullis_lanes_busy 3.0\n"
        "# TYPE portcullis_clock_error_bound_seconds gauge\nportcullis_clock_error_bound_seconds +Inf\n"
    )
    assert [one.value for one in read_figures("worker-0", page)] == [3.0]
    assert read_figures("recorder-0", page) == [], "it exports them and means nothing by it"
    assert read_figures("clock-0", page) == [], "no bound is no number"


def test_both_forms_of_readiness_are_read():
    beside = read_checks(b'{"ready":false,"checks":{"a":"ok","b":"gone"},"details":{"a":"well"}}')
    assert [(one.name, one.ok, one.detail) for one in beside] == [
        ("a", True, "well"),
        ("b", False, "gone"),
    ]
    admin = read_checks(b'{"ok":true,"checks":[{"name":"a","ok":true,"detail":"well"}]}')
    assert [(one.name, one.ok, one.detail) for one in admin] == [("a", True, "well")]


def test_what_nobody_told_is_not_shown_as_nought():
    def figure(metric, value, **labels):
        return {"metric": metric, "value": value, "labels": labels, "process": "worker-0"}

    told = [
        figure("portcullis_orders_in_doubt", 1.0), figure("portcullis_orders_in_doubt", 2.0),
        figure("portcullis_doubt_oldest_seconds", 5.0), figure("portcullis_doubt_oldest_seconds", 61.0),
    ]  # fmt: skip
    rows = {one.label: one for one in shown(told, QUEUES)}
    assert rows["Orders in doubt"].value == 3.0
    assert rows["Orders in doubt"].bad
    assert rows["Oldest doubt"].value == 61.0
    assert rows["Signals that wait to be kept"].value is None
    assert rows["Orders that wait for their broker"].value == 0.0, "told only where one waits"
    assert {one.value for one in shown([], QUEUES)} == {None}
    daemons = by_label([figure("portcullis_hsm_up", 1.0, daemon="signer")], "daemon", HSM)
    assert daemons["signer"][0].value == 1.0
    assert clock_state([figure("portcullis_clock_state", 1.0, state="degraded")]) == "degraded"
    assert clock_state([]) is None


def test_intervals_share_one_scale_that_holds_zero():
    one, none, other = drawn([
        {"mean": 5.0, "low": 0.0, "high": 10.0}, {"mean": None, "low": None, "high": None},
        {"mean": -10.0, "low": None, "high": None},
    ])  # fmt: skip
    assert none is None
    assert one is not None and other is not None  # noqa: PT018 - for the type checker
    assert (one.zero, one.at, one.high) == (WIDTH / 2, WIDTH * 0.75, WIDTH)
    assert (other.low, other.at, other.high) == (0.0, 0.0, 0.0)


def test_every_kind_of_record_has_a_word():
    assert set(PROOF["kind"]) == {kind.value for kind in Kind}
