"""Brokers, from this host: does the name resolve, does TLS hold, does it answer, do its clock and ours agree?

Asked is what is public (Gate.io's server time); no key of anybody's is used. Shioaji is reached by its
own SDK in its session processes: there it is asked whether they live.
"""

from __future__ import annotations

import asyncio
import email.utils
import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from fanout.brokers.gate.request import server_time
from ops.brokers import shioaji_settings
from ops.doctor.finding import Finding, well
from ops.doctor.looking import Ground, in_thread
from ops.probe import accepts
from tenancy.errors import ConfigurationError

SUBJECT = "brokers"
WITHIN_S = 4.0
GATE = ("gateio", "gateio_spot")
SLOW_S = 1.0


class Asked(NamedTuple):
    """One question to a broker's server. `failed`: at which step (`name`, `connection`, `TLS`, `answer`), or
    empty; `why` in words.

    `ahead_s`: the server's clock less ours in the middle of the round trip, None where it told no time;
    `sure_s`: how far that may be wrong.
    """

    broker: str
    address: str
    failed: str = ""
    why: str = ""
    took_s: float = 0.0
    status: int = 0
    ahead_s: float | None = None
    sure_s: float = 0.0
    allowed_s: float = 0.0


async def examine(ground: Ground) -> list[Finding]:
    tables = ground.settings.brokers
    asked = await asyncio.gather(
        *(in_thread(ask, name, tables[name]) for name in GATE if name in tables)
    )
    found = [finding for one in asked for finding in judge(one)]
    if "shioaji" in tables:
        found += await _sessions(ground)
    if "paper" in tables:
        found.append(well(SUBJECT, "paper", "on paper: there is nothing to reach"))
    return found


def ask(broker: str, table: Mapping[str, Any]) -> Asked:
    """Step by step, so that it can be said which one fails."""
    url = urlsplit(str(table.get("base_url", "")))
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    seen = Asked(
        broker, f"{host} port {port}", allowed_s=float(table.get("clock_error_ms", 1000)) / 1000
    )
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return seen._replace(failed="name", why=str(error.strerror or error))
    try:
        plain = socket.create_connection((host, port), WITHIN_S)
    except OSError as error:
        return seen._replace(failed="connection", why=str(error.strerror or error))
    with plain:
        try:
            wire = plain if url.scheme == "http" else _secure(plain, host)
        except (ssl.SSLError, OSError) as error:
            return seen._replace(
                failed="TLS", why=str(getattr(error, "verify_message", "") or error)
            )
        with wire:
            return _time(wire, host, seen)


def _secure(plain: socket.socket, host: str) -> socket.socket:
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def _time(wire: socket.socket, host: str, seen: Asked) -> Asked:
    """The server's time, over a connection that stands: the round trip is short then."""
    request = server_time()
    text = (
        f"{request.method} {request.path} HTTP/1.1\r\nHost: {host}\r\nAccept: "
        "application/json\r\nConnection: close\r\n\r\n"
    )
    wire.settimeout(WITHIN_S)
    try:
        before = time.time()
        wire.sendall(text.encode())
        reply = http.client.HTTPResponse(wire)
        reply.begin()
        body = reply.read(1 << 16)
        after = time.time()
    except (OSError, http.client.HTTPException) as error:
        return seen._replace(failed="answer", why=str(error) or type(error).__name__)
    at, coarse = _told(body, reply.headers.get("Date"))
    return seen._replace(
        took_s=after - before, status=reply.status,
        ahead_s=None if at is None else at - (before + after) / 2,
        sure_s=(after - before) / 2 + coarse,
    )  # fmt: skip


def _told(body: bytes, date: str | None) -> tuple[float | None, float]:
    """The time that it told, Unix seconds, and how coarse that is."""
    try:
        return float(msgspec.json.decode(body)["server_time"]) / 1000, 0.001
    except (msgspec.DecodeError, LookupError, TypeError, ValueError):
        pass
    try:
        return email.utils.parsedate_to_datetime(date or "").timestamp() + 0.5, 0.5
    except ValueError:
        return None, 0.0


THEN = {
    "name": (
        "DNS: `getent hosts` for it, /etc/resolv.conf, the firewall to port 53. Other hosts too:"
        " is it theirs?"
    ),
    "connection": (
        "The way is shut: `curl -v` it; the firewall, the proxy, the provider; the broker's "
        "status page."
    ),
    "TLS": (
        "Somebody between us and the broker, or ca-certificates is old. Do NOT switch the check "
        "off."
    ),
    "answer": "It is reached and says nothing: the broker's status page. Nothing of ours helps.",
}
MEANWHILE = (
    " Opening orders wait, exits are tried again; what was on its way is asked about when it is "
    "back."
)


def judge(seen: Asked) -> list[Finding]:
    what = f"{seen.broker}, {seen.address}"
    if seen.failed:
        return [
            Finding(
                SUBJECT, what, "wrong", f"{seen.failed}: {seen.why}", THEN[seen.failed] + MEANWHILE
            )
        ]
    text = f"status {seen.status} in {seen.took_s * 1000:.0f} ms"
    if seen.status != 200:
        then = (
            "It is there, and does not serve: maintenance, or this host's address is blocked or "
            "over its limit."
        )
        return [Finding(SUBJECT, what, "warning", text, then)]
    if seen.took_s > SLOW_S:
        return [
            Finding(
                SUBJECT, what, "warning", f"slow: {text}", "`mtr` it; the broker's status page."
            ),
            *_skew(seen),
        ]
    return [well(SUBJECT, what, text), *_skew(seen)]


def _skew(seen: Asked) -> list[Finding]:
    what = f"{seen.broker}, its clock"
    if seen.ahead_s is None:
        return []
    text = (
        f"{seen.ahead_s * 1000:+.0f} ms from ours, ± {seen.sure_s * 1000:.0f} ms; allowed "
        f"{seen.allowed_s * 1000:.0f} ms"
    )
    over = abs(seen.ahead_s) - seen.sure_s
    if over > seen.allowed_s:
        then = (
            "Nothing is sent to it until they agree. Is ours right (see clock)? Else it is the "
            "broker's: tell them."
        )
        return [Finding(SUBJECT, what, "wrong", text, then)]
    if over > seen.allowed_s / 2:
        then = "Half of what is allowed is used up. Is ours right (see clock)?"
        return [Finding(SUBJECT, what, "warning", text, then)]
    return [well(SUBJECT, what, text)]


async def _sessions(ground: Ground) -> list[Finding]:
    try:
        settings = shioaji_settings(ground.settings.brokers)
    except ConfigurationError as error:
        return [Finding(SUBJECT, "shioaji", "wrong", str(error), "Correct [brokers.shioaji].")]
    found = []
    for person in settings.persons:
        there = [
            await accepts(one)
            for one in (settings.keeper(person.name), settings.socket(person.name))
        ]
        found.append(judge_session(person.name, keeper=there[0], session=there[1], up=ground.is_up))
    return found


def judge_session(person: str, *, keeper: bool, session: bool, up: bool) -> Finding:
    what = f"shioaji, session of {person}"
    if session:
        return well(SUBJECT, what, "is there")
    if not up:
        return Finding(SUBJECT, what, "unseen", "nothing runs", "`portcullis up`, and ask again.")
    if keeper:
        then = (
            "Its keeper says why in its log: SinoPac is shut (weekends, 06:00), logins of "
            "today used up, the"
            " certificate expired, or the secret refused. docs/operating/shioaji.md."
        )
        return Finding(SUBJECT, what, "warning", "the keeper lives, no session is logged in", then)
    return Finding(
        SUBJECT,
        what,
        "wrong",
        "neither keeper nor session",
        "See processes: session-N, and its log.",
    )
