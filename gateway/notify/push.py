"""A push message: what its person reads, encrypted so that only their browser can. Pure, but for fresh keys.

Sources: RFC 8030 (TTL, Urgency), RFC 8188 and RFC 8291 (aes128gcm under the browser's key and its secret; a fresh
key pair and salt for each message). No `Topic`: a message that replaces one which was not delivered would drop it
without a word.

A message tells of everything there was since the last one: its id names the first and the last record, its title
is the most urgent record's, and its body says how many others there are. Where no record needs a person, it may
wait; an approval's message ends with the time that is left for it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import http_ece
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.admin.event_feed import Event
from gateway.events import is_failure
from gateway.notify.device import Device
from gateway.notify.outcome import Digest, Message
from gateway.notify.words import cut, headline, line, one_line, place, title

PLAIN_MOST_BYTES = 3_000
"""A push service takes 4,096 bytes of ciphertext at least (RFC 8291, section 4), of which 103 are not text."""
STEP_BYTES = 500
"""The plain text is filled with spaces to a multiple, so that its length tells nothing."""
RECORDS_MOST = 200
"""In one message; the next are in the next."""
TTL_S = {"high": 24 * 3600, "normal": 12 * 3600, "low": 12 * 3600}
_RANK = ("low", "normal", "high")


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What the browser's worker is given (gateway/console/static/worker.js). `url`: a path of the console.

    `records`: how many; `urgent`: it stays on the screen until somebody touches it.
    """

    id: str
    kind: str
    title: str
    body: str
    url: str
    at: str
    language: str
    records: int
    urgent: bool


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """A message for a push service. `ttl_s`: how long it is worth delivering."""

    body: bytes
    urgency: str
    ttl_s: int


def compose(tenant: str, device: Device, messages: Sequence[Message], now: datetime) -> Parcel:
    """The parcel, encrypted to the device."""
    first = max(messages, key=lambda one: _RANK.index(urgency(one)))  # of equals, the earliest
    rank = urgency(first)
    more = _others(messages, first, device)
    amounts = device.may("orders:read")
    body = "\n".join(
        part
        for part in (line(first.said, device.language, amounts=amounts), more, one_line(tenant))
        if part
    )
    note = Note(
        id=name_of(messages),
        kind=first.type,
        title=cut(headline(first.said, device.language), 80),
        body=body,
        url=place(first.said),
        at=first.timestamp,
        language=device.language,
        records=len(messages),
        urgent=rank == "high",
    )
    ttl_s = max(_ttl_s(one, now) for one in messages)
    return Parcel(body=encrypted(plain(note), device), urgency=rank, ttl_s=ttl_s)


def name_of(messages: Sequence[Message]) -> str:
    """The record's own id, or the first's with the number of the last: the same records, the same id."""
    first, last = messages[0], messages[-1]
    return first.id if len(messages) == 1 else f"{first.id}..{last.after - 1}"


def urgency(message: Message) -> str:
    """RFC 8030 section 5.3: high reaches a phone that saves its battery."""
    said = message.said
    if said is None:
        return "high"
    if isinstance(said, Event):
        return "high" if is_failure(said) or said.kind == "approval.asked" else "normal"
    return "low" if isinstance(said, Digest) and not said.failures else "normal"


def _ttl_s(message: Message, now: datetime) -> int:
    """Seconds. A question that nobody can answer any more is not worth a phone's waking."""
    longest = TTL_S[urgency(message)]
    said = message.said
    if isinstance(said, Event) and said.kind == "approval.asked":
        try:
            left = (datetime.fromisoformat(str(said.facts.get("expires_at"))) - now).total_seconds()
        except (ValueError, TypeError):
            return longest
        return int(min(max(left, 60), longest))
    return longest


def _others(messages: Sequence[Message], first: Message, device: Device) -> str:
    others = Counter(
        title(one.said.alert or one.type, device.language)
        if isinstance(one.said, Event)
        else headline(one.said, device.language)
        for one in messages
        if one is not first
    )
    return cut(", ".join(f"+{n} {name}" for name, n in others.most_common()), 200)


def plain(note: Note) -> bytes:
    """As JSON, filled up; where it is too long, the body is cut. PLAIN_MOST_BYTES at most."""
    body = msgspec.json.encode(note)
    while len(body) > PLAIN_MOST_BYTES:
        note = msgspec.structs.replace(note, body=cut(note.body, len(note.body) * 3 // 4))
        body = msgspec.json.encode(note)
    return body.ljust(-(-len(body) // STEP_BYTES) * STEP_BYTES)


def encrypted(text: bytes, device: Device) -> bytes:
    """One aes128gcm body under a fresh pair and salt."""
    return seal(text, device, ec.generate_private_key(ec.SECP256R1()), os.urandom(16))


def seal(text: bytes, device: Device, key: ec.EllipticCurvePrivateKey, salt: bytes) -> bytes:
    """The same, of a given pair and salt."""
    body: bytes = http_ece.encrypt(
        text,
        salt=salt,
        private_key=key,
        dh=device.p256dh,
        auth_secret=device.auth,
        version="aes128gcm",
    )
    return body


def headers(parcel: Parcel, authorization: str) -> dict[str, str]:
    """Of the request to the push service."""
    return {
        "authorization": authorization,
        "content-encoding": "aes128gcm",
        "content-type": "application/octet-stream",
        "ttl": str(parcel.ttl_s),
        "urgency": parcel.urgency,
    }
