"""How a session ended, and when the next may begin. Pure.

A login is never hammered: each is counted (1,000 a day at SinoPac), a ban lasts longer the less it is
obeyed, and a key or a certificate that was refused is not tried again until it is another one.
"""

from __future__ import annotations

from typing import Literal

from fanout.brokers.shioaji.errors import BAN_MARGIN_S, BAN_S

PLANNED, BUSY, BANNED, TOKEN, REFUSED = 0, 73, 75, 76, 78
"""Exit status: the daily restart or a stop; another session runs; banned; the token ended; what was
enrolled is refused (sysexits.h EX_CONFIG)."""

FIRST_S, MOST_S, SETTLED_S = 1.0, 60.0, 60.0
TOKEN_S = 2.0

Next = float | Literal["another_key"]


def pause(status: int, lived_s: float, failures: int) -> Next:
    """Seconds until the next login, or: only with another key. `failures`: in a row, this one included."""
    if status == REFUSED:
        return "another_key"
    if status == BANNED:
        return BAN_S + BAN_MARGIN_S
    if status == PLANNED:
        return 0.0
    if status == TOKEN and lived_s > SETTLED_S:
        return TOKEN_S
    return min(MOST_S, FIRST_S * 2.0 ** min(failures - 1, 10))
