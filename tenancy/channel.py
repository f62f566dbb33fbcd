"""A notification channel: to whom it tells what of a tenant's audit log. Pure."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from tenancy.rules import EACH_ONCE, NULL, Schema, given
from tenancy.values import Name, whole

ChannelKind = Literal["webhook", "email"]
Severity = Literal["all", "failures"]

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
_PRINTABLE = re.compile(r"[\x21-\x7e]+")


class Channel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people set about a channel. `events` empty: everything that is told; see gateway/events.py.

    `url`: where a webhook is sent, https, without user and fragment (plain http is for loopback
    alone, which the sender decides when it knows the address). `recipients`: of an e-mail.
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

    rules: ClassVar[Schema] = {
        "oneOf": [
            given("url", kind={"const": "webhook"}, recipients={"maxItems": 0}),
            given("recipients", kind={"const": "email"}, recipients={"minItems": 1}, url=NULL),
        ]
    }

    def __post_init__(self) -> None:
        if (self.kind == "webhook") != (self.url is not None):
            raise ValueError("url: a webhook has one, an e-mail has none")
        if (self.kind == "email") != bool(self.recipients):
            raise ValueError("recipients: an e-mail has at least one, a webhook has none")
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
