"""What the doctor makes of what it saw of the host: pure, one table per subject."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ops.doctor import certificates, clock, disk, files, kernel, ports
from tenancy.clock_quality import Quality
from tests.findings import level

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
GIB = 1 << 30


# ---------------------------------------------------------------- clock


def quality(state: Any, err_ns: int | None) -> Quality:
    return Quality(state=state, err_ns=err_ns, src="chrony", why="because")


def clock_seen(**changed: Any) -> clock.Seen:
    seen = clock.Seen(
        asked=True, error_max_ms=50.0, quality=quality("ok", 900_000), chronyd="",
        kernel_err_ns=None, zone="UTC (UTC+0000)", zones_missing=(),
    )  # fmt: skip
    return seen._replace(**changed)


@pytest.mark.parametrize(
    ("changed", "what", "wanted"),
    [
        ({}, "", "well"),
        ({"quality": quality("degraded", 80_000_000)}, "error", "wrong"),
        ({"quality": quality("unknown", None)}, "error", "warning"),
        ({"asked": False}, "error", "warning"),
        ({"chronyd": "nobody answers"}, "synchronisation", "warning"),
        ({"zones_missing": ("Asia/Taipei",)}, "time zones", "wrong"),
    ],
)
def test_the_clock(changed: dict[str, Any], what: str, wanted: str) -> None:
    assert level(clock.judge(clock_seen(**changed)), what) == wanted


# ---------------------------------------------------------------- disk

MOUNT = disk.Mount("data", Path("/var/p"), "ext4", 100 * GIB, 60 * GIB, 1000, 900, False)


@pytest.mark.parametrize(
    ("changed", "what", "wanted"),
    [
        ({}, "", "well"),
        ({"read_only": True}, "", "wrong"),
        ({"free_bytes": GIB - 1}, "/var/p", "wrong"),
        ({"free_bytes": 9 * GIB}, "/var/p", "warning"),
        ({"free_bytes": 90 * GIB, "total_bytes": 1000 * GIB}, "/var/p", "well"),
        ({"inodes_free": 10}, "inodes", "wrong"),
        ({"inodes_free": 50}, "inodes", "warning"),
        ({"inodes": 0, "inodes_free": 0}, "", "well"),
        ({"kind": "tmpfs"}, "kind", "warning"),
        ({"kind": "tmpfs", "sockets_only": True, "free_bytes": 50 << 20}, "", "well"),
        ({"sockets_only": True, "free_bytes": 1 << 20}, "", "wrong"),
    ],
)
def test_a_disk(changed: dict[str, Any], what: str, wanted: str) -> None:
    assert level(disk.judge_mount(MOUNT._replace(**changed)), what) == wanted


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        (disk.Flush([0.0004] * 64), "well"),
        (disk.Flush([0.0004] * 60 + [0.3] * 4), "well"),
        (disk.Flush([0.012] * 64), "warning"),
        (disk.Flush([0.060] * 32), "wrong"),
        (disk.Flush([0.000002] * 64), "warning"),
        (disk.Flush((), "no answer within 6 s"), "wrong"),
    ],
)
def test_a_flush(seen: disk.Flush, wanted: str) -> None:
    assert disk.judge_flush(seen, "ext4").level == wanted


# ---------------------------------------------------------------- ports

PORT = ports.Port("ingress", "127.0.0.1", 8443, up=True, listened=True, ours=True)
STRANGER = (ports.Holder(77, "nginx"),)


@pytest.mark.parametrize(
    ("changed", "wanted", "said"),
    [
        ({}, "well", "we listen"),
        ({"listened": False, "ours": False}, "wrong", "nobody listens"),
        ({"ours": False, "holders": STRANGER}, "wrong", "nginx (pid 77) listens there, and not we"),
        ({"ours": False}, "well", "we listen"),
        ({"queue": 200}, "warning", "200 connections wait"),
        ({"up": False, "listened": False, "ours": False}, "well", "free"),
        (
            {"up": False, "ours": False, "holders": STRANGER},
            "wrong",
            "nginx (pid 77) listens there",
        ),
    ],
)
def test_a_port(changed: dict[str, Any], wanted: str, said: str) -> None:
    found = ports.judge(PORT._replace(**changed))
    assert (found.level, said in found.seen) == (wanted, True), found.seen


# ---------------------------------------------------------------- certificates

CHAIN = certificates.Chain(
    "ingress", Path("/tls/server.pem"), "hooks.example.com", names=("hooks.example.com",),
    from_at=NOW - timedelta(days=10), until=NOW + timedelta(days=80), length=2, fits=True,
    fingerprint="ab", asked=True, shown="ab",
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "what", "wanted"),
    [
        ({}, "", "well"),
        ({"until": NOW + timedelta(days=20)}, "time", "warning"),
        ({"until": NOW + timedelta(days=3)}, "time", "wrong"),
        ({"until": NOW - timedelta(seconds=1)}, "time", "wrong"),
        ({"from_at": NOW + timedelta(seconds=1)}, "time", "wrong"),
        ({"names": ("other.example.com",)}, "name", "wrong"),
        ({"names": ("*.example.com",)}, "name", "well"),
        ({"fits": False}, "key", "wrong"),
        ({"fits": None}, "key", "unseen"),
        ({"chain_broken": True}, "chain", "wrong"),
        ({"length": 1}, "chain", "warning"),
        ({"length": 1, "host": "localhost", "names": ("localhost",)}, "chain", "well"),
        ({"shown": "cd"}, "shown", "warning"),
        ({"shown": None}, "shown", "wrong"),
        ({"until": None, "why": "no such file"}, "ingress", "wrong"),
    ],
)
def test_a_certificate(changed: dict[str, Any], what: str, wanted: str) -> None:
    assert level(certificates.judge(CHAIN._replace(**changed), NOW), what) == wanted


@pytest.mark.parametrize(
    ("names", "host", "covered"),
    [
        (("a.example",), "A.example", True),
        (("*.example",), "a.example", True),
        (("*.example",), "b.a.example", False),
        (("*.example",), "example", False),
        ((), "a.example", False),
    ],
)
def test_a_wildcard_is_good_for_one_label(names: tuple[str, ...], host: str, covered: bool) -> None:
    assert certificates.covers(names, host) is covered


# ---------------------------------------------------------------- files, kernel


@pytest.mark.parametrize(
    ("mode", "uid", "forbidden", "wanted"),
    [
        (0o100600, 0, 0o077, "well"),
        (0o100640, 0, 0o077, "wrong"),
        (0o100644, 0, 0o022, "well"),
        (0o100622, 0, 0o022, "wrong"),
        (0o100600, 4711, 0o077, "wrong"),
        (0o120777, 0, 0o077, "warning"),
        (None, 0, 0o077, "well"),
    ],
)
def test_a_files_rights_and_owner(mode: int | None, uid: int, forbidden: int, wanted: str) -> None:
    seen = files.Seen("secrets", Path("/s"), mode, uid, forbidden, frozenset({0}))
    assert level(files.judge([seen])) == wanted


def test_a_file_that_may_not_be_looked_at_is_not_called_well() -> None:
    seen = files.Seen("secrets", Path("/s"), None, 0, 0o077, frozenset({0}), "Permission denied")
    assert level(files.judge([seen])) == "unseen"


HOST = kernel.Seen(
    processes={"signer": kernel.Process("0", 65536, 0), "redis": kernel.Process("unlimited", 1024, 9)},
    swaps=(), memory_free=0.5, oom_kills=0, somaxconn=4096, ptrace_scope=1, entropy=True, load=1.0,
    cpus=2,
)  # fmt: skip


def signer(core: str = "0", files: int = 65536, swapped_kib: int = 0) -> Mapping[str, Any]:
    return {"processes": {"signer": kernel.Process(core, files, swapped_kib)}}


@pytest.mark.parametrize(
    ("changed", "what", "wanted"),
    [
        ({}, "", "well"),
        (signer(core="unlimited"), "core files", "wrong"),
        (signer(swapped_kib=8), "swap", "wrong"),
        (signer(files=1024), "open files", "warning"),
        ({"swaps": ("/dev/sda2",)}, "swap", "warning"),
        ({"memory_free": 0.08}, "memory", "warning"),
        ({"memory_free": 0.02}, "memory", "wrong"),
        ({"oom_kills": 2}, "memory, ended", "warning"),
        ({"somaxconn": 128}, "accept queue", "warning"),
        ({"ptrace_scope": 0}, "debuggers", "warning"),
        ({"ptrace_scope": None, "somaxconn": None}, "", "well"),
        ({"entropy": False}, "randomness", "wrong"),
        ({"load": 40.0}, "load", "warning"),
    ],
)
def test_the_host(changed: Mapping[str, Any], what: str, wanted: str) -> None:
    assert level(kernel.judge(HOST._replace(**changed)), what) == wanted
