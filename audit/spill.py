"""Evidence that cannot wait for PostgreSQL: an append-only file on this host, durable before the act.

Only for what makes risk smaller (fanout/spill.py says exactly what). The order of the writes:

1. `append()` encrypts the line, chains it to the one before, writes it and fsyncs. Only then does the
   caller act. *Crash before: no line, no act. In the middle: an unfinished last line, which nobody has
   acted on; `read()` leaves it out. After: whoever drains the file finds it.*
2. When PostgreSQL is back the line goes into the audit log's inbox, in one transaction with a row of
   `audit_spills` that makes it go there once (fanout/spill_drain.py).
3. When every line of the file is in, the file is removed. *Crash before: the same lines are found, and
   `audit_spills` knows them.*

A file belongs to the process that holds its lock (flock), which ends with the process: what a dead
process has left, the next one takes over. The file:

    header  "portcullis-spill/v1\\n", the file's id (16 bytes), salt (32)
    line    length of the ciphertext (4, big-endian), nonce (12), ciphertext, chain (32)

AES-256-GCM; the associated data is the id and the line's number from 1. `chain` is HMAC-SHA256 over the
chain value before it (for the first line: over the header), the number, the nonce and the ciphertext.
Both keys come by HKDF-SHA256 (RFC 5869) from the host's spill key and the salt. So a line that is
altered, swapped or taken out of the middle stops the draining of its file, loudly. That the *last* lines
were cut off shows nowhere in the file itself: whoever can do that on this host holds its disk.

Standard library and `cryptography` only.
"""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from audit.malformed import Malformed

MAGIC = b"portcullis-spill/v1\n"
HEADER_BYTES = len(MAGIC) + 16 + 32
KEY_BYTES = 32
NONCE_BYTES, CHAIN_BYTES = 12, 32
LONGEST_LINE = 1 << 20
SUFFIX = ".spill"


class Line(NamedTuple):
    """One durable line of a file; `number` counts from 1."""

    spill_id: UUID
    number: int
    payload: bytes


class Spill:
    """A new file, and the lock on it, of this process alone."""

    def __init__(self, directory: Path, key: bytes) -> None:
        """Makes the file and fsyncs it and its directory. Raises OSError."""
        self.spill_id = uuid4()
        self.path = directory / f"{self.spill_id}{SUFFIX}"
        header = MAGIC + self.spill_id.bytes + os.urandom(32)
        self._aes, self._mac = _keys(key, header)
        self._chain = hmac.digest(self._mac, header, "sha256")
        self.lines = 0
        self._broken = False
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        unnamed = directory / f".new-{self.spill_id}"
        self._descriptor = os.open(unnamed, flags, 0o600)
        # Locked before it has its name: nobody finds it who could think that it was left behind.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        _write(self._descriptor, header)
        os.fsync(self._descriptor)
        unnamed.rename(self.path)
        _fsync_directory(directory)

    def __repr__(self) -> str:
        return f"Spill({self.spill_id}, {self.lines} lines)"

    def append(self, payload: bytes) -> Line:
        """The line, durable when this returns; blocks for one fsync.

        Raises OSError where the disk refuses: then nothing may be acted on, now or later in this
        file, because nobody knows what of the line is there.
        """
        if self._broken or len(payload) > LONGEST_LINE:
            raise OSError("this spill takes no more lines")
        number = self.lines + 1
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._aes.encrypt(nonce, payload, _name(self.spill_id, number))
        chain = hmac.digest(self._mac, self._chain + _number(number) + nonce + sealed, "sha256")
        self._broken = True
        _write(self._descriptor, struct.pack(">I", len(sealed)) + nonce + sealed + chain)
        os.fsync(self._descriptor)
        self._broken = False
        self._chain, self.lines = chain, number
        return Line(self.spill_id, number, payload)

    def close(self) -> None:
        """Let go of the lock: whoever finds the file now may drain it."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """Every line is in the log: the file goes, while it is still ours."""
        self.path.unlink(missing_ok=True)
        self.close()


def read(data: bytes, key: bytes) -> list[Line]:
    """The durable lines of a file, without an unfinished last one. Raises Malformed for any other flaw."""
    if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
        raise Malformed("not a spill of version 1")
    header = data[:HEADER_BYTES]
    spill_id = UUID(bytes=header[len(MAGIC) : len(MAGIC) + 16])
    aes, mac = _keys(key, header)
    chain, at, lines = hmac.digest(mac, header, "sha256"), HEADER_BYTES, list[Line]()
    while at + 4 + NONCE_BYTES <= len(data):
        number = len(lines) + 1
        (length,) = struct.unpack_from(">I", data, at)
        body, end = at + 4 + NONCE_BYTES, at + 4 + NONCE_BYTES + length
        if length > LONGEST_LINE + 16:
            raise Malformed(f"line {number} of spill {spill_id} is longer than any line")
        if end + CHAIN_BYTES > len(data):
            break
        nonce, sealed = data[at + 4 : body], data[body:end]
        wanted = hmac.digest(mac, chain + _number(number) + nonce + sealed, "sha256")
        if not hmac.compare_digest(wanted, data[end : end + CHAIN_BYTES]):
            raise Malformed(f"line {number} of spill {spill_id} is not what was written")
        try:
            payload = aes.decrypt(nonce, sealed, _name(spill_id, number))
        except InvalidTag:
            raise Malformed(f"line {number} of spill {spill_id} does not open") from None
        lines.append(Line(spill_id, number, payload))
        chain, at = wanted, end + CHAIN_BYTES
    return lines


@contextmanager
def left_behind(path: Path) -> Iterator[bytes | None]:
    """The bytes of a file whose process is gone, ours while the context lasts; None: somebody has it.

    Raises OSError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            # Somebody else may have drained and removed it between the open and the lock.
            yield path.read_bytes() if path.exists() else None
    finally:
        os.close(descriptor)


def host_key(path: Path) -> bytes:
    """The host's spill key; made at the first call, readable by its owner alone. Raises OSError, Malformed.

    It must be there when PostgreSQL is not, so it is a file. It keeps the lines from whoever finds the
    disk's files without it (a backup, a support bundle); production gives it by systemd's LoadCredential.
    """
    if not path.exists():
        unnamed = path.with_name(f".new-{uuid4()}")
        descriptor = os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            _write(descriptor, os.urandom(KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with contextlib.suppress(
            FileExistsError
        ):  # of two that come at once, the first one's stands
            os.link(unnamed, path)
        unnamed.unlink()
        _fsync_directory(path.parent)
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise Malformed(f"{path} holds {len(key)} bytes; a spill key has {KEY_BYTES}")
    return key


def _keys(key: bytes, header: bytes) -> tuple[AESGCM, bytes]:
    salt = header[len(MAGIC) + 16 :]
    both = HKDF(SHA256(), 2 * KEY_BYTES, salt, b"portcullis/spill/v1").derive(key)
    return AESGCM(both[:KEY_BYTES]), both[KEY_BYTES:]


def _name(spill_id: UUID, number: int) -> bytes:
    return spill_id.bytes + _number(number)


def _number(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
