"""Each file of a SoftHSM token belongs to whom the token belongs to, also those that root's ceremony just made.

On a dedicated host a token's files are its daemon's alone (0600), and the directory is root's: the daemon can
neither add a key nor take one away. A ceremony is held by root, and SoftHSM gives every file that it makes to who
holds it, 0600: the daemon would not find the new keys. So whose `token.object` is, theirs is the whole token.
For hardware there is nothing to do, nor where one user does everything.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

ITSELF = "token.object"
_DIRECTORY = re.compile(r"^\s*directories\.tokendir\s*=\s*(\S+)\s*$", re.MULTILINE)


def hand_over(softhsm_conf: Path | None) -> list[Path]:
    """Give what root made to each token's owner, and say which files. Raises OSError."""
    found = _DIRECTORY.search(softhsm_conf.read_text()) if softhsm_conf is not None else None
    if found is None or os.geteuid() != 0:
        return []
    given = []
    for token in sorted(Path(found[1]).glob(f"*/{ITSELF}")):
        owner = token.stat()
        for path in _files(token.parent):
            if _ids(path.lstat()) != _ids(owner):
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
                given.append(path)
    return given


def _files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if stat.S_ISREG(path.lstat().st_mode):
            yield path


def _ids(of: os.stat_result) -> tuple[int, int]:
    return of.st_uid, of.st_gid
