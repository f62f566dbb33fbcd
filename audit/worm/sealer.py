"""Set the immutable flag on a log's finished files: the one process that holds CAP_LINUX_IMMUTABLE.

    python -m audit.worm.sealer --socket PATH --store DIR [--store DIR …]

1. At the start drop every other capability; look whether the flag can be set here (a file of the
   sealer's own, whose flag it takes off again), and say plainly where it cannot.
2. Walk the stores and seal what is finished and not sealed: what a crash, or a time without us, left.
   Again every `--scan-every-s`.
3. Meanwhile seal what the recorder names over the Unix socket, and answer what was seen to stand.

Full tiles and bundles and manifest segments of a log (`<store>/<log id>/…`) are sealed, by their
names; never a partial tile, `checkpoint`, `vkey` or anything through a symbolic link. There is no
request that takes a flag off. So a recorder that was taken over can at worst make a file of its own
permanent, which it could not change later either.

Requests and answers are one JSON object a line: `{"store": DIR, "seal": [NAME, …]}` is answered by
`{"sealed": [true, …]}`, `{"store": DIR, "probe": true}` by `{"holds": true}` or `{"holds": false,
"why": …}`, anything else by `{"error": …}`. Only this user and root are listened to.

ioctl_iflags(2) wants the file's owner: run it as the recorder's user with the one ambient
capability, and the recorder without (docs/operating/worm.md has the unit). A neighbour of the same
user cannot look into it or take it over: it is not dumpable, and has a right that they lack.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import stat
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from audit.malformed import Malformed
from audit.manifest import number_of
from audit.merkle import HASH_SIZE
from audit.tiles import ENTRIES, WIDTH, parse_path
from audit.worm import rights
from audit.worm.immutable import is_immutable, make_immutable, make_mutable
from tenancy import systemd

REQUEST_BYTES_MAX = 1 << 20
SCAN_EVERY_S = 3600.0
PROBE = ".sealer-probe"

log = structlog.get_logger()


def seals(name: str, size: int | None = None) -> bool:
    """Whether a file of this name, `<log id>/…`, is one that is finished once it exists."""
    log_id, _, inner = name.partition("/")
    try:
        if str(UUID(log_id)) != log_id:
            return False
        if inner.startswith("manifest/"):
            number_of(inner)
            return True
        tile = parse_path(inner)
    except (ValueError, Malformed):
        return False
    whole = tile.level == ENTRIES or size in (None, WIDTH * HASH_SIZE)
    return tile.is_full and whole


def seal(store: Path, name: str) -> bool:
    """Seal one file; whether it is seen to be immutable afterwards. Never raises for a file."""
    if not seals(name):
        return False
    try:
        descriptor = _open_beneath(store, name)
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not seals(name, found.st_size):
            return False
        if not is_immutable(descriptor):
            try:
                make_immutable(descriptor)
            except OSError:
                return False
        return is_immutable(descriptor)
    finally:
        os.close(descriptor)


def probe(store: Path) -> str | None:
    """Why the flag cannot be set in this store; None where it can."""
    path = store / PROBE
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
    except OSError as error:
        return f"no file can be made in {store}: {error.strerror}"
    try:
        make_immutable(descriptor)
        if not is_immutable(descriptor):
            return f"the file system of {store} does not keep the flag"
        make_mutable(descriptor)
    except PermissionError:
        return "the sealer lacks CAP_LINUX_IMMUTABLE"
    except OSError as error:
        return f"the file system of {store} has no immutable flag: {error.strerror}"
    finally:
        os.close(descriptor)
        _remove(path)
    return None


def scan(store: Path) -> tuple[int, int]:
    """Step 2: how many finished files are sealed now, and how many are not."""
    sealed = loose = 0
    for name in _finished(store):
        if seal(store, name):
            sealed += 1
        else:
            loose += 1
    return sealed, loose


def _finished(store: Path) -> Iterator[str]:
    for directory, _, files in os.walk(store):  # follows no symbolic links
        below = Path(directory).relative_to(store)
        yield from (name for file in files if seals(name := str(below / file)))


def _open_beneath(store: Path, name: str) -> int:
    """The file, by directories that are directories and not links. Raises OSError."""
    *directories, last = name.split("/")
    current = os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in directories:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            inner = os.open(part, flags, dir_fd=current)
            os.close(current)
            current = inner
        return os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
    finally:
        os.close(current)


class Sealer:
    """Answers the recorder, and scans."""

    def __init__(self, stores: Sequence[Path], scan_every_s: float = SCAN_EVERY_S) -> None:
        self._stores = {str(store): store for store in stores}
        self._scan_every_s = scan_every_s

    async def run(self, path: Path, stop: asyncio.Event) -> None:
        """Listen on `path` until `stop`. Raises OSError where that cannot be."""
        for name, store in self._stores.items():
            why = probe(store)
            if why is not None:
                log.error("audit_worm_advisory", store=name, why=why)
        _remove(path)
        old = os.umask(0o117)  # the socket: this user and group
        try:
            server = await asyncio.start_unix_server(
                self._serve, str(path), limit=REQUEST_BYTES_MAX
            )
        finally:
            os.umask(old)
        log.info("audit_sealer_runs", stores=list(self._stores))
        scanning = asyncio.create_task(self._scan())
        try:
            async with systemd.working():
                await stop.wait()
        finally:
            scanning.cancel()
            server.close()
            _remove(path)
            await asyncio.gather(scanning, return_exceptions=True)

    async def _scan(self) -> None:
        while True:
            for name, store in self._stores.items():
                sealed, loose = await asyncio.to_thread(scan, store)
                say = log.warning if loose else log.info
                say("audit_store_scanned", store=name, sealed=sealed, loose=loose)
            await asyncio.sleep(self._scan_every_s)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if _peer(writer) not in (0, os.getuid()):
                return
            while line := await reader.readline():
                writer.write(json.dumps(self.answer(line)).encode() + b"\n")
                await writer.drain()
        except (ValueError, OSError):  # a line too long, a peer that went away
            pass
        finally:
            writer.close()

    def answer(self, line: bytes) -> dict[str, Any]:
        """The answer to one request. Never raises."""
        try:
            asked = json.loads(line)
            store = self._stores[asked["store"]]
            if asked.get("probe") is True:
                why = probe(store)
                return {"holds": True} if why is None else {"holds": False, "why": why}
            return {"sealed": [seal(store, str(name)) for name in asked["seal"]]}
        except (ValueError, KeyError, TypeError, AttributeError):
            return {"error": "not a request that the sealer knows"}


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except PermissionError:  # a probe whose flag could not be taken off again: the next one tries
        pass


def _peer(writer: asyncio.StreamWriter) -> int:
    sock = writer.get_extra_info("socket")
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


async def _until_told(sealer: Sealer, path: Path) -> None:
    stop = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stop.set)
    await sealer.run(path, stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until SIGTERM. Status 1 where a store or the socket's directory is not there."""
    parser = argparse.ArgumentParser(prog="python -m audit.worm.sealer", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True, action="append")
    parser.add_argument("--scan-every-s", type=float, default=SCAN_EVERY_S)
    given = parser.parse_args(arguments)
    rights.keep_only(rights.CAP_LINUX_IMMUTABLE)
    try:
        asyncio.run(_until_told(Sealer(given.store, given.scan_every_s), given.socket))
    except OSError as error:
        log.error("audit_sealer_cannot_run", why=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
