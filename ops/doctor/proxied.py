"""A listener behind a proxy: does its socket take connections, and what certificate does the proxy show for it?"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from cryptography import x509

from ops.doctor import certificates
from ops.doctor.finding import Finding, well
from ops.doctor.looking import Ground
from ops.probe import accepts

SUBJECT = "proxy"
HTTPS_PORT = 443


class Proxied(NamedTuple):
    """`shown`: what the proxy shows at `base_url`; None: it does not answer TLS from here."""

    listener: str
    socket: Path
    base_url: str
    up: bool
    taken: bool
    shown: x509.Certificate | None


async def examine(ground: Ground) -> list[Finding]:
    seen = await asyncio.gather(
        *(
            _look(ground, name, at.socket, at.base_url)
            for name, at in ground.settings.listeners.items()
            if at.socket is not None
        )
    )
    now = datetime.now(UTC)
    return [finding for one in seen for finding in judge(one, now)]


async def _look(ground: Ground, listener: str, socket: Path, base_url: str) -> Proxied:
    url = urlsplit(base_url)
    host = url.hostname or ""
    shown = await certificates.shown(host, url.port or HTTPS_PORT, host)
    return Proxied(listener, socket, base_url, ground.is_up, await accepts(socket), shown)


def judge(seen: Proxied, now: datetime) -> list[Finding]:
    """Pure."""
    return [*_socket(seen), *_shown(seen, now)]


def _socket(seen: Proxied) -> list[Finding]:
    what = f"{seen.listener}, {seen.socket}"
    if seen.taken:
        return [well(SUBJECT, what, "takes connections")]
    if not seen.up:
        return [well(SUBJECT, what, "nothing of ours runs")]
    then = "Where systemd opens it: `systemctl status portcullis-*.socket`; else start us again."
    return [Finding(SUBJECT, what, "wrong", "takes no connection: the proxy answers 503", then)]


def _shown(seen: Proxied, now: datetime) -> list[Finding]:
    what = f"{seen.listener}, {seen.base_url}"
    if seen.shown is None:
        then = "Is the proxy up, and does this host's name lead to it? `systemctl status haproxy`."
        return [Finding(SUBJECT, what, "wrong", "nobody answers TLS there", then)]
    host = urlsplit(seen.base_url).hostname or ""
    renewed = "Renew it where the proxy has it (ansible/playbooks/rotate-certificates.yml)."
    return [
        certificates.time_left(
            SUBJECT, f"{what}, time", now, seen.shown.not_valid_before_utc,
            seen.shown.not_valid_after_utc, renewed,
        ),
        certificates.name_fits(
            SUBJECT, f"{what}, name", certificates.names_of(seen.shown), host, renewed
        ),
    ]  # fmt: skip
