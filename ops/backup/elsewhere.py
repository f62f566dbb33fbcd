"""`portcullis backup prepare` on a server that others run: what is theirs is asked for in words, never changed.

1. The role `portcullis_backup` and its way in: whoever runs the server makes them; refused with the statements.
2. The slot. Patroni keeps the slots that its configuration names and removes every other: it has to be named
   there. On any other server it is made.
3. Whom commits wait for. Under Patroni that is Patroni's choice, and `synchronous` is possible for one member
   alone; an ALTER SYSTEM would stand above that choice, so none is ever made or proposed.
4. The repository, last: where it stands, 1 to 3 were right.
"""

from __future__ import annotations

import psycopg

from ops.backup import standing, tools
from ops.backup.layout import Places, Repository
from ops.backup.prepare import STANDBYS, STATEMENTS, identity, make_repository, wanted
from ops.backup.settings import APPLICATION, SLOT
from ops.settings import Settings
from tenancy.errors import ConfigurationError

PATRONIS_SLOT = (
    "Patroni's configuration does not name the slot of the archive, and Patroni removes every slot that it does"
    f" not name: `patronictl edit-config -s slots.{SLOT}.type=physical` (the role postgresql does so), then"
    " prepare again"
)


def prepare(settings: Settings) -> Repository:
    """All four. Raises ConfigurationError with what is to be done by whoever runs the server."""
    backup = wanted(settings)
    try:
        conn = psycopg.connect(backup.database, autocommit=True)
    except psycopg.OperationalError as error:
        raise ConfigurationError(
            f"PostgreSQL does not let the archive in ({str(error).strip()}). Is [backup] database right? Its role,"
            f" as PostgreSQL's superuser:\n{STATEMENTS}"
        ) from error
    with conn:
        found = standing.look(conn)
        row = conn.execute("SELECT current_setting('synchronous_standby_names')").fetchone()
        assert row is not None
        if (why := refusal(found, backup.synchronous, row[0])) is not None:
            raise ConfigurationError(why)
        if not found.patroni:
            tools.create_slot(backup.database)
        made = identity(conn, settings)
        make_repository(Places(backup.directory), made)
    return made


def refusal(found: standing.Look, synchronous: bool, standbys: str) -> str | None:
    """Why nothing can be prepared yet, and who has to do what; None: it can. Pure."""
    if found.overrides_patroni:
        return standing.OVERRIDDEN
    if found.patroni and found.slot is None:
        return PATRONIS_SLOT
    if synchronous == (APPLICATION in standbys):
        return None
    if found.patroni:
        return standing.NOT_PATRONIS if synchronous else None
    if synchronous:
        return f"in postgresql.conf: synchronous_standby_names = '{STANDBYS}'; or [backup] synchronous = false"
    return (
        "commits wait for the archive (synchronous_standby_names): take it out there, or `synchronous = true`"
        " in [backup]"
    )
