"""How this installation is, for the platform's people: host, processes, queues, HSM, brokers, clock, certificates.

What is asked is a function that the process was given (Services.state): it looks at its own host. What it cannot
see is in `unknown` with the reason, never left out silently and never made up. No tenant's data is in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec


class HostState(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that answers. `load`: running or waiting tasks, one minute's average. Bytes as they are."""

    name: str
    cores: int
    load: float
    memory_bytes: int
    memory_available_bytes: int
    disk_bytes: int
    disk_free_bytes: int
    version: str
    python: str
    kernel: str


class ProcessCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One part that a process needs: what it says of it."""

    name: str
    ok: bool
    detail: str


class ProcessState(msgspec.Struct, frozen=True, kw_only=True):
    """One process. `ready`: null where it has no door to be asked at. `restarts`: by our supervisor;
    null under another init system. `since`, `memory_bytes`: null where this host does not let us see them."""

    name: str
    pid: int | None
    restarts: int | None
    since: datetime | None
    memory_bytes: int | None
    ready: bool | None
    checks: list[ProcessCheck]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A number of one process, by the name under which it is a metric. `labels` tell several apart."""

    metric: str
    process: str
    labels: dict[str, str]
    value: float


class CertificateState(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate that this host shows or trusts."""

    used_for: str
    subject: str
    expires_at: datetime
    days_left: int


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could not be found out, and why."""

    what: str
    why: str


class PlatformState(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, as it was at `at`."""

    at: datetime
    host: HostState
    processes: list[ProcessState]
    figures: list[Figure]
    certificates: list[CertificateState]
    unknown: list[Unknown]


AskState = Callable[[], Awaitable[PlatformState]]
"""Looks at the host. Never raises for what it cannot see."""
