"""A copy of SoftHSM's tokens that is worth nothing to whoever finds it, and the way back from it.

For SoftHSM alone: its tokens are files. Hardware has its vendor's way (docs/hsm/profiles.md), and a file
copy of it would be none. The copy has the token directory, the records of ceremonies and the file of held
PINs, as one tar archive, encrypted by AES-256-GCM under a key that scrypt makes of a passphrase. It has no
PIN in clear: files that hold one are backed up apart, or a quorum holds them (hsm/holders.py).

Writing: everything is read, encrypted and written under a name that does not exist yet. *Crash: a part of a
file, which does not open.* Restoring: the whole copy is opened and checked first, then unpacked beside the
place and moved there by one rename. *Crash: a directory `….restoring`, to be removed.* It never goes over
tokens that are there.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from hsm.errors import CeremonyRefused, PinRefused
from tenancy.errors import UNREADABLE, Invalid

PARTS = ("tokens", "records", "held-pins.json")
"""What of `<var>/hsm` is in it. SoftHSM's configuration is not: it names this host's directories."""
LEAST_PASSPHRASE = 16
SCRYPT_N = 2**17
_MAGIC = b"portcullis/hsm-backup/v1\n"
_MOST_BYTES = 2**31 - 1


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    salt: bytes
    nonce: bytes
    n: int


def back_up(directory: Path, file: Path, passphrase: str) -> int:
    """Copy `<var>/hsm` into a new file; how many files are in it. Raises Invalid, CeremonyRefused."""
    if len(passphrase) < LEAST_PASSPHRASE:
        raise Invalid(f"a passphrase of at least {LEAST_PASSPHRASE} characters is needed")
    if not (directory / "tokens").is_dir():
        raise CeremonyRefused(f"there are no tokens in {directory}")
    plain, count = _packed(directory)
    head = _Head(os.urandom(16), os.urandom(12), SCRYPT_N)
    line = msgspec.json.encode(head) + b"\n"
    sealed = AESGCM(_key(passphrase, head)).encrypt(head.nonce, plain, _MAGIC + line)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CeremonyRefused(f"{file} exists; nothing was written") from None
    with os.fdopen(descriptor, "wb") as out:
        out.write(_MAGIC + line + sealed)
        out.flush()
        os.fsync(out.fileno())
    return count


def restore(file: Path, directory: Path, passphrase: str) -> int:
    """Put a copy where no tokens are. Raises Invalid, PinRefused, CeremonyRefused."""
    there = [name for name in PARTS if _is_something(directory / name)]
    if there:
        raise CeremonyRefused(f"{directory} has {', '.join(there)} already; nothing was changed")
    plain = _opened(file.read_bytes(), passphrase)
    fresh = directory.with_name(directory.name + ".restoring")
    fresh.mkdir(mode=0o700, parents=True)
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        members = archive.getmembers()
        _require_plain(members)
        archive.extractall(fresh, members=members)  # noqa: S202 - they were looked at
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in PARTS:
        if (fresh / name).exists():
            if (directory / name).is_dir():
                (directory / name).rmdir()  # empty, as it was looked at above
            (fresh / name).rename(directory / name)
    fresh.rmdir()
    return sum(member.isfile() for member in members)


def _require_plain(members: Sequence[tarfile.TarInfo]) -> None:
    """Files and directories under their own names, and nothing else. (Debian 12's Python has no filter.)"""
    for member in members:
        path = PurePosixPath(member.name)
        plain = member.isfile() or member.isdir()
        if not plain or path.is_absolute() or ".." in path.parts or path.parts[0] not in PARTS:
            raise Invalid(f"the copy holds {member.name!r}, which no copy of ours does")


def _packed(directory: Path) -> tuple[bytes, int]:
    buffer, count = io.BytesIO(), 0
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in PARTS:
            for path in sorted([directory / name, *(directory / name).rglob("*")]):
                if path.is_symlink() or not (path.is_dir() or path.is_file()):
                    continue
                archive.add(path, arcname=str(path.relative_to(directory)), recursive=False)
                count += path.is_file()
    if buffer.tell() > _MOST_BYTES:
        raise Invalid("the tokens have more than 2 GiB: SoftHSM is not for so many keys")
    return buffer.getvalue(), count


def _opened(data: bytes, passphrase: str) -> bytes:
    line, separator, sealed = data.removeprefix(_MAGIC).partition(b"\n")
    if not data.startswith(_MAGIC) or not separator:
        raise Invalid("this is no copy of an HSM's tokens (portcullis/hsm-backup/v1)")
    try:
        head = msgspec.json.decode(line, type=_Head)
        if head.n != SCRYPT_N:
            raise Invalid(f"a copy under scrypt with n = {head.n} was not made here")
        return AESGCM(_key(passphrase, head)).decrypt(head.nonce, sealed, _MAGIC + line + b"\n")
    except UNREADABLE as error:
        raise Invalid(f"the head of the copy cannot be read: {error}") from None
    except (InvalidTag, ValueError):
        raise PinRefused("the copy does not open: another passphrase, or it was altered") from None


def _key(passphrase: str, head: _Head) -> bytes:
    """128 MiB and about half a second: a guess costs as much."""
    return Scrypt(salt=head.salt, length=32, n=head.n, r=8, p=1).derive(passphrase.encode())


def _is_something(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(path.iterdir()))
