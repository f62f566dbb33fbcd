"""The archive: would a restore now be whole, and if this host or all hosts were lost, what would be missing?"""

from __future__ import annotations

from typing import NamedTuple

import psycopg

from ops.backup import standing
from ops.backup.settings import BackupSettings
from ops.doctor.finding import Finding, well
from ops.doctor.looking import Ground, in_thread

SUBJECT = "backup"
CONNECT_WITHIN_S = 3


class Seen(NamedTuple):
    """`look`: None where PostgreSQL did not answer the archive's role; `why` says how."""

    look: standing.Look | None
    why: str = ""


async def examine(ground: Ground) -> list[Finding]:
    backup = ground.settings.backup
    if backup is None:
        return []
    return [judge(await in_thread(look, backup), backup.synchronous)]


def look(backup: BackupSettings) -> Seen:
    try:
        with psycopg.connect(backup.database, connect_timeout=CONNECT_WITHIN_S) as conn:
            return Seen(standing.look(conn))
    except psycopg.Error as error:
        return Seen(None, " ".join(str(error).split()) or type(error).__name__)


def judge(seen: Seen, wanted: bool) -> Finding:
    if seen.look is None:
        then = "Is the primary there, is the certificate or the passfile of portcullis_backup readable here?"
        return Finding(SUBJECT, "archive", "unseen", seen.why, then)
    why = standing.why_not(seen.look, wanted)
    if why is not None:
        then = "docs/operating/backup.md, What happens when. Until it is mended a restore is not whole."
        return Finding(SUBJECT, "archive", "wrong", why, then)
    return well(
        SUBJECT,
        "archive",
        f"{recovery_point(seen.look)}; {seen.look.behind_bytes:.0f} bytes behind",
    )


def recovery_point(look: standing.Look) -> str:
    """What a restore from the archive alone would lack. Pure."""
    if look.synchronous:
        return "commits wait for it: a restore lacks nothing that was acknowledged"
    if look.patroni:
        return (
            "commits wait for Patroni's standby, not for it: the loss of a host costs nothing, a restore from the"
            " archive alone lacks what it is behind"
        )
    return "commits do not wait for it: with PostgreSQL's disk is lost what it is behind"
