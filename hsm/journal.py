"""The daemon's journal of refusals: lines in files, durable before anybody is told of them.

`<state_dir>/refusals/<number of its first line>.jsonl`, one JSON object a line, numbered from 1
without a gap. A line is written whole, and the file is flushed to the disk (fsync) once for all
that have gathered; only then does the refusal go out.

- *Crash in the middle of a line*: nobody was told; the next start cuts the torn line off.
- *Crash after the flush*: the line stands, and the client asks again, which is another line.
- *The disk refuses*: JournalFailed. The daemon ends with status 75 and signs nothing until it can
  write again: what was refused without a witness might as well not have been refused.

Old files go when there are more than FILES_MOST, never because somebody says that he has read them:
a thief with the socket could say so too. A reader sees by the numbers that lines are gone.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

from hsm.errors import JournalFailed, MalformedRequest
from hsm.refusals import Refusal, line_of, read_line
from tenancy.errors import ConfigurationError

FILE_BYTES = 1024 * 1024
FILES_MOST = 256


class Journal:
    """Open for one process. Not for two threads at once."""

    def __init__(self, state_dir: Path) -> None:
        """Find the end, cut a torn line off. Raises JournalFailed, or ConfigurationError where
        another daemon has the directory."""
        self._directory = state_dir / "refusals"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(state_dir / "lock")
            self.id = _identity(state_dir / "journal-id")
            self._files = sorted(self._directory.glob("*.jsonl"))
            self.last = self._find_end() if self._files else 0
            self._open(append=bool(self._files))
        except OSError as error:
            raise JournalFailed(_in_words(self._directory, error)) from None

    def __repr__(self) -> str:
        return f"<Journal {self._directory} {self.last} lines>"

    def append(self, refusals: Sequence[Refusal]) -> None:
        """Write and flush. They are numbered from `last` + 1. Raises JournalFailed."""
        lines = b"".join(line_of(one) + b"\n" for one in refusals)
        try:
            if self._size > FILE_BYTES:
                os.close(self._file)
                self._open(append=False)
            _write(self._file, lines)
            os.fsync(self._file)
        except OSError as error:
            raise JournalFailed(_in_words(self._directory, error)) from None
        self._size += len(lines)
        self.last = refusals[-1].seq

    def read(self, after: int, most: int) -> list[Refusal]:
        """Those numbered above `after`, oldest first, so many at most. Raises JournalFailed."""
        found: list[Refusal] = []
        starts = [int(path.stem) for path in self._files]
        first = max(0, sum(start <= after + 1 for start in starts) - 1)
        try:
            for path in self._files[first:]:
                for line in path.read_bytes().splitlines():
                    refusal = read_line(line)
                    if refusal.seq > after:
                        found.append(refusal)
                    if len(found) >= most:
                        return found
        except OSError as error:
            raise JournalFailed(_in_words(self._directory, error)) from None
        except MalformedRequest as error:
            raise JournalFailed(f"the journal in {self._directory} is damaged: {error}") from None
        return found

    def close(self) -> None:
        os.close(self._file)
        os.close(self._lock)

    def _find_end(self) -> int:
        """The number of the last whole line; what stands behind it is cut off."""
        path = self._files[-1]
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(path, len(whole))
        if not whole:
            return int(path.stem) - 1
        try:
            return read_line(whole.splitlines()[-1]).seq
        except MalformedRequest as error:
            raise JournalFailed(f"the journal in {self._directory} is damaged: {error}") from None

    def _open(self, *, append: bool) -> None:
        """The last file to go on with, or the next one; the oldest make room."""
        if not append:
            self._files.append(self._directory / f"{self.last + 1:016}.jsonl")
        self._file = os.open(
            self._files[-1], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        self._size = os.fstat(self._file).st_size
        os.fsync(self._file)
        _flush_directory(self._directory)
        while len(self._files) > FILES_MOST:
            self._files.pop(0).unlink()


def next_epoch(state_dir: Path) -> int:
    """Which start of this daemon this is: counted in `<state_dir>/epoch`. Raises JournalFailed."""
    path = state_dir / "epoch"
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        epoch = int(path.read_text()) + 1 if path.exists() else 1
        fresh = path.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(f"{epoch}\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _flush_directory(state_dir)
    except OSError as error:
        raise JournalFailed(_in_words(state_dir, error)) from None
    except ValueError:
        raise ConfigurationError(
            f"{path} holds no number: it was written by somebody else"
        ) from None
    return epoch


def _identity(path: Path) -> UUID:
    """The journal's own name: whoever counts its lines knows by it that it is still the same one."""
    if path.exists():
        return UUID(path.read_text().strip())
    fresh = uuid4()
    with path.open("w") as file:
        file.write(f"{fresh}\n")
        file.flush()
        os.fsync(file.fileno())
    return fresh


def _locked(path: Path) -> int:
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ConfigurationError(f"another daemon keeps its journal in {path.parent}") from None
    return handle


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _flush_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _in_words(path: Path, error: OSError) -> str:
    return f"refusals cannot be kept in {path}: {error.strerror}"
