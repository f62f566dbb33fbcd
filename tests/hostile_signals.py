"""Bodies that a sender might post, from valid to malicious, and what must hold of each.

Seeded: the same seed gives the same bodies. Three kinds, so that each layer of the decoder is reached:
whole signals whose members are exchanged for others' values; the bytes of such signals, cut and spliced;
and bytes out of nowhere.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from fanout.signal import MAX_BYTES, InvalidSignal, Signal, decode
from tenancy.values import FINEST_EXPONENT, LARGEST

AT_MOST_S = 0.05
"""For one body of at most 64 KiB; the better of three where the first was slower."""
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

NUMBERS = (
    1, 2.5, "3", "0.1", "+1.5", "15e-1", 71000.5, "123456789012345678.123456789012345678", 0, -1, "-0", "1e18",
    "1e-18", "1e-19", "1e999", "1_000", " 5", "5 ", "٣", "NaN", "Infinity", "", ".", "5.", ".5", "0x10",
    "1,5", True,
    1e400, -1e-400, 10**30, "9" * 41, "{{strategy.order.contracts}}", "1e+5", "--1", "1e", "0e-400",
)  # fmt: skip
TIMES = (
    "2026-11-20T12:00:00Z", "2026-11-20T12:00:00.123456+08:00", 1795176000, "1795176000", 1795176000123,
    1795176000.5,
    "2026-11-20T12:00:00", "2026-W47-5T12Z", "20261120T120000Z", "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+14:00",
    "2026-11-20", "yesterday", 0, -1, 9e30, "2026-11-20T24:00:00Z", "2026-11-20T12:00:00+25:00",
    "２０２６-11-20T12:00:00Z",
)  # fmt: skip
DELAYS = (
    0, 30, "30", "+5 minutes", "+1 hour 30 seconds", 86_400, 86_401, "+24 hours", "+999999 days", "+",
    "+ 5 minutes",
    "5 minutes", "+5 fortnights", "+1 hour  30 seconds", -0.5, "0.000001", "1e-17", *TIMES[:4],
)  # fmt: skip
SWITCHES = (True, False, "true", "false", "True", "yes", 0, 1)
ODD: tuple[Any, ...] = (
    None, {}, [], [[]], {"": ""}, "", "x", "\u0000", "\ud800", "😀", "x" * 300, "x - at `$.action`", "`",
    "'", '"', "\n",
    {"percent": 1}, -(2**63), 2**64, 1e308, "null", "$", "__proto__", "a: b", "ticker: x",
)  # fmt: skip
POOL: dict[str, tuple[Any, ...]] = {
    "ticker": ("BTC_USDT", "TSLA", "SQ 240510C68", "x" * 50, "x" * 51, " T", "A\nB", "台積電"),
    "action": ("buy", "sell", "exit", "add", "cancel", "reverse", "target", "BUY", "by"),
    "sentiment": ("bullish", "long", "bearish", "short", "flat", "up"),
    "quantityType": (
        "fixed_quantity", "dollar_amount", "risk_dollar_amount", "risk_percent", "percent_of_equity",
        "percent_of_position", "percent",
    ),
    "orderType": ("market", "limit", "stop", "stop_limit", "trailing_stop", "twap"),
    "timeInForce": ("day", "gtc", "opg", "cls", "ioc", "fok", "gtd"),
    "takeProfit": ({"percent": 5}, {"limitPrice": "80000"}, {"amount": 1, "percent": 1}, {"amount": -1},
    {}, {"prcent": 1}),
    "stopLoss": (
        {"percent": 5}, {"type": "stop_limit", "stopPrice": 1, "limitPrice": "2"},
        {"type": "trailing_stop", "trailPercent": 1},
        {"percent": 1, "breakevenAmount": 2}, {"type": "x", "percent": 1}, {"type": "stop_limit",
        "amount": 1}, {"percent": "1_0"},
    ),
    "optionType": ("both", "call", "put", "any"),
    "intrinsicValue": ("itm", "otm", "atm"),
    "expiration": ("2026-12-18", "+6 months", "+1 week", "soon", "2026-02-30", "+0 days", 20261218),
    "targetPositionType": ("contracts", "percent_of_equity", "lots"),
    "extras": ({}, {"a": [1, {"b": None}]}, {"n": 1.5, "": {"": []}}, [], "x"),
    "delay": DELAYS,
    "unknwon": (1,), "quantitty": (1,), "delayedUntil": TIMES[:1], "__class__": ("x",),
    **dict.fromkeys(("time", "expiresAt"), TIMES),
    **dict.fromkeys(("extendedHours", "ignoreTradingWindows", "cancel"), SWITCHES),
    **dict.fromkeys(
        (
            "signalPrice", "price", "limitPrice", "stopPrice", "quantity", "trailAmount",
            "trailPercent", "strikePrice",
            "strikeCount", "strikesAway", "cancelAfter", "bidAskSpreadFilter", "bidAskSpreadFilterPercent",
            "expectedPosition", "targetPosition",
        ),
        NUMBERS,
    ),
}  # fmt: skip
NAMES = tuple(POOL)
SPLICES = (
    b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u0000", b"\\ud83d", b"\x00", b"\xff",
    b"\xc0\x80", b"\xed\xa0\x80",
    b"\xef\xbb\xbf", b"null", b"true", b"NaN", b"-Infinity", b"1e999999999", b"9" * 5000, b"[" * 2000,
    b'{"a":' * 500,
    b'"action":"sell",', b'"quantity":1,', b"/*x*/", b"'", b" " * 100, b"0", b"-", b".", b"E", b"\r\n",
)  # fmt: skip


def bodies(seed: int) -> Iterator[bytes]:
    """Without end."""
    chance = random.Random(seed)
    while True:
        kind = chance.random()
        if kind < 0.05:
            yield chance.randbytes(chance.randrange(200))
            continue
        body = _written(chance, _members(chance, wild=0.0 if kind < 0.2 else 0.15))
        yield _damaged(chance, body) if kind > 0.6 else body


def check(body: bytes) -> Signal | InvalidSignal:
    """Decode it and look at what came of it. Raises AssertionError, or whatever escaped."""
    began = time.perf_counter()
    outcome = _decoded(body)
    if time.perf_counter() - began > AT_MOST_S:
        assert min(_timed(body), _timed(body), _timed(body)) < AT_MOST_S, "costs too much"
    if isinstance(outcome, InvalidSignal):
        said, field = str(outcome), outcome.field
        assert 0 < len(said) <= 400, "an error is one short sentence"
        assert len(field) <= 120
        (said + field).encode()  # it has to travel
    else:
        _sound(outcome, body)
    return outcome


def _decoded(body: bytes) -> Signal | InvalidSignal:
    try:
        return decode(body)
    except InvalidSignal as error:
        return error


def _timed(body: bytes) -> float:
    began = time.perf_counter()
    _decoded(body)
    return time.perf_counter() - began


def _sound(signal: Signal, body: bytes) -> None:
    """What was accepted is within bounds, is what an independent reader finds, and survives being said again."""
    assert len(body) <= MAX_BYTES
    assert 1 <= len(signal.ticker) <= 50
    said = json.loads(body, parse_float=Decimal)
    for wire, value in _wired(signal):
        if isinstance(value, Decimal):
            _exact(value)
            assert Decimal(said[wire]) == value, f"{wire} is not what was said"
        if isinstance(value, datetime):
            assert value.tzinfo is UTC
            assert 2000 <= value.year <= 2100
    for attached in (signal.take_profit, signal.stop_loss):
        for wire, value in _wired(attached) if attached is not None else ():
            if wire != "type":
                _exact(value)
                assert value > 0
    due = signal.due(NOW) if signal.delayed_until is None else None
    assert due is None or NOW < due <= NOW + timedelta(hours=24)
    again = decode(again_said(signal))
    assert again == msgspec.structs.replace(signal, extras=None), "said again, it is another signal"


def _exact(value: Decimal) -> None:
    assert value.is_finite()
    assert value.copy_abs() <= LARGEST
    assert value.as_tuple().exponent >= FINEST_EXPONENT  # type: ignore[operator]


def again_said(signal: Signal) -> bytes:
    """The signal as JSON, without its extras."""
    members: dict[str, Any] = {}
    for wire, value in _wired(signal):
        if wire == "delayedUntil":
            members["delay"] = value
        elif isinstance(value, timedelta):
            members[wire] = str(Decimal(value // timedelta(microseconds=1)) / 1_000_000)
        elif wire != "extras":
            members[wire] = value
    return msgspec.json.encode(members)


def _wired(struct: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    for wire, name in zip(struct.__struct_encode_fields__, struct.__struct_fields__, strict=True):
        value = getattr(struct, name)
        if value is not None:
            yield wire, value


def _members(chance: random.Random, *, wild: float) -> list[tuple[str, Any]]:
    """A list, for a name may come twice."""
    members: list[tuple[str, Any]] = [
        ("ticker", "BTC_USDT"),
        ("action", chance.choice(POOL["action"][:7])),
    ]
    for _ in range(chance.randrange(6)):
        name = chance.choice(NAMES)
        usual = POOL[name][:3] if wild == 0 else POOL[name]
        members.append((name, chance.choice(usual)))
    if wild == 0:
        members = list(dict(members).items())
    for at, (name, value) in enumerate(members):
        if chance.random() < wild:
            draw = chance.random()
            if draw < 0.5:
                members[at] = (name, chance.choice(ODD))
            elif draw < 0.7:
                members[at] = (name, chance.choice(POOL[chance.choice(NAMES)]))
            elif draw < 0.85:
                members[at] = (str(chance.choice(ODD)), value)
            else:
                members[at] = (name, {name: value, "a": [value]})
    return members


def _written(chance: random.Random, members: list[tuple[str, Any]]) -> bytes:
    ascii_only = chance.random() < 0.7
    text = ",".join(
        f"{json.dumps(name, ensure_ascii=ascii_only)}:{json.dumps(value, ensure_ascii=ascii_only)}"
        for name, value in members
    )
    return f"{{{text}}}".encode("utf-8", "surrogatepass")


def _damaged(chance: random.Random, body: bytes) -> bytes:
    for _ in range(chance.randrange(1, 4)):
        at, to = sorted((chance.randrange(len(body) + 1), chance.randrange(len(body) + 1)))
        draw = chance.random()
        if draw < 0.35:
            body = body[:at] + chance.choice(SPLICES) + body[at:]
        elif draw < 0.55:
            body = body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :]
        elif draw < 0.7:
            body = body[:at] + body[at + chance.randrange(1, 4) :]
        elif draw < 0.85:
            body = body[:to] + body[at:]
        else:
            body = body[:at]
    return body
