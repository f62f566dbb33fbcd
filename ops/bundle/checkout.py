"""The checkout that a bundle is made of: its commit, what differs from it, its version, and a copy of its files.

Everything afterwards is read from the copy: what somebody changes meanwhile, and what git ignores, is not in it.
"""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import NamedTuple

from ops.bundle.failed import BundleFailed, run

NAME = "portcullis"


class Checkout(NamedTuple):
    """`time`: of the commit, seconds since 1970. `changed`: files that are not as the commit has them."""

    version: str
    commit: str
    time: int
    changed: tuple[str, ...]


def look(root: Path) -> Checkout:
    """Raises BundleFailed where this is no checkout of ours."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise BundleFailed(f"{root} is no checkout of {NAME}: pyproject.toml: {error}") from None
    if project.get("name") != NAME:
        raise BundleFailed(f"{root} holds {project.get('name')}, should be a checkout of {NAME}")
    commit, time = _git(root, "log", "-1", "--format=%H %ct").split()
    changed = _git(root, "status", "--porcelain", "-z", "--no-renames").split("\0")
    return Checkout(
        project["version"], commit, int(time), tuple(line[3:] for line in changed if line)
    )


def files(root: Path) -> list[str]:
    """Every file that git knows or would take, as far as it is there now. Raises BundleFailed."""
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    there = (name for name in listed if name)
    return [name for name in there if (root / name).is_file() or (root / name).is_symlink()]


def copy(root: Path, into: Path) -> None:
    """All of these, as they are now. Raises BundleFailed."""
    for name in files(root):
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, into / name, follow_symlinks=False)


def _git(root: Path, *words: str) -> str:
    return run(["git", "-C", str(root), *words], f"{root} is no checkout that git can read")
