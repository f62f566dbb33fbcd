"""Taking out of text what nobody outside may read: secrets by their shape, by their name, by their value.

By shape and by name alone for what a person is shown (`masked`). For what leaves the house (`Masker`)
also by value: whoever collects evidence on a host can read its secrets' files, so each known secret is
looked for in everything that is written, in the spellings in which it could have got there. That is the
last fence; the first is that nothing of ours writes a secret anywhere.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote

MASK = "[masked]"
MAIL = "[e-mail]"
SHORTEST_VALUE = 6
"""A shorter value would be found everywhere, and is no secret worth the name."""

_NAMES = (
    "password|passwd|secret|token|api_?key|authorization|private_?key|pin|sign|cookie|passphrase"
)
_SHAPES = (
    # A PEM block with a private key, whole or cut.
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S), MASK),
    # Our own: hooks' secrets (Standard Webhooks), service keys, sessions, invitations.
    (re.compile(r"\bwhs(ec|k)_[A-Za-z0-9+/=_-]{8,}"), MASK),
    (re.compile(r"\bpc[khsi]_[A-Za-z0-9_.-]{8,}"), MASK),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}"), rf"\1 {MASK}"),
    # user:password@ in an address.
    (re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^/\s:@\"']*:[^/\s@\"']+@"), rf"\g<scheme>{MASK}@"),
    # name=value, name: value and "name": "value", where the name gives it away.
    (
        re.compile(
            rf"(?i)(?P<name>[\"']?\b(?:[a-z0-9]+[_-])*(?:{_NAMES})[\"']?\s*[=:]\s*)"
            rf"(?P<quote>[\"'])(?!\[masked\])[^\"']{{4,}}(?P=quote)"
        ),
        rf"\g<name>\g<quote>{MASK}\g<quote>",
    ),
    (
        re.compile(
            rf"(?i)(?P<name>\b(?:[a-z0-9]+[_-])*(?:{_NAMES})=)(?![\"'\[])[^\s&;,\"'()<>]{{4,}}"
        ),
        rf"\g<name>{MASK}",
    ),
)  # fmt: skip
_MAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")


def masked(text: str) -> str:
    """Without what has the shape or the name of a secret."""
    for pattern, instead in _SHAPES:
        text = pattern.sub(instead, text)
    return text


class Masker:
    """Masks by shape, name and value, and people's addresses; counts what it took out by value.

    `values` are secrets that are known. It shows none of them.
    """

    def __init__(self, values: Iterable[bytes] = ()) -> None:
        spelled = {one for value in values for one in spellings(value)}
        ordered = sorted(spelled, key=len, reverse=True)  # the longest wins where one holds another
        self._values = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        self.known = len(ordered)
        self.found = 0

    def __repr__(self) -> str:
        return f"<Masker, {self.known} spellings known, {self.found} found>"

    def text(self, text: str) -> str:
        if self._values is not None:
            text, found = self._values.subn(MASK, text)
            self.found += found
        return _MAIL.sub(MAIL, masked(text))


def spellings(value: bytes) -> set[str]:
    """How a secret may stand in a text: itself, hex, base64 in both alphabets, URL-quoted, escaped."""
    value = value.strip()
    if len(value) < SHORTEST_VALUE:
        return set()
    plain = value.decode(errors="replace")
    encoded = {base64.b64encode(value).decode(), base64.urlsafe_b64encode(value).decode()}
    found = {plain, value.hex(), value.hex().upper(), quote(plain, safe=""), *encoded}
    found |= {one.rstrip("=") for one in encoded} | {plain.encode("unicode_escape").decode()}
    return {one for one in found if "\ufffd" not in one and len(one) >= SHORTEST_VALUE}
