"""What one host shows of itself: its processes at their health sockets, its certificates, what is left of it.

For GET /v1/platform/state. Everything is read, nothing is changed; what cannot be read is a sentence in
`unknown`: a process of another user whose socket is closed to us, a certificate that is not there, another host.
"""

from __future__ import annotations

import asyncio
import math
import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from cryptography import x509
from prometheus_client.parser import text_string_to_metric_families

from gateway.admin.platform_state import (
    AskState,
    CertificateState,
    Figure,
    HostState,
    PlatformState,
    ProcessCheck,
    ProcessState,
    Unknown,
)
from ops import probe
from ops.running import Found, running
from ops.settings import Settings
from tenancy.clock import Clock
from tenancy.errors import ConfigurationError

FIGURES = frozenset(
    {
        "portcullis_keep_queue_depth", "portcullis_lanes_busy", "portcullis_orders_waiting",
        "portcullis_orders_in_doubt", "portcullis_doubt_oldest_seconds", "portcullis_held_orders",
        "portcullis_partitions_held", "portcullis_breakers_open", "portcullis_broker_up",
        "portcullis_budget_waiting", "portcullis_budget_shared", "portcullis_drifts_open",
        "portcullis_audit_inbox_age_seconds", "portcullis_audit_unpublished_age_seconds",
        "portcullis_audit_unwitnessed_age_seconds", "portcullis_audit_anchor_age_seconds",
        "portcullis_audit_check_differences", "portcullis_audit_halted_logs",
        "portcullis_audit_worm_enforced", "portcullis_spill_lines", "portcullis_switch_age_seconds",
        "portcullis_hsm_up", "portcullis_hsm_sessions", "portcullis_hsm_canary_age_seconds",
        "portcullis_hsm_epoch", "portcullis_hsm_refusals", "portcullis_clock_state",
        "portcullis_clock_error_bound_seconds", "portcullis_clock_error_max_seconds",
        "portcullis_clock_offset_seconds", "portcullis_event_streams", "portcullis_hook_waiting",
        "portcullis_hooks_loaded", "portcullis_credentials_unproven",
    }
)  # fmt: skip
"""Those of the metrics that a page for people shows; Prometheus reads them all."""

ONLY_OF: Mapping[str, tuple[str, ...]] = {
    "portcullis_keep": ("ingress",), "portcullis_hook": ("ingress",), "portcullis_event": ("admin",),
    "portcullis_audit": ("recorder",), "portcullis_clock": ("clock",),
    "portcullis_spill": ("worker", "ingress"),
    "portcullis_hsm": ("admin",),
}  # fmt: skip
"""Who means them: every process exports each metric that it imports, most of them as 0."""
WORKERS_OWN = ("worker",)
HEALTHY = 200


class _Ready(msgspec.Struct):
    """What /readyz says: of a process beside (ops/health.py) and of the management listener are both read."""

    checks: dict[str, str] | list[ProcessCheck] = {}
    details: dict[str, str] = {}


def host_state(settings: Settings, clock: Clock) -> AskState:
    """What looks at this host."""

    async def ask() -> PlatformState:
        unknown: list[Unknown] = []
        processes, figures = await _processes(settings, unknown)
        return PlatformState(
            at=clock.now(), host=_host(settings), processes=processes, figures=figures,
            certificates=certificates(settings, clock.now(), unknown), unknown=unknown,
        )  # fmt: skip

    return ask


async def _processes(
    settings: Settings, unknown: list[Unknown]
) -> tuple[list[ProcessState], list[Figure]]:
    try:
        state = await asyncio.to_thread(running, settings)
    except ConfigurationError as error:
        unknown.append(Unknown(what="processes", why=str(error)))
        return [], []
    if state is None:
        unknown.append(Unknown(what="processes", why="none of ours could be found on this host"))
        return [], []
    asked = await asyncio.gather(
        *(_process(name, one, state.health.get(name)) for name, one in state.processes.items())
    )
    for name in state.health.keys() - state.processes.keys():
        unknown.append(Unknown(what=name, why="it does not run, or lets nobody of ours ask"))
    for name, (_, _, why) in zip(state.processes, asked, strict=True):
        if why:
            unknown.append(Unknown(what=name, why=why))
    why = "processes of other hosts are seen by Prometheus, not from here"
    unknown.append(Unknown(what="other hosts", why=why))
    return [one for one, _, _ in asked], [figure for _, some, _ in asked for figure in some]


async def _process(
    name: str, process: Found, sock: Path | None
) -> tuple[ProcessState, list[Figure], str]:
    ready, checks, figures, why = None, list[ProcessCheck](), list[Figure](), ""
    if sock is not None:
        try:
            status, body = await probe.get(sock, "/readyz")
            ready, checks = status == HEALTHY, read_checks(body)
            _, page = await probe.get(sock, "/metrics")
            figures = read_figures(name, page.decode())
        except (OSError, TimeoutError, ValueError, IndexError, msgspec.MsgspecError) as error:
            why = f"it does not answer at {sock.name}: {error or type(error).__name__}"
    seen = ProcessState(
        name=name, pid=process.pid, restarts=process.restarts, since=process.since,
        memory_bytes=_memory_of(process.pid), ready=ready, checks=checks,
    )  # fmt: skip
    return seen, figures, why


def read_checks(body: bytes) -> list[ProcessCheck]:
    """The parts that a process needs. Pure. Raises MsgspecError for what is no such answer."""
    said = msgspec.json.decode(body, type=_Ready)
    if isinstance(said.checks, list):
        return said.checks
    return [
        ProcessCheck(name=name, ok=word == "ok", detail=said.details.get(name, word))
        for name, word in said.checks.items()
    ]


def read_figures(process: str, page: str) -> list[Figure]:
    """The figures of a page of metrics that this process means. Pure. Raises ValueError."""
    kind = process.partition("-")[0]
    return [
        Figure(metric=one.name, process=process, labels=dict(one.labels), value=one.value)
        for family in text_string_to_metric_families(page)
        for one in family.samples
        if one.name in FIGURES and kind in _whose(one.name) and math.isfinite(one.value)
    ]


def _whose(metric: str) -> tuple[str, ...]:
    return next((who for start, who in ONLY_OF.items() if metric.startswith(start)), WORKERS_OWN)


def _memory_of(pid: int) -> int | None:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _host(settings: Settings) -> HostState:
    memory = _meminfo()
    disk = shutil.disk_usage(settings.instance.var)
    try:
        ours = version("portcullis")
    except PackageNotFoundError:
        ours = "from a working tree"
    return HostState(
        name=platform.node(), cores=os.cpu_count() or 1, load=round(os.getloadavg()[0], 2),
        memory_bytes=memory.get("MemTotal", 0), memory_available_bytes=memory.get("MemAvailable", 0),
        disk_bytes=disk.total, disk_free_bytes=disk.free, version=ours,
        python=platform.python_version(), kernel=f"{platform.system()} {platform.release()}",
    )  # fmt: skip


def _meminfo() -> dict[str, int]:
    lines = Path("/proc/meminfo").read_text().splitlines()
    parts = (line.split() for line in lines)
    return {name.rstrip(":"): int(kb) * 1024 for name, kb, *_ in parts}


def certificates(
    settings: Settings, now: datetime, unknown: list[Unknown]
) -> list[CertificateState]:
    """Those that the listeners show, and the authorities that this host is told to trust, by what is left."""
    files = {
        **{name: tls.certificate for name, tls in settings.own_tls.items()},
        "client certificates": settings.admin.client_ca,
        "notifications": settings.admin.notify_ca_file,
    }
    found: list[CertificateState] = []
    for used_for, file in files.items():
        if file is None:
            continue
        try:
            found += _certificates_in(file, used_for, now)
        except (OSError, ValueError) as error:
            unknown.append(Unknown(what=f"certificate of {used_for}", why=str(error)))
    return sorted(found, key=lambda one: one.days_left)


def _certificates_in(file: Path, used_for: str, now: datetime) -> Iterable[CertificateState]:
    for one in x509.load_pem_x509_certificates(file.read_bytes()):
        ends = one.not_valid_after_utc
        yield CertificateState(
            used_for=used_for, subject=one.subject.rfc4514_string(), expires_at=ends,
            days_left=math.floor((ends - now).total_seconds() / 86400),
        )  # fmt: skip
