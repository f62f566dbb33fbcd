"""How long an order lives, as its broker has it: what is sent for what was asked, or a refusal. Pure.

Each broker says for each of its order types what it sends for which time in force
(`Caps.times_in_force`). Where that is another one, the fall-back is stated: in docs/brokers.md,
and at each order in words. What a broker does not name is refused, never sent as something near it.

An order that waits in the gateway's own stop engine is sent as a market or limit order when its
price is reached: then those rows hold.

`extendedHours` is the same question: stocks only, and only where the broker takes such orders.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fanout.order import OrdType, TimeInForce
from fanout.ports import Caps, InstrumentKind
from fanout.reasons import Reason

TRIGGERED: Final[dict[OrdType, OrdType]] = {
    "stop": "market",
    "stop_limit": "limit",
    "trailing_stop": "market",
}
"""What the stop engine sends for a broker that has no such order."""

MEANS: Final[dict[TimeInForce, str]] = {
    "day": "it ends with the trading day",
    "gtc": "it rests until it is filled or cancelled",
    "opg": "it trades in the opening auction only",
    "cls": "it trades in the closing auction only",
    "ioc": "what does not fill at once is cancelled",
    "fok": "it fills whole at once, or not at all",
}


class SentAs(msgspec.Struct, frozen=True):
    """What leaves. `words`: why it is not what was asked; empty where it is."""

    time_in_force: TimeInForce
    words: str = ""


def sent_as(caps: Caps, ord_type: OrdType, asked: TimeInForce) -> SentAs | Reason:
    """What the broker gets for `asked`, or TIME_IN_FORCE_UNSUPPORTED.

    Asking again with what came out gives the same: who maps twice maps once.
    """
    rows = caps.times_in_force.get(ord_type)
    if rows is None and ord_type in TRIGGERED:
        rows = caps.times_in_force.get(TRIGGERED[ord_type])
    sent = None if rows is None else rows.get(asked)
    if sent is None:
        return Reason.TIME_IN_FORCE_UNSUPPORTED
    if sent == asked:
        return SentAs(sent)
    return SentAs(sent, f"time in force {asked} is sent as {sent}: {MEANS[sent]}")


def extended_hours_refusal(
    asked: bool | None, kind: InstrumentKind, caps: Caps, *, closes: bool
) -> Reason | None:
    """EXTENDED_HOURS_UNSUPPORTED where `extendedHours` is asked for and cannot be had.

    `closes`: a pure exit goes all the same, in the hours that there are.
    """
    if not asked or closes or (kind == "stock" and caps.extended_hours):
        return None
    return Reason.EXTENDED_HOURS_UNSUPPORTED
