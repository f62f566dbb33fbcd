"""How guessing is slowed: after so many failures a pause that doubles, then a lock. Pure.

A guess is counted *before* it is checked, under a row lock, and the count is taken back where the
guess was right: of a hundred guesses that arrive together no more are checked than of a hundred
that come one by one. A guess that is refused here was not checked and is not counted.

    of a person      from the 5th failure on 1, 2, 4, 8, 16 s; from the 10th on 15 min each;
                     a full login forgets them, otherwise a day without a failure does
    of an address    50 failures within 15 min, then nothing until those 15 min are over;
                     a full login takes back its own count, not the others'

Anybody can lock a person out by guessing for them: that is the price of not letting them guess on,
and it is why it says so in the audit log and why sessions that are open stay open.
"""

from __future__ import annotations

import hashlib
import ipaddress
from datetime import datetime, timedelta
from typing import Literal

import msgspec

SLOW_FROM = 5
LOCK_FROM = 10
LOCK = timedelta(minutes=15)
ADDRESS_MOST = 50
ADDRESS_WINDOW = timedelta(minutes=15)
FORGET = timedelta(days=1)


class Count(msgspec.Struct, frozen=True):
    """Failures of one subject. `began_at`: of the address's window."""

    failures: int
    began_at: datetime
    last_at: datetime


class Verdict(msgspec.Struct, frozen=True):
    """May this guess be checked? `until`: when the next may, where not."""

    kind: Literal["allowed", "slowed", "locked"]
    until: datetime | None = None


def person_subject(tenant: str, email: str) -> bytes:
    """Under which name guesses for a person are counted; the same where there is no such person."""
    return hashlib.sha256(b"person\0" + tenant.encode() + b"\0" + email.encode()).digest()


def address_subject(client: str) -> bytes:
    """Under which name guesses from an address are counted: IPv6 by its /64, which one host owns."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return hashlib.sha256(b"address\0" + client.encode()).digest()
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        else:
            address = ipaddress.IPv6Address(int(address) >> 64 << 64)
    return hashlib.sha256(b"address\0" + str(address).encode()).digest()


def judge_person(count: Count, now: datetime) -> Verdict:
    """The next guess for this person."""
    if count.failures < SLOW_FROM or now - count.last_at >= FORGET:
        return Verdict("allowed")
    locked = count.failures >= LOCK_FROM
    pause = LOCK if locked else timedelta(seconds=2 ** (count.failures - SLOW_FROM))
    until = count.last_at + pause
    if now < until:
        return Verdict("locked" if locked else "slowed", until)
    return Verdict("allowed")


def judge_address(count: Count, now: datetime) -> Verdict:
    """The next guess from this address."""
    until = count.began_at + ADDRESS_WINDOW
    if count.failures >= ADDRESS_MOST and now < until:
        return Verdict("locked", until)
    return Verdict("allowed")


def charged_person(count: Count, now: datetime) -> Count:
    """With one more failure, for now."""
    failures = 0 if now - count.last_at >= FORGET else count.failures
    return Count(failures + 1, count.began_at if failures else now, now)


def charged_address(count: Count, now: datetime) -> Count:
    """With one more failure, for now; a window that is over begins anew."""
    if now >= count.began_at + ADDRESS_WINDOW:
        return Count(1, now, now)
    return Count(count.failures + 1, count.began_at, now)
