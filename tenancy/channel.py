"""A notification channel: to whom it tells what of a tenant's audit log. Pure."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from tenancy.rules import EACH_ONCE, NULL, Schema, given
from tenancy.values import Name, whole

ChannelKind = Literal["webhook", "email", "slack"]
Severity = Literal["all", "failures", "digest"]
DigestMinutes = Annotated[int, Meta(ge=5, le=1440)]

_ATOM = r"[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]+"
_LABEL = "[0-9A-Za-z]([0-9A-Za-z-]*[0-9A-Za-z])?"
MAILBOX = rf"{_ATOM}(\.{_ATOM})*@{_LABEL}(\.{_LABEL})*"
"""RFC 5321 section 4.1.2 without quoted names and address literals."""
URL = r'https?://[0-9A-Za-z.-]*[0-9A-Za-z](:[1-9][0-9]{0,3})?([/?][!"$-\x5b\x5d-~]*)?'
"""What the document says that a URL looks like; check_url() is the judge."""

Recipient = Annotated[
    str, Meta(max_length=254, extra_json_schema={"format": "email", "pattern": f"^{MAILBOX}$"})
]
EventType = Annotated[str, Meta(pattern=whole(r"[a-z_]+(\.[a-z_]+)?"), max_length=64)]
Url = Annotated[
    str, Meta(max_length=2048, extra_json_schema={"format": "uri", "pattern": f"^{URL}$"})
]
_MAILBOX = re.compile(MAILBOX)
_URL_OF: dict[ChannelKind, str] = {
    "webhook": "a webhook has one",
    "email": "an e-mail has none",
    "slack": "it is the channel's secret: make the channel without it, then PUT …/address",
}
_PRINTABLE = re.compile(r"[\x21-\x7e]+")


class Channel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people set about a channel. `events` empty: everything that is told; see gateway/events.py.

    `url`: where a webhook is sent, https, without user and fragment (plain http is for loopback
    alone, which the sender decides when it knows the address). `recipients`: of an e-mail. A `slack`
    channel's address is its secret and no part of what people read, keep in versions or roll back to.
    `severity` digest: one message for every `digest_minutes`, on the hour where that divides it.
    """

    name: Name
    kind: ChannelKind
    enabled: bool = True
    url: Url | None = None
    recipients: Annotated[
        tuple[Recipient, ...], Meta(max_length=20, extra_json_schema=EACH_ONCE)
    ] = ()
    events: Annotated[tuple[EventType, ...], Meta(max_length=64, extra_json_schema=EACH_ONCE)] = ()
    severity: Severity = "all"
    digest_minutes: DigestMinutes = 60

    rules: ClassVar[Schema] = {
        "oneOf": [
            given("url", kind={"const": "webhook"}, recipients={"maxItems": 0}),
            given("recipients", kind={"const": "email"}, recipients={"minItems": 1}, url=NULL),
            given(kind={"const": "slack"}, recipients={"maxItems": 0}, url=NULL),
        ]
    }

    def __post_init__(self) -> None:
        if (self.kind == "webhook") != (self.url is not None):
            raise ValueError(f"url: {_URL_OF[self.kind]}")
        if (self.kind == "email") != bool(self.recipients):
            raise ValueError("recipients: an e-mail has at least one, no other kind has any")
        if self.url is not None:
            check_url(self.url)
        for mailbox in self.recipients:
            if not _MAILBOX.fullmatch(mailbox):
                raise ValueError(f"recipients: {mailbox!r} is not a mailbox like name@example.com")
        for field in ("recipients", "events"):
            values = getattr(self, field)
            if len(set(values)) != len(values):
                raise ValueError(f"{field}: each at most once")


def check_url(url: str) -> None:
    """Raises ValueError unless it is a plain http(s) address with a host."""
    if not _PRINTABLE.fullmatch(url):
        raise ValueError("url: printable ASCII without spaces is needed")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("url: it cannot be read") from None
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
        raise ValueError("url: https://host/path is needed")
    if parts.username is not None or parts.password is not None:
        raise ValueError("url: no user and no password: the signature says who sends")
    if parts.fragment or "\\" in url:
        raise ValueError("url: no fragment and no backslash")
