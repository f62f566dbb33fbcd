"""Gate.io's WebSocket channels: what we say, and what a message hints at. No I/O, no clock.

A message is a reason to ask and nothing more: prices, sizes and states in it are not even read. What cannot
be read is a gap, because it could have been anything.

Sign: hex(HMAC_SHA512(secret, "channel=%s&event=%s&time=%d")).
Source: https://www.gate.com/docs/developers/futures/ws and …/apiv4/ws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from fanout.abilities import Hint, HintKind
from tenancy.errors import UNREADABLE
from tenancy.values import AccountID

SCHEME = "gateio_ws"
SUBSCRIBE = "subscribe"
OURS = "t-"

Kinds = Mapping[str, HintKind]
"""By channel."""


class Auth(NamedTuple):
    """Who subscribes, signed by the HSM for one channel at one second."""

    key: str
    sign: str
    time_s: int


class Confirmed(NamedTuple):
    """Gate's answer to a subscription; `refusal` is empty where it took it."""

    channel: str
    refusal: str


class _Message(msgspec.Struct):
    channel: str = ""
    event: str = ""
    error: Any = None
    result: msgspec.Raw = msgspec.Raw()


class _About(msgspec.Struct):
    contract: str | None = None
    currency_pair: str | None = None
    text: str = ""


_encode = msgspec.json.Encoder().encode
_message = msgspec.json.Decoder(_Message)
_abouts = msgspec.json.Decoder(list[_About])


def subscribe(channel: str, payload: Sequence[str], auth: Auth) -> bytes:
    return _encode(
        {
            "time": auth.time_s,
            "channel": channel,
            "event": SUBSCRIBE,
            "payload": payload,
            "auth": {"method": "api_key", "KEY": auth.key, "SIGN": auth.sign},
        }
    )


def ping(channel: str, time_s: int) -> bytes:
    """Gate answers with a pong: a sign of life when nothing happens."""
    return _encode({"time": time_s, "channel": channel})


def confirmed(text: str | bytes) -> Confirmed | None:
    """What a message says of a subscription; None where it is about something else."""
    try:
        seen = _message.decode(text)
    except UNREADABLE:
        return None
    if seen.event != SUBSCRIBE:
        return None
    return Confirmed(seen.channel, "" if seen.error is None else str(seen.error))


def hints(text: str | bytes, account_id: AccountID, kinds: Kinds) -> list[Hint]:
    """What a message gives reason to ask about; nothing for pongs and the like."""
    gap = Hint(kind="gap", account_id=account_id)
    try:
        seen = _message.decode(text)
        kind = kinds.get(seen.channel)
        if kind is None or seen.event == SUBSCRIBE:
            return []
        if seen.event != "update" or seen.error is not None:
            return [gap]
        about = _abouts.decode(seen.result)
    except UNREADABLE:
        return [gap]
    return [_hint(kind, account_id, one) for one in about]


def _hint(kind: HintKind, account_id: AccountID, about: _About) -> Hint:
    ours = kind in ("order", "fill") and about.text.startswith(OURS)
    return Hint(
        kind=kind,
        account_id=account_id,
        cl_ord_id=about.text.removeprefix(OURS) if ours else None,
        symbol=about.contract or about.currency_pair,
    )
