"""TradingView as a sender: a token in the address, known sources, and repeats told by their body. Pure.

TradingView cannot set headers or sign. So the address holds a token of 256 bits, of which only the
SHA-256 is kept; it is compared in constant time, with the same work for a hook that does not exist.
Whoever has the token still has to come from one of the hook's sources.

An alert has no id. The same body within `repeat_window_s` is the same alert: TradingView sends one
again after 5 s, up to three times, where it got a 5xx. The id that we make is the body's hash and the
number of the window; a repeat across the border of two windows is found by the id of the one before.

Source: tradingview.com, "How to configure webhook alerts"; measured facts in spec signal.md.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import msgspec

from gateway.hooks.verify import Refusal, Secret

SOURCES = ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")
"""TradingView's own, as it publishes them."""
REPEAT_WINDOW_S = 30
_TOKEN = re.compile(r"[0-9A-Za-z_-]{43}")
_NOBODYS = bytes(32)
_COMPARED = 2


class Window(msgspec.Struct, frozen=True):
    """In which a body that comes again is the same alert."""

    message_id: str
    before: str
    """What the same body was called in the window before this one."""
    since: datetime


def token_digest(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def authentic(token: str, secrets: Sequence[Secret]) -> bool:
    """Whether one of the hook's live tokens it is. The same work for any token and any hook."""
    digest = token_digest(token if _TOKEN.fullmatch(token) else "")
    kept = [(s.key, True) for s in secrets if s.scheme == "url_token"]
    kept += [(_NOBODYS, False)] * (_COMPARED - len(kept))
    fits = False
    for known, real in kept:
        fits |= hmac.compare_digest(digest, known) & real
    return fits


def networks(sources: Sequence[str] | None) -> tuple[IPv4Network | IPv6Network, ...]:
    """As the hook says, or TradingView's own. Raises ValueError for what is no address or network."""
    return tuple(ip_network(source) for source in sources or SOURCES)


def may_come_from(client: str, allowed: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether an address is one of the hook's sources. What cannot be read is not."""
    try:
        address = ip_address(client)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in allowed)


def window(body_sha256: bytes, at: datetime, length_s: int) -> Window:
    """The ids of this body at this moment, and how far back it counts as the same alert."""
    number = int(at.timestamp()) // length_s
    # With the length: after a change of it, a number may have been another time's before.
    name = f"tv_{body_sha256.hex()[:40]}_{length_s}"
    return Window(
        message_id=f"{name}_{number}",
        before=f"{name}_{number - 1}",
        since=at - timedelta(seconds=length_s),
    )


WRONG_TOKEN = Refusal("bad_signature", "no hook has this address and this token")
