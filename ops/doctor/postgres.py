"""PostgreSQL, looked at under our own roles: does it answer, and will it keep what it acknowledged?

What the roles may do is postgres_rights.py's; both are judged from one look.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import psycopg

from ops.backup.settings import SLOT
from ops.doctor import postgres_rights as rights
from ops.doctor.finding import Finding, Level, well
from ops.doctor.looking import Ground, in_thread
from ops.doctor.sessions import ROLES, Row, Session, row, rows, session
from ops.settings import DatabaseSettings

SUBJECT = "PostgreSQL"
MUST_BE = {
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "synchronous_commit": ("on", "remote_apply", "remote_write", "local"),
    "data_checksums": ("on",),
}
"""Without one of these an acknowledged order may be gone, or wrong, after the power was."""
HELD_S, LAG_BYTES = 300.0, 1 << 30
CLOCKS_APART_S = 0.25
XIDS_MANY = 1_000_000_000

STANDING = """
SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby,
       extract(epoch FROM now() - pg_postmaster_start_time())::float AS up_s,
       extract(epoch FROM clock_timestamp())::float AS at_s,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS room,
       (SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL) AS sessions,
       (SELECT coalesce(max(age(datfrozenxid)), 0) FROM pg_database) AS xids,
       (SELECT count(*) FROM pg_stat_replication) AS standbys,
       current_setting('synchronous_standby_names') AS synchronous"""
ARCHIVE = """
SELECT current_setting('archive_mode') AS mode, archived_count, failed_count,
       coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) AS failing,
       extract(epoch FROM now() - last_archived_time)::float AS last_s, last_failed_wal FROM pg_stat_archiver"""
SLOTS = """
SELECT slot_name, active, coalesce(pg_wal_lsn_diff(
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
           restart_lsn), 0)::bigint AS behind FROM pg_replication_slots"""
OLDEST = """
SELECT coalesce(max(extract(epoch FROM now() - xact_start)), 0)::float AS held_s
FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"""


class Seen(NamedTuple):
    """`away`: why a role has no session, by role; where `owner` is among them the rest is empty.

    `held_s`: the oldest transaction of each role. `apart_s`: its clock and ours, less the round trip.
    """

    away: Mapping[str, str]
    settings: Mapping[str, str] = {}
    standing: Mapping[str, Any] = {}
    archive: Mapping[str, Any] = {}
    slots: tuple[Row, ...] = ()
    held_s: Mapping[str, float] = {}
    apart_s: float = 0.0
    rights: rights.Seen = rights.Seen()


async def examine(ground: Ground) -> list[Finding]:
    stack = ground.settings.stack
    seen = await in_thread(look, ground.settings.database)
    return judge(seen, ours=stack is not None and stack.postgres, up=ground.is_up)


def look(database: DatabaseSettings) -> Seen:
    away: dict[str, str] = {}
    held: dict[str, float] = {}
    seen = Seen(away)
    for role in ROLES:
        try:
            with session(getattr(database, role)) as conn:
                held[role] = float(row(conn, OLDEST)["held_s"])
                if role == "owner":
                    seen = _standing(conn, seen)
        except psycopg.Error as error:
            away[role] = " ".join(str(error).split()) or type(error).__name__
            if len(away) > 1:  # it is not the one role: the others would only take time to say so
                break
    return seen._replace(held_s=held)


def _standing(conn: Session, seen: Seen) -> Seen:
    names = ", ".join(f"'{name}'" for name in MUST_BE)
    kept = rows(conn, f"SELECT name, setting FROM pg_settings WHERE name IN ({names})")  # noqa: S608
    before = time.time()
    standing = row(conn, STANDING)
    after = time.time()
    at = float(standing["at_s"])
    return seen._replace(
        settings={one["name"]: one["setting"] for one in kept},
        standing=standing, archive=row(conn, ARCHIVE), slots=tuple(rows(conn, SLOTS)),
        apart_s=max(0.0, before - at, at - after), rights=rights.look(conn),
    )  # fmt: skip


def judge(seen: Seen, *, ours: bool, up: bool) -> list[Finding]:
    if "owner" in seen.away:
        return [_away(seen.away, ours=ours, up=up)]
    return [
        _reach(seen), *_settings(seen.settings), _connections(seen.standing), _clock(seen.apart_s),
        _archive(seen.archive, seen.slots), *_slots(seen.slots), *_held(seen.held_s), *_xids(seen.standing),
        *rights.judge(seen.rights),
    ]  # fmt: skip


def _away(away: Mapping[str, str], *, ours: bool, up: bool) -> Finding:
    if ours and not up:
        then = "It is started with the rest: `portcullis up`."
        return Finding(SUBJECT, "reach", "unseen", "it is ours, and nothing runs", then)
    then = (
        "Signals are refused with 503 meanwhile, and senders try again; open orders are asked about"
        " when it is back. Is it running, is its disk full, did pg_hba.conf or a password change?"
        " Its log says. Do not promote a standby before the old primary is certainly off."
    )
    return Finding(SUBJECT, "reach", "wrong", next(iter(away.values())), then)


def _reach(seen: Seen) -> Finding:
    standing = seen.standing
    text = (
        f"version {standing['version']}, up {standing['up_s']:.0f} s, {standing['standbys']} "
        "standbys"
    )
    if seen.away:
        role, why = next(iter(seen.away.items()))
        then = (
            f"Its process cannot work. Check portcullis_{role} in pg_hba.conf, its passfile, and "
            "CONNECTION LIMIT."
        )
        return Finding(SUBJECT, "reach", "wrong", f"role {role}: {why}", then)
    if standing["standby"]:
        then = "Name the primary in [database], or promote this one if the other is certainly off."
        return Finding(SUBJECT, "reach", "wrong", f"it is a standby, read-only; {text}", then)
    if standing["synchronous"] and not standing["standbys"]:
        then = (
            "Every commit waits for a standby that is away: bring it back (`patronictl list`); where no "
            "Patroni chooses it, empty synchronous_standby_names."
        )
        return Finding(
            SUBJECT, "reach", "wrong", f"no synchronous standby is connected; {text}", then
        )
    return well(SUBJECT, "reach", f"all five roles; {text}")


def _settings(settings: Mapping[str, str]) -> list[Finding]:
    found = []
    for name, right in MUST_BE.items():
        value = settings.get(name, "unknown")
        if value in right:
            found.append(well(SUBJECT, name, value))
            continue
        then = (
            f"ALTER SYSTEM SET {name} = on, then reload: what was acknowledged must survive the "
            "power."
        )
        if name == "data_checksums":
            then = (
                "Stop it in a quiet hour and run pg_checksums --enable: rot is not noticed without."
            )
        level: Level = "warning" if name == "data_checksums" else "wrong"
        found.append(Finding(SUBJECT, name, level, value, then))
    return found


def _connections(standing: Row) -> Finding:
    share = standing["sessions"] / max(1, standing["room"])
    text = f"{standing['sessions']} of {standing['room']} in use"
    if share > 0.8:
        then = (
            "Raise max_connections, or lower pool_size or the numbers of processes: the next "
            "start may get none."
        )
        return Finding(SUBJECT, "connections", "wrong" if share > 0.95 else "warning", text, then)
    return well(SUBJECT, "connections", text)


def _clock(apart_s: float) -> Finding:
    if apart_s > CLOCKS_APART_S:
        then = "Leases and deadlines are reckoned by both: put chrony right on both hosts."
        return Finding(SUBJECT, "clock", "wrong", f"{apart_s:.3f} s apart from ours", then)
    return well(SUBJECT, "clock", f"agrees with ours within {max(apart_s, 0.001):.3f} s")


def _archive(archive: Row, slots: tuple[Row, ...]) -> Finding:
    if any(one["slot_name"] == SLOT and one["active"] for one in slots):
        return well(SUBJECT, "WAL archive", "streamed to `portcullis backup`'s archive")
    if archive.get("mode") not in ("on", "always"):
        then = (
            "Without it a restore goes back to the last base backup: see the page on backup and "
            "restore."
        )
        return Finding(SUBJECT, "WAL archive", "warning", "off", then)
    text = f"{archive['archived_count']} segments archived, {archive['failed_count']} failures"
    if archive["failing"]:
        then = (
            "WAL piles up until the disk is full. Its log says why archive_command fails: room, "
            "rights, the network?"
        )
        return Finding(
            SUBJECT, "WAL archive", "wrong", f"fails at {archive['last_failed_wal']}; {text}", then
        )
    return well(SUBJECT, "WAL archive", text)


def _slots(slots: tuple[Row, ...]) -> list[Finding]:
    found = []
    for one in slots:
        text = (
            f"{one['behind'] >> 20} MiB behind, {'in use' if one['active'] else 'nobody reads it'}"
        )
        if one["behind"] > LAG_BYTES:
            then = (
                "WAL is kept for it until the disk is full: bring its reader back, or "
                "pg_drop_replication_slot()."
            )
            found.append(Finding(SUBJECT, f"slot {one['slot_name']}", "wrong", text, then))
        else:
            found.append(well(SUBJECT, f"slot {one['slot_name']}", text))
    return found


def _held(held_s: Mapping[str, float]) -> list[Finding]:
    role, worst = max(held_s.items(), key=lambda one: one[1], default=("", 0.0))
    if worst > HELD_S:
        then = (
            "Somebody's session holds locks: pg_stat_activity by xact_start; end it with "
            "pg_terminate_backend()."
        )
        return [
            Finding(
                SUBJECT, "transactions", "warning", f"{role} has one open for {worst:.0f} s", then
            )
        ]
    return [well(SUBJECT, "transactions", f"the oldest is {worst:.1f} s")]


def _xids(standing: Row) -> list[Finding]:
    if standing["xids"] < XIDS_MANY:
        return []
    then = (
        "Autovacuum does not keep up: look for what holds it (old transactions, slots), then "
        "VACUUM FREEZE."
    )
    return [Finding(SUBJECT, "transaction ids", "wrong", f"{standing['xids']} old", then)]
