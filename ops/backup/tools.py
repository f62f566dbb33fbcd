"""Run PostgreSQL's own programs, and turn what they say into our words."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from psycopg.conninfo import make_conninfo

from ops.backup.layout import Damaged
from ops.backup.settings import APPLICATION, SLOT
from ops.stack.child import dying_with_parent
from ops.stack.postgres import binaries
from tenancy.errors import PortcullisError


class BackupFailed(PortcullisError):
    """A backup could not be made. What was there before is untouched."""

    code = "backup_failed"


def program(name: str) -> str:
    """Its path. Raises ConfigurationError where PostgreSQL's programs are not installed."""
    return str(binaries() / name)


def run(words: Sequence[str]) -> str:
    """Run one to its end; what it printed. Raises BackupFailed with the end of what it said."""
    command = dying_with_parent("TERM", list(words))
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-6:])
        raise BackupFailed(f"{Path(words[0]).name} ended with status {done.returncode}: {said}")
    return done.stdout


def base_backup(conninfo: str, into: Path, label: str) -> None:
    """pg_basebackup: a plain directory, complete with the WAL that it needs, and flushed to disk."""
    words = [program("pg_basebackup"), "--dbname", conninfo, "--pgdata", str(into)]
    words += ["--format=plain", "--wal-method=stream", "--checkpoint=fast", "--no-password"]
    run([*words, "--manifest-checksums=SHA256", f"--label={label}"])


def verify_base(directory: Path) -> None:
    """pg_verifybackup: every file against backup_manifest, and its WAL record by record. Raises Damaged."""
    try:
        run([program("pg_verifybackup"), "--exit-on-error", "--quiet", str(directory)])
    except BackupFailed as error:
        raise Damaged(f"the base backup in {directory} is damaged: {error}") from None


def receive(conninfo: str, into: Path) -> list[str]:
    """The command of pg_receivewal. It flushes what it gets at once, and says so to the server."""
    named = make_conninfo(conninfo, application_name=APPLICATION)
    words = [program("pg_receivewal"), "--dbname", named, "--directory", str(into)]
    words += [
        f"--slot={SLOT}",
        "--synchronous",
        "--no-loop",
        "--no-password",
        "--status-interval=1",
    ]
    return dying_with_parent("TERM", words)


def create_slot(conninfo: str) -> None:
    """The replication slot: from now on the server keeps the WAL that the archive does not have."""
    words = [program("pg_receivewal"), "--dbname", conninfo, f"--slot={SLOT}", "--no-password"]
    run([*words, "--create-slot", "--if-not-exists"])


def drop_old_wal(directory: Path, oldest_kept: str) -> None:
    """pg_archivecleanup: segments that no base backup needs any more."""
    run([program("pg_archivecleanup"), str(directory), oldest_kept])
