"""Debian packages by apt, as this machine reaches them, complete over a host that has none.

An apt of its own, with an empty dpkg status: what happens to be installed here does not go missing there.
"""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from ops.bundle.failed import BundleFailed, need, run
from ops.bundle.packages import Wanted

EVERY_DEBIAN = Wanted("what every Debian is", ("?essential", "apt"), recommends=False)
"""A host has these already, and gets what was mended in them since."""


_URI = re.compile(r"(?m)^'([^']+)' (\S+\.deb) ")
"""A line of apt's --print-uris: from where, and under which name it is kept."""


class Target(NamedTuple):
    """What the hosts run: the same as this machine."""

    suite: str
    architecture: str


def target() -> Target:
    """Raises BundleFailed where this machine is no Debian that packages could be fetched on."""
    release = platform.freedesktop_os_release()
    if release.get("ID") != "debian" or "VERSION_CODENAME" not in release:
        raise BundleFailed(
            f"this is {release.get('PRETTY_NAME', 'an unknown system')}: a bundle is made on the Debian"
            " release that the hosts run"
        )
    need("apt-get", "apt")
    need("dpkg-scanpackages", "dpkg-dev")
    architecture = run(["dpkg", "--print-architecture"], "the architecture").strip()
    return Target(release["VERSION_CODENAME"], architecture)


def fetch(wanted: Iterable[Wanted], into: Path, scratch: Path) -> None:
    """Every package, with all that it depends on, into `into`. Raises BundleFailed."""
    apt = _apt(into, scratch)
    run([*apt, "update"], "Debian's package lists")
    for one in wanted:
        more = "--install-recommends" if one.recommends else "--no-install-recommends"
        words = [*apt, "install", "--yes", more, *one.packages]
        needed = run([*words, "--print-uris"], f"Debian packages of {one.by}")
        run([*words, "--download-only"], f"Debian packages of {one.by}")
        _complete(needed, into)
    for left in ("lock", "partial"):
        path = into / left
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
    for package in into.glob("*.deb"):
        package.rename(into / pool_name(package.name))


def _complete(uris: str, into: Path) -> None:
    """apt leaves what a `file:` source has where it is: copied here. Raises BundleFailed where one is missing."""
    for uri, name in _URI.findall(uris):
        if uri.startswith("file:") and not (into / name).exists():
            shutil.copyfile(unquote(uri.removeprefix("file:")), into / name)
        if not (into / name).exists():
            raise BundleFailed(f"apt did not fetch {name}")


def _apt(into: Path, scratch: Path) -> list[str]:
    for directory in (into / "partial", scratch / "lists" / "partial"):
        directory.mkdir(parents=True)
    (scratch / "status").touch()
    settings = {
        "Dir::State": scratch, "Dir::State::status": scratch / "status", "Dir::Cache": scratch,
        "Dir::Cache::archives": into, "APT::Sandbox::User": "root",
    }  # fmt: skip
    return ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]


def pool_name(cached: str) -> str:
    """`redis_5%3a7.0.15-1_amd64.deb`, as apt keeps it, is `redis_7.0.15-1_amd64.deb` in Debian's pool."""
    name, version, rest = cached.split("_", 2)
    return f"{name}_{version.rpartition('%3a')[2]}_{rest}"
