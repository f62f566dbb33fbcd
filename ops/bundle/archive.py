"""An archive that is the same, bit for bit, for the same files: in order, root's, all of one time."""

from __future__ import annotations

import tarfile
from pathlib import Path

from ops.bundle.names import UNSUMMED


def write(directory: Path, top: str, archive: Path, epoch: int) -> None:
    """Everything below `directory`, under the one directory `top`. Raises OSError.

    The sums and their signature come last: an archive that was cut short, or unpacked halfway, has no signature.
    """
    paths = sorted(directory.rglob("*"), key=lambda path: (path.name in UNSUMMED, path.as_posix()))
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in [directory, *paths]:
            name = Path(top, path.relative_to(directory)).as_posix()
            info = _plain(tar.gettarinfo(path, arcname=name), epoch)
            if info.isreg():
                with path.open("rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)


def _plain(info: tarfile.TarInfo, epoch: int) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    info.mtime = epoch
    info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
    if info.islnk():  # two names of one file are two files elsewhere
        raise OSError(f"{info.name} is a hard link to {info.linkname}")
    return info
