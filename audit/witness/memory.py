"""What a witness remembers, in one SQLite file: the logs that it knows, and what it cosigned of each.

1. `BEGIN IMMEDIATE`: of two requests one waits for the other (C2SP tlog-witness, the race at the end of
   "add-checkpoint"). 2. Compare with what is remembered. 3. Write the new head, cosignature and all.
4. Commit, flushed to disk. Only now does the cosignature leave. *Crash before 4: nothing was said.
After: the log asks again, is told the size by a 409, and gets a cosignature of the same tree.*

A restored older copy of the file would make the witness forget what it vouched for: a witness that
lost its file begins with a new key.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from audit.malformed import Malformed
from audit.note import VerifierKey
from audit.witness.decide import Seen

_SCHEMA = """
CREATE TABLE keys (
    origin TEXT NOT NULL,
    vkey   TEXT NOT NULL,
    PRIMARY KEY (origin, vkey)
) STRICT;
CREATE TABLE heads (
    origin TEXT PRIMARY KEY,
    hash   TEXT NOT NULL UNIQUE,   -- SHA-256 of the origin, hex: the monitors' address
    size   INTEGER NOT NULL CHECK (size >= 0),
    root   BLOB NOT NULL CHECK (length(root) = 32),
    time   INTEGER NOT NULL,       -- of the last cosignature, POSIX seconds
    note   BLOB NOT NULL           -- the checkpoint with the log's signatures and ours
) STRICT;
CREATE TRIGGER grows BEFORE UPDATE ON heads
WHEN NEW.size < OLD.size OR (NEW.size = OLD.size AND NEW.root <> OLD.root)
BEGIN SELECT RAISE(ABORT, 'a head only grows'); END;
CREATE TRIGGER stays BEFORE DELETE ON heads BEGIN SELECT RAISE(ABORT, 'a head stays'); END;
PRAGMA user_version = 1;
"""


@dataclass(frozen=True)
class Known:
    """A log as `list` shows it. `size`: None where nothing was cosigned yet."""

    origin: str
    keys: tuple[str, ...]
    size: int | None
    time: int | None


@dataclass(frozen=True)
class Cosigned:
    """A head about to be remembered, and the note that goes with it."""

    size: int
    root: bytes
    time: int
    note: bytes


class Memory:
    """Opened anew for each use: any thread may hold one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self) -> None:
        """Make the file. Raises FileExistsError."""
        self._path.touch(mode=0o600, exist_ok=False)
        with closing(self._connect()) as conn:
            conn.execute("PRAGMA journal_mode = WAL")
            conn.executescript(_SCHEMA)

    def add(self, origin: str, key: VerifierKey) -> None:
        """From now on `key` is trusted for `origin`. Raises Malformed for an origin of two lines."""
        if not origin or any(character < " " for character in origin):
            raise Malformed("an origin is one line, not empty")
        with self._writing() as conn:
            conn.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", (origin, str(key)))

    def keys(self, origin: str) -> list[VerifierKey]:
        """Those trusted for the origin; none where it is unknown."""
        with closing(self._open()) as conn:
            rows = conn.execute("SELECT vkey FROM keys WHERE origin = ?", (origin,)).fetchall()
        return [VerifierKey.parse(row[0]) for row in rows]

    def logs(self) -> list[Known]:
        """Every log that is known, by origin."""
        with closing(self._open()) as conn:
            rows = conn.execute(
                "SELECT k.origin, group_concat(k.vkey, char(10)), h.size, h.time FROM keys k"
                " LEFT JOIN heads h USING (origin) GROUP BY k.origin ORDER BY k.origin"
            ).fetchall()
        return [Known(row[0], tuple(row[1].split("\n")), row[2], row[3]) for row in rows]

    def note_of(self, origin_hash: str) -> bytes | None:
        """The latest checkpoint with its cosignature; by the SHA-256 of its origin, hex."""
        with closing(self._open()) as conn:
            row = conn.execute("SELECT note FROM heads WHERE hash = ?", (origin_hash,)).fetchone()
        return None if row is None else bytes(row[0])

    def advance(self, origin: str, decide: Callable[[Seen | None, int], Cosigned]) -> Cosigned:
        """Steps 1 to 4. `decide`: from the head as it stands, and the time of its cosignature, to the
        next; what it raises leaves everything as it was. Raises sqlite3.Error."""
        with self._writing() as conn:
            row = conn.execute(
                "SELECT size, root, time FROM heads WHERE origin = ?", (origin,)
            ).fetchone()
            seen = None if row is None else Seen(row[0], bytes(row[1]))
            made = decide(seen, 0 if row is None else row[2])
            conn.execute(
                "INSERT INTO heads (origin, hash, size, root, time, note) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root,"
                " time = excluded.time, note = excluded.note",
                (origin, hash_of(origin), made.size, made.root, made.time, made.note),
            )
        return made

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with closing(self._open()) as conn:
            conn.execute("BEGIN IMMEDIATE")
            try:
                yield conn
            except BaseException:
                conn.execute("ROLLBACK")
                raise
            conn.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        if not self._path.is_file():  # sqlite3 would make an empty one
            raise FileNotFoundError(f"{self._path}: no witness was made here")
        return self._connect()

    def _connect(self) -> sqlite3.Connection:
        conn = sqlite3.connect(self._path, timeout=10.0, isolation_level=None)
        conn.execute("PRAGMA synchronous = FULL")
        return conn


def hash_of(origin: str) -> str:
    """How a log is named in the monitors' address."""
    return sha256(origin.encode()).hexdigest()
