"""What the doctor makes of what it saw of the product's parts: pure, one table per subject."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ops.backup.standing import Look
from ops.doctor import (
    audit,
    backup,
    brokers,
    hsm,
    postgres,
    postgres_rights,
    processes,
    redis,
    stores,
    trading,
)
from ops.running import Found
from tests.findings import level

GIB = 1 << 30
SINCE = datetime(2026, 11, 22, tzinfo=UTC)


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
STREAMED = {"slot_name": "portcullis_wal", "active": True, "behind": 100}
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
        ({"archive": {**ARCHIVE, "mode": "off"}, "slots": (STREAMED,)}, "WAL archive", "well"),
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


# ---------------------------------------------------------------- the audit log's further sets

VERSIONED = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
LOCKED = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>"


@pytest.mark.parametrize(
    ("seen", "how", "words"),
    [
        (stores.Seen(VERSIONED, LOCKED), "well", "2192 days"),
        (stores.Seen(VERSIONED.replace(b"Enabled", b"Suspended"), LOCKED), "wrong", "no versions"),
        (stores.Seen(VERSIONED, b""), "wrong", "no Object Lock"),
        (stores.Seen(), "wrong", "no versions"),
        (stores.Seen(why="403 AccessDenied"), "wrong", "AccessDenied"),
    ],
)
def test_a_bucket_that_cannot_keep_anything(seen: stores.Seen, how: str, words: str) -> None:
    found = stores.judge("vault", seen, 2192)
    assert (found.level, words in found.seen) == (how, True)


# ---------------------------------------------------------------- the archive

CLUSTER = Look("0/5000000", "async", "reserved", 0x5000100, 0x5000000, patroni=True)


@pytest.mark.parametrize(
    ("look", "wanted", "how", "words"),
    [
        (
            CLUSTER,
            False,
            "well",
            "a restore from the archive alone lacks what it is behind; 256 bytes",
        ),
        (replace(CLUSTER, altered=True), False, "wrong", "ALTER SYSTEM RESET"),
        (replace(CLUSTER, patroni=False), False, "well", "with PostgreSQL's disk is lost"),
        (replace(CLUSTER, sync_state="sync"), False, "well", "lacks nothing"),
        (CLUSTER, True, "wrong", "Patroni chooses"),
        (None, True, "unseen", "refused"),
    ],
)
def test_the_archive_and_what_would_be_lost(
    look: Look | None, wanted: bool, how: str, words: str
) -> None:
    found = backup.judge(backup.Seen(look, "refused"), wanted)
    assert found.level == how
    assert words in found.seen


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
        processes={"signer": Found(5, 0, SINCE), "worker-0": Found(6, 0, SINCE)},
        up_s={"signer": 900.0, "worker-0": 900.0}, logs=Path("/l"),
    )  # fmt: skip
    return seen._replace(**changed)


UNITS = {"signer": Found(5, None, None), "worker-0": Found(6, None, None)}
"""Of another init system, seen by who may not look into /proc."""


def restarted(times: int, up_s: float) -> dict[str, Any]:
    return {
        "processes": {"signer": Found(5, 0, SINCE), "worker-0": Found(6, times, SINCE)},
        "up_s": {"signer": 900.0, "worker-0": up_s},
    }


@pytest.mark.parametrize(
    ("changed", "what", "wanted"),
    [
        ({}, "", "well"),
        ({"up": False}, "supervisor", "wrong"),
        ({"ready": False}, "supervisor", "warning"),
        ({"processes": {"signer": Found(5, 0, SINCE)}}, "worker-0", "wrong"),
        ({"unready": {"worker-0": "signer: away"}}, "worker-0", "wrong"),
        (restarted(1, 30.0), "worker-0", "warning"),
        (restarted(3, 30.0), "worker-0", "wrong"),
        (restarted(3, 3600.0), "worker-0", "well"),
        ({"settings_newer": True}, "settings", "warning"),
        ({"supervised": False, "processes": UNITS, "up_s": {}}, "", "well"),
        ({"supervised": False, "processes": {"signer": Found(5, None, None)}}, "worker-0", "wrong"),
    ],
)
def test_our_processes(changed: dict[str, Any], what: str, wanted: str) -> None:
    assert level(processes.judge(running(**changed)), what) == wanted


@pytest.mark.parametrize("supervised", [True, False])
def test_what_to_do_is_said_for_who_keeps_them_running(supervised: bool) -> None:
    seen = running(supervised=supervised, processes={}, settings_newer=True)
    said = " ".join(one.then for one in processes.judge(seen))
    assert ("portcullis up" in said) == supervised
    assert ("systemctl restart portcullis.target" in said) != supervised


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
