"""What an operator may set about notifications. Every limit has its unit in its name."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tenancy.values import whole

Seconds = Annotated[float, Meta(gt=0)]

STANDARD_PAUSES_S = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""Between attempts: the schedule that Standard Webhooks recommends."""


class SmtpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The mail server. `tls = "none"` is taken for a loopback host only.

    `sender`: the From address. `password_file`: a file that holds the password alone.
    """

    host: Annotated[str, Meta(min_length=1, max_length=255)]
    port: Annotated[int, Meta(ge=1, le=65535)] = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    sender: Annotated[str, Meta(min_length=3, max_length=254)]
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        if self.tls == "none" and not is_loopback(self.host):
            raise ValueError(
                'tls: "none" is for a mail server on this host; use "starttls" or "tls"'
            )
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user, password_file: both or neither")


PUSH_SERVICES = (
    "fcm.googleapis.com", "jmt17.google.com", "*.push.apple.com", "*.push.services.mozilla.com",
    "*.notify.windows.com",
)  # fmt: skip
"""Of Chrome (and what is built on it), Safari, Firefox and Edge."""
_HOST = re.compile(r"(\*\.)?[0-9a-z-]+(\.[0-9a-z-]+)*")


class PushSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Web Push. `contact`: whom a push service may write to, `mailto:` or `https:` (RFC 8292, section 2.1).

    `services`: the hosts that subscriptions may be at; `*.` is any name below. A person's browser says
    the address and we make the request, so it is a push service's or it is not taken.
    """

    contact: Annotated[
        str, Meta(pattern=whole(r"(mailto:[^\s@]+@[^\s@]+|https://\S+)"), max_length=254)
    ]
    services: tuple[Annotated[str, Meta(min_length=1, max_length=253)], ...] = PUSH_SERVICES

    def __post_init__(self) -> None:
        for host in self.services:
            if not _HOST.fullmatch(host):
                raise ValueError(f"services: {host!r} is no host name; *.example.com is any below")

    def knows(self, host: str) -> bool:
        """Whether a push service is at that host."""
        return any(
            host.endswith(known[1:]) if known.startswith("*.") else host == known
            for known in self.services
        )


class NotifySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How notifications are sent.

    `allow_networks`: addresses beside public ones that a webhook may go to (CIDR); plain http only
    where they are loopback. `failing_after_s`: a channel that failed so long is called failing, and
    goes on at the slowest pause. `backlog_s`: what is older when a channel comes back is not sent,
    and the receiver is told which records those are. `ca_file`: authorities instead of the system's.
    `…_pause_s`: rest between two messages to one reader;
    `push_idle_s`: between two looks at the log for a device, where the first found nothing for it.
    `console_url`: where links begin.
    """

    allow_networks: tuple[str, ...] = ()
    ca_file: Path | None = None
    poll_s: Seconds = 0.5
    at_once: Annotated[int, Meta(ge=1, le=256)] = 32
    at_once_per_tenant: Annotated[int, Meta(ge=1, le=256)] = 4
    connect_timeout_s: Seconds = 3.0
    timeout_s: Seconds = 10.0
    pauses_s: tuple[Seconds, ...] = STANDARD_PAUSES_S
    longest_pause_s: Seconds = 3600.0
    failing_after_s: Seconds = 24 * 3600.0
    backlog_s: Seconds = 30 * 86400.0
    mail_pause_s: Seconds = 60.0
    slack_pause_s: Seconds = 1.0
    push_pause_s: Seconds = 10.0
    push_idle_s: Seconds = 2.0
    lease_s: Seconds = 40.0
    smtp: SmtpSettings | None = None
    push: PushSettings | None = None
    console_url: str = ""

    def __post_init__(self) -> None:
        for text in self.allow_networks:
            ipaddress.ip_network(text)  # a ValueError says which
        if self.lease_s < 2 * self.timeout_s + self.connect_timeout_s:
            raise ValueError("lease_s: a lease outlives two attempts")
        if not self.pauses_s:
            raise ValueError("pauses_s: at least one")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
