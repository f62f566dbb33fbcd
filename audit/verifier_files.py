"""Where a verifier finds a log's files: a directory, or an address that serves one. Trusted for nothing.

A directory can be listed, so that files which no log has are noticed and every partial tile that was
left behind is compared too. An address serves names that one must know (C2SP tlog-tiles): exactly
the files of the signed size are asked for. Standard library only.
"""

from __future__ import annotations

import gzip
import io
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

LARGEST_FILE = 256 * (2 + 0xFFFF)
"""Bytes of the longest entry bundle; nothing longer is read from an address."""
TIMEOUT_S = 30.0
TEMPORARY = ".new-"
"""Begins the name of a file that is being written (audit/worm/posix.py)."""


class Source(Protocol):
    """A log's files by their names. It is sent to other processes: no open files in it."""

    def read(self, name: str) -> bytes | None:
        """The bytes, or None where there is no such file. Raises OSError where it cannot be told."""
        ...

    def names(self) -> Iterator[str] | None:
        """All names under tile/, or None where they cannot be listed."""
        ...


@dataclass(frozen=True)
class Directory:
    """A log's directory: it holds `checkpoint` and `tile/`."""

    root: Path

    def read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def names(self) -> Iterator[str]:
        for directory, _, files in os.walk(self.root / "tile"):
            below = os.path.relpath(directory, self.root).replace(os.sep, "/")
            yield from (f"{below}/{name}" for name in files if not name.startswith(TEMPORARY))


@dataclass(frozen=True)
class Address:
    """A log served over HTTP below `prefix`. Follows no redirect to anything but HTTP(S)."""

    prefix: str

    def read(self, name: str) -> bytes | None:
        asked = urllib.request.Request(  # noqa: S310 - the opener below knows HTTP(S) only
            f"{self.prefix.rstrip('/')}/{name}", headers={"Accept-Encoding": "gzip, identity"}
        )
        try:
            with _opener().open(asked, timeout=TIMEOUT_S) as answer:
                data = answer.read(LARGEST_FILE + 1)
                packed = answer.headers.get("Content-Encoding", "").lower() == "gzip"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (404, 410):
                return None
            raise OSError(f"{name}: the server answered {error.code}") from None
        except urllib.error.URLError as error:
            raise OSError(f"{name}: {error.reason}") from None
        if packed:
            data = _unpacked(name, data)
        if len(data) > LARGEST_FILE:
            raise OSError(f"{name}: more than {LARGEST_FILE} bytes")
        return data

    def names(self) -> None:
        return None


def source_of(place: str) -> Source:
    """What an operator named: an address where it begins like one, else a directory."""
    if place.startswith(("http://", "https://")):
        return Address(place)
    return Directory(Path(place))


def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPRedirectHandler(), urllib.request.ProxyHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


def _unpacked(name: str, data: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            return file.read(LARGEST_FILE + 1)
    except (OSError, EOFError) as error:
        raise OSError(f"{name}: not gzip: {error}") from None
