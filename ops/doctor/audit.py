"""The audit log: does it grow, is it halted, was anything found to differ, can its files be removed?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import psycopg

from ops.doctor.finding import Finding, Level, well
from ops.doctor.looking import Ground, in_thread
from ops.doctor.sessions import Row, row, rows, session
from ops.probe import get

SUBJECT = "audit log"
WAITS_S, WAITS_LONG_S = 3.0, 15.0

LOGS = """
SELECT l.log_id::text AS log, c.found, c.found_index,
       (SELECT h.why FROM audit_halts h WHERE h.log_id = l.log_id
        AND NOT EXISTS (SELECT FROM audit_lifts f WHERE f.halt_id = h.halt_id)
        ORDER BY h.halted_at LIMIT 1) AS halted
FROM audit_logs l LEFT JOIN audit_checks c USING (log_id)"""
INBOX = """
SELECT count(*) AS waiting, coalesce(max(extract(epoch FROM now()) - ts / 1e9), 0)::float AS oldest_s
FROM audit_inbox"""


class Seen(NamedTuple):
    """`worm`: by store, None where the recorder does not say. `sealer`: the settings name one.

    `why`: why the database was not asked.
    """

    worm: Mapping[str, str] | None
    sealer: bool
    logs: tuple[Row, ...] = ()
    inbox: Mapping[str, Any] = {}
    why: str = ""


async def examine(ground: Ground) -> list[Finding]:
    seen = await in_thread(
        look, ground.settings.database.recorder, ground.settings.recorder.sealer is not None
    )
    return judge(seen._replace(worm=await worm_of(ground)))


def look(conninfo: str, sealer: bool) -> Seen:
    try:
        with session(conninfo) as conn:
            return Seen(None, sealer, tuple(rows(conn, LOGS)), row(conn, INBOX))
    except psycopg.Error as error:
        return Seen(None, sealer, why=" ".join(str(error).split()))


async def worm_of(ground: Ground) -> dict[str, str] | None:
    """What the recorder says of each store; None where it does not answer."""
    sock = None if ground.state is None else ground.state.health.get("recorder-0")
    if sock is None:
        return None
    try:
        _, body = await get(sock, "/readyz")
        said = str(msgspec.json.decode(body)["details"]["worm"])
    except (OSError, TimeoutError, ValueError, LookupError, TypeError):
        return None
    pairs = (one.partition(": ") for one in said.split(", "))
    return {name: word for name, _, word in pairs}


def judge(seen: Seen) -> list[Finding]:
    if seen.why:
        then = "The log is asked about in PostgreSQL: put that right first."
        return [*_worm(seen), Finding(SUBJECT, "logs", "unseen", seen.why, then)]
    return [*_worm(seen), _inbox(seen.inbox), *_logs(seen.logs)]


def _worm(seen: Seen) -> list[Finding]:
    if seen.worm is None:
        then = "The recorder says it: see processes."
        return [Finding(SUBJECT, "write once", "unseen", "the recorder does not answer", then)]
    found = []
    for name, word in seen.worm.items():
        if word == "enforced":
            found.append(well(SUBJECT, f"write once, {name}", "enforced"))
            continue
        level: Level = "wrong" if seen.sealer and name == "first" else "warning"
        then = (
            "Its files can be removed by whoever is the recorder. docs/operating/worm.md: the "
            "sealer, or a bucket with Object Lock."
        )
        if level == "wrong":
            then = (
                "The sealer does not get it done: is it up, has it CAP_LINUX_IMMUTABLE, is "
                "the disk ext4, XFS or Btrfs? " + then
            )
        found.append(Finding(SUBJECT, f"write once, {name}", level, word, then))
    return found


def _inbox(inbox: Row) -> Finding:
    text = f"{inbox['waiting']} records wait, the oldest for {inbox['oldest_s']:.1f} s"
    if inbox["waiting"] and inbox["oldest_s"] > WAITS_S:
        level: Level = "wrong" if inbox["oldest_s"] > WAITS_LONG_S else "warning"
        then = (
            "The recorder does not get to it: is it up, does the signer sign, is the store's "
            "disk full? Its log says."
        )
        return Finding(SUBJECT, "inbox", level, text, then)
    return well(SUBJECT, "inbox", text)


def _logs(logs: tuple[Row, ...]) -> list[Finding]:
    found = []
    for one in logs:
        if one["halted"]:
            then = (
                "Its tenant opens nothing. Somebody saw another history: an INCIDENT until "
                "it is explained"
                " (docs/operating/incident.md). `portcullis evidence collect` first; two "
                "people lift the halt."
            )
            found.append(
                Finding(SUBJECT, f"log {one['log']}", "wrong", f"halted: {one['halted']}", then)
            )
        elif one["found"]:
            then = (
                "Rows, tiles or copies are not what was signed: an INCIDENT "
                "(docs/operating/incident.md). Change"
                " nothing, restore nothing; `portcullis evidence collect`, then `portcullis "
                "audit check`."
            )
            text = f"differs at record {one['found_index']}: {one['found']}"
            found.append(Finding(SUBJECT, f"log {one['log']}", "wrong", text, then))
    fine = len(logs) - len(found)
    return [
        *found,
        well(SUBJECT, "logs", f"{fine} of {len(logs)} neither halted nor found to differ"),
    ]
