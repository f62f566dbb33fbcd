"""How long a session lives and when its token changes. Pure.

    idle limit      since it was last seen; noted every 30 s at most, so a session may end that much early
    absolute limit  since login, whatever was done
    rotation        a cookie's token is replaced after 15 min; the one before is good for another 60 s,
                    for the requests that were under way. Coming back later it ends the session: either
                    the one who shows it stole it, or the one who has the new one did.

A bearer session (the CLI's) keeps its token: there is no answer to carry a new one to a second shell.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

ROTATE_AFTER = timedelta(minutes=15)
OVERLAP = timedelta(seconds=60)
SEEN_EVERY = timedelta(seconds=30)

SESSION = "pcs_"
HALF_SESSION = "pch_"
INVITATION = "pci_"

Transport = Literal["cookie", "bearer"]


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Since it was last seen, and since login."""

    idle: timedelta
    absolute: timedelta


class _TenantSays(msgspec.Struct, frozen=True):
    """The two of tenancy.tenant.TenantSettings that concern sessions, with the product's values."""

    session_idle_minutes: int = 30
    session_max_hours: int = 12


def limits_of(tenant_settings: str) -> SessionLimits:
    """The limits that a tenant's settings (JSON) lay down."""
    says = msgspec.json.decode(tenant_settings, type=_TenantSays)
    return SessionLimits(
        idle=timedelta(minutes=says.session_idle_minutes),
        absolute=timedelta(hours=says.session_max_hours),
    )


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """What the life of a session is judged by. `previous`: the token shown is the one before."""

    created_at: datetime
    seen_at: datetime
    rotated_at: datetime
    previous: bool
    transport: Transport


Life = Literal["live", "seen", "rotate", "expired", "replayed"]
"""`seen`: live, and it is time to note it. `rotate`: live, and its token is due."""


def judge(times: Times, limits: SessionLimits, now: datetime) -> Life:
    """What becomes of the session with this request."""
    if now >= times.created_at + limits.absolute or now >= times.seen_at + limits.idle:
        return "expired"
    if times.previous:
        return "replayed" if now >= times.rotated_at + OVERLAP else "live"
    if times.transport == "cookie" and now >= times.rotated_at + ROTATE_AFTER:
        return "rotate"
    return "seen" if now >= times.seen_at + SEEN_EVERY else "live"


def new_token(prefix: str) -> str:
    """256 random bits, URL-safe, with a prefix that secret scanners can look for."""
    return prefix + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")


def hashed(token: str) -> bytes:
    """What is kept of a token. It has 256 random bits, so a plain hash says nothing about it."""
    return hashlib.sha256(token.encode()).digest()


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A session that has just begun: the one time that its token is seen."""

    session_id: UUID
    token: str
    csrf_token: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Opened({self.session_id}, token=…)"
