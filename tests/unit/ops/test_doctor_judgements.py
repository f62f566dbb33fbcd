"""What the doctor makes of what it saw: pure, one table per subject."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ops.doctor import (
    audit,
    brokers,
    certificates,
    clock,
    disk,
    files,
    hsm,
    kernel,
    ports,
    postgres,
    postgres_rights,
    processes,
    redis,
    trading,
)
from ops.doctor.finding import Finding, worst_first
from ops.state import Process
from tenancy.clock_quality import Quality

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
GIB = 1 << 30


def level(found: Finding | list[Finding], what: str = "") -> str:
    """The worst level among the findings about `what`."""
    some = [found] if isinstance(found, Finding) else found
    about = [one for one in some if what in one.what]
    assert about, f"nothing is said about {what!r}: {[one.what for one in some]}"
    return worst_first(about)[0].level


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


# ---------------------------------------------------------------- HSM

FIGURES = {"epoch": 3, "sessions": 2, "canary_age_s": 1.0, "waiting": 0, "batch_p99_s": 0.002}


@pytest.mark.parametrize(
    ("seen", "wanted", "word"),
    [
        (hsm.Daemon("signer", FIGURES, "", "/l"), "well", ""),
        (hsm.Daemon("signer", {**FIGURES, "waiting": 3000}, "", "/l"), "warning", "keep up"),
        (hsm.Daemon("signer", None, "it is silent", "/l"), "wrong", "do NOT start it again"),
        (hsm.Daemon("signer", FIGURES, "its canary has not sung", "/l"), "wrong", "locks"),
        (hsm.Daemon("signer", None, "away", "/l", others=1), "wrong", "1 other signer"),
        (hsm.Daemon("enroller", None, "away", "/l"), "wrong", "trading goes on"),
    ],
)
def test_a_daemon_of_the_vault(seen: hsm.Daemon, wanted: str, word: str) -> None:
    (found,) = hsm.judge(seen)
    assert (found.level, word in found.then) == (wanted, True), found


# ---------------------------------------------------------------- PostgreSQL

STANDING = {
    "version": "15.1", "standby": False, "up_s": 60.0, "room": 197, "sessions": 20, "xids": 900,
    "standbys": 0, "synchronous": "",
}  # fmt: skip
ARCHIVE = {
    "mode": "on", "archived_count": 7, "failed_count": 0, "failing": False, "last_failed_wal": None,
}  # fmt: skip
KEPT = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "data_checksums": "on"}
ROLE = {
    "name": "portcullis_worker", "rolcanlogin": True, "rolsuper": False, "rolcreatedb": False,
    "rolcreaterole": False, "rolbypassrls": False, "rolreplication": False, "member_of": [],
}  # fmt: skip
TABLE = {
    "name": "orders",
    "owner": "portcullis_owner",
    "secured": True,
    "forced": True,
    "public": False,
}
RIGHTS = postgres_rights.Seen((ROLE,), (TABLE,), {"connects": False, "creates": False})


def database(**changed: Any) -> postgres.Seen:
    seen = postgres.Seen(
        {}, KEPT, STANDING, ARCHIVE, held_s={"worker": 0.5}, apart_s=0.001, rights=RIGHTS
    )
    return seen._replace(**changed)


def rights(**changed: Any) -> dict[str, Any]:
    return {"rights": RIGHTS._replace(**changed)}


@pytest.mark.parametrize(
    ("changed", "what", "wanted"),
    [
        ({}, "", "well"),
        ({"away": {"owner": "refused"}}, "reach", "wrong"),
        ({"away": {"ingress": "too many connections"}}, "reach", "wrong"),
        ({"standing": {**STANDING, "standby": True}}, "reach", "wrong"),
        ({"standing": {**STANDING, "synchronous": "b"}}, "reach", "wrong"),
        ({"settings": {**KEPT, "fsync": "off"}}, "fsync", "wrong"),
        ({"settings": {**KEPT, "full_page_writes": "off"}}, "full_page_writes", "wrong"),
        ({"settings": {**KEPT, "synchronous_commit": "off"}}, "synchronous_commit", "wrong"),
        ({"settings": {**KEPT, "synchronous_commit": "remote_apply"}}, "synchronous_commit", "well"),
        ({"settings": {**KEPT, "data_checksums": "off"}}, "data_checksums", "warning"),
        ({"settings": {}}, "fsync", "wrong"),
        ({"standing": {**STANDING, "sessions": 170}}, "connections", "warning"),
        ({"standing": {**STANDING, "sessions": 195}}, "connections", "wrong"),
        ({"apart_s": 0.4}, "clock", "wrong"),
        ({"archive": {**ARCHIVE, "mode": "off"}}, "WAL archive", "warning"),
        ({"archive": {**ARCHIVE, "failing": True}}, "WAL archive", "wrong"),
        ({"slots": ({"slot_name": "b", "active": False, "behind": 2 * GIB},)}, "slot b", "wrong"),
        ({"slots": ({"slot_name": "b", "active": True, "behind": 100},)}, "slot b", "well"),
        ({"held_s": {"admin": 400.0}}, "transactions", "warning"),
        ({"standing": {**STANDING, "xids": 1_500_000_000}}, "transaction ids", "wrong"),
        (rights(roles=({**ROLE, "rolbypassrls": True},)), "roles' rights", "wrong"),
        (rights(roles=({**ROLE, "rolsuper": True},)), "roles' rights", "wrong"),
        (rights(roles=({**ROLE, "member_of": ["portcullis_finder"]},)), "roles' rights", "wrong"),
        (
            rights(roles=({**ROLE, "name": "portcullis_owner", "member_of": ["portcullis_finder"]},)),
            "roles' rights",
            "well",
        ),
        (rights(roles=({**ROLE, "name": "portcullis_finder"},)), "roles' rights", "wrong"),
        (rights(roles=({**ROLE, "name": "portcullis_reports", "rolsuper": True},)), "roles'", "well"),
        (rights(tables=({**TABLE, "forced": False},)), "wall", "wrong"),
        (rights(tables=({**TABLE, "owner": "portcullis_admin"},)), "wall", "wrong"),
        (rights(tables=({**TABLE, "public": True},)), "wall", "wrong"),
        (rights(public={"connects": True, "creates": False}), "everybody", "warning"),
    ],
)  # fmt: skip
def test_the_database(changed: dict[str, Any], what: str, wanted: str) -> None:
    assert level(postgres.judge(database(**changed), ours=False, up=True), what) == wanted


@pytest.mark.parametrize(
    ("ours", "up", "wanted"),
    [(True, False, "unseen"), (True, True, "wrong"), (False, False, "wrong")],
)
def test_a_database_of_our_own_that_is_down_with_the_rest_is_not_a_second_fault(
    ours: bool, up: bool, wanted: str
) -> None:
    away = postgres.Seen({"owner": "no such file"})
    assert level(postgres.judge(away, ours=ours, up=up)) == wanted
    assert level(redis.judge(redis.Seen(None, why="refused"), ours=ours, up=up)) == wanted


# ---------------------------------------------------------------- Redis

INFO = {
    "redis_version": "7", "uptime_in_seconds": 5, "role": "master", "maxmemory_policy": "noeviction",
    "evicted_keys": 0, "used_memory": 1 << 20, "maxmemory": 256 << 20, "aof_enabled": 0,
    "rdb_last_bgsave_status": "ok",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "what", "wanted"),
    [
        ({}, "", "well"),
        ({"role": "slave"}, "reach", "wrong"),
        ({"maxmemory_policy": "allkeys-lru"}, "policy", "wrong"),
        ({"evicted_keys": 4}, "policy", "warning"),
        ({"used_memory": 200 << 20}, "memory", "warning"),
        ({"used_memory": 250 << 20}, "memory", "wrong"),
        ({"maxmemory": 0}, "memory", "warning"),
        ({"rdb_last_bgsave_status": "err"}, "persistence", "wrong"),
        ({"aof_enabled": 1}, "persistence", "well"),
    ],
)
def test_redis(changed: dict[str, Any], what: str, wanted: str) -> None:
    assert (
        level(redis.judge(redis.Seen({**INFO, **changed}, 0.0002), ours=False, up=True), what)
        == wanted
    )


# ---------------------------------------------------------------- brokers

ASKED = brokers.Asked(
    "gateio",
    "api.gateio.ws port 443",
    took_s=0.1,
    status=200,
    ahead_s=0.02,
    sure_s=0.05,
    allowed_s=1.0,
)


@pytest.mark.parametrize(
    ("changed", "what", "wanted"),
    [
        ({}, "", "well"),
        ({"failed": "name", "why": "unknown"}, "", "wrong"),
        ({"failed": "TLS", "why": "self-signed"}, "", "wrong"),
        ({"status": 503, "ahead_s": None}, "", "warning"),
        ({"took_s": 2.0}, "port 443", "warning"),
        ({"ahead_s": 1.2}, "its clock", "wrong"),
        ({"ahead_s": -1.2}, "its clock", "wrong"),
        ({"ahead_s": 1.2, "sure_s": 0.6}, "its clock", "warning"),
        ({"ahead_s": 1.2, "sure_s": 1.0}, "its clock", "well"),
    ],
)
def test_a_broker(changed: dict[str, Any], what: str, wanted: str) -> None:
    assert level(brokers.judge(ASKED._replace(**changed)), what) == wanted


@pytest.mark.parametrize(
    ("keeper", "session", "up", "wanted"),
    [
        (True, True, True, "well"),
        (True, False, True, "warning"),
        (False, False, True, "wrong"),
        (False, False, False, "unseen"),
    ],
)
def test_a_session_at_sinopac(keeper: bool, session: bool, up: bool, wanted: str) -> None:
    assert brokers.judge_session("lin", keeper=keeper, session=session, up=up).level == wanted


# ---------------------------------------------------------------- processes


def running(**changed: Any) -> processes.Seen:
    seen = processes.Seen(
        up=True, ready=True, expected=("signer", "worker-0"),
        processes={"signer": Process(5, 1), "worker-0": Process(6, 1)},
        up_s={"signer": 900.0, "worker-0": 900.0}, logs=Path("/l"),
    )  # fmt: skip
    return seen._replace(**changed)


def restarted(times: int, up_s: float) -> dict[str, Any]:
    return {
        "processes": {"signer": Process(5, 1), "worker-0": Process(6, 1, times)},
        "up_s": {"signer": 900.0, "worker-0": up_s},
    }


@pytest.mark.parametrize(
    ("changed", "what", "wanted"),
    [
        ({}, "", "well"),
        ({"up": False}, "supervisor", "wrong"),
        ({"ready": False}, "supervisor", "warning"),
        ({"processes": {"signer": Process(5, 1)}}, "worker-0", "wrong"),
        ({"unready": {"worker-0": "signer: away"}}, "worker-0", "wrong"),
        (restarted(1, 30.0), "worker-0", "warning"),
        (restarted(3, 30.0), "worker-0", "wrong"),
        (restarted(3, 3600.0), "worker-0", "well"),
        ({"settings_newer": True}, "settings", "warning"),
    ],
)
def test_our_processes(changed: dict[str, Any], what: str, wanted: str) -> None:
    assert level(processes.judge(running(**changed)), what) == wanted


# ---------------------------------------------------------------- audit log

LOG = {"log": "0197", "found": None, "found_index": None, "halted": None}


def log_seen(**changed: Any) -> audit.Seen:
    seen = audit.Seen({"first": "enforced"}, True, (LOG,), {"waiting": 0, "oldest_s": 0.0})
    return seen._replace(**changed)


@pytest.mark.parametrize(
    ("changed", "what", "wanted"),
    [
        ({}, "", "well"),
        ({"worm": {"first": "advisory"}}, "write once", "wrong"),
        ({"worm": {"first": "advisory"}, "sealer": False}, "write once", "warning"),
        ({"worm": {"first": "enforced", "vault": "advisory"}}, "write once, vault", "warning"),
        ({"worm": None}, "write once", "unseen"),
        ({"why": "refused"}, "logs", "unseen"),
        ({"inbox": {"waiting": 9, "oldest_s": 5.0}}, "inbox", "warning"),
        ({"inbox": {"waiting": 9, "oldest_s": 50.0}}, "inbox", "wrong"),
        ({"logs": ({**LOG, "halted": "another history"},)}, "log 0197", "wrong"),
        ({"logs": ({**LOG, "found": "leaf differs", "found_index": 4},)}, "log 0197", "wrong"),
    ],
)
def test_the_audit_log(changed: dict[str, Any], what: str, wanted: str) -> None:
    assert level(audit.judge(log_seen(**changed)), what) == wanted


# ---------------------------------------------------------------- trading


@pytest.mark.parametrize(
    ("changed", "what", "wanted"),
    [
        ({}, "", "well"),
        ({"stops": {"platform": 1}}, "kill switch", "warning"),
        ({"drifts": {"unknown": 2}}, "drift", "warning"),
        ({"figures": {"portcullis_orders_in_doubt": 2.0}}, "doubt", "warning"),
        (
            {
                "figures": {
                    "portcullis_orders_in_doubt": 2.0,
                    "portcullis_doubt_oldest_seconds": 90.0,
                }
            },
            "doubt",
            "wrong",
        ),
        ({"figures": {"portcullis_breakers_open": 1.0}}, "breakers", "warning"),
        ({"silent": ("worker-1",)}, "doubt", "unseen"),
        ({"why": "refused"}, "kill switch", "unseen"),
    ],
)
def test_what_keeps_orders_from_leaving(changed: dict[str, Any], what: str, wanted: str) -> None:
    assert level(trading.judge(trading.Seen()._replace(**changed)), what) == wanted


def test_a_metrics_page_is_read_and_its_labels_added_up() -> None:
    page = (
        "# TYPE portcullis_breakers_open gauge\n"
        'portcullis_breakers_open{broker="a"} 1.0\nportcullis_breakers_open{broker="b"} 2.0\n'
        "# TYPE portcullis_orders_in_doubt gauge\nportcullis_orders_in_doubt 4.0\n"
        "# TYPE other gauge\nother 9.0\n"
    )
    assert trading.read(page) == {
        "portcullis_breakers_open": 3.0,
        "portcullis_orders_in_doubt": 4.0,
    }


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
