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

from ops.bundle.contents import sum_of
from ops.bundle.failed import BundleFailed, need, run
from ops.bundle.packages import Wanted

EVERY_DEBIAN = Wanted("what every Debian is", ("?essential", "apt"), recommends=False)
"""A host has these already, and gets what was mended in them since."""


_URI = re.compile(r"(?m)^'([^']+)' (\S+\.deb) \d+ SHA256:([0-9a-f]{64})$")
"""A line of apt's --print-uris: from where, under which name it is kept, and its sum."""


class Package(NamedTuple):
    """A package that apt would fetch. `name`: of its file, as apt keeps it."""

    uri: str
    name: str
    sha256: str


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


def fetch(wanted: Iterable[Wanted], into: Path, scratch: Path, kept: Path) -> None:
    """Every package, with all that it depends on, into `into`, by way of `kept`: what is there from another
    time is not fetched again. Raises BundleFailed."""
    apt = _apt(kept, scratch)
    into.mkdir()
    run([*apt, "update"], "Debian's package lists")
    for one in wanted:
        what = f"Debian packages of {one.by}"
        more = "--install-recommends" if one.recommends else "--no-install-recommends"
        words = [*apt, "install", "--yes", more, *one.packages]
        # apt names what it would fetch: with nothing kept, that is all of it.
        nothing = f"-oDir::Cache::archives={scratch / 'nothing'}"
        needed = packages_in(run([*words, nothing, "--print-uris"], what))
        missing = [package for package in needed if not (into / pool_name(package.name)).exists()]
        if missing:
            _discard_damaged(missing, kept)
            run([*words, "--download-only"], what)
            _take(missing, kept, into)


def packages_in(uris: str) -> list[Package]:
    """What apt's --print-uris names. Pure."""
    return [Package(*found) for found in _URI.findall(uris)]


def _discard_damaged(packages: Iterable[Package], kept: Path) -> None:
    """apt believes a file that it keeps by its size alone."""
    for package in packages:
        path = kept / package.name
        if path.exists() and sum_of(path) != package.sha256:
            path.unlink()


def _take(packages: Iterable[Package], kept: Path, into: Path) -> None:
    """Raises BundleFailed where one is missing."""
    for package in packages:
        source = kept / package.name
        if package.uri.startswith("file:"):  # apt leaves what such a source has where it is
            source = Path(unquote(package.uri.removeprefix("file:")))
        if not source.exists():
            raise BundleFailed(f"apt did not fetch {package.name}")
        shutil.copyfile(source, into / pool_name(package.name))


def _apt(kept: Path, scratch: Path) -> list[str]:
    for directory in (
        kept / "partial",
        scratch / "nothing" / "partial",
        scratch / "lists" / "partial",
    ):
        directory.mkdir(parents=True, exist_ok=True)
    (scratch / "status").touch()
    settings = {
        "Dir::State": scratch, "Dir::State::status": scratch / "status", "Dir::Cache": scratch,
        "Dir::Cache::archives": kept, "APT::Sandbox::User": "root", "Acquire::ForceHash": "SHA256",
    }  # fmt: skip
    return ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]


def pool_name(cached: str) -> str:
    """`redis_5%3a7.0.15-1_amd64.deb`, as apt keeps it, is `redis_7.0.15-1_amd64.deb` in Debian's pool."""
    name, version, rest = cached.split("_", 2)
    return f"{name}_{version.rpartition('%3a')[2]}_{rest}"
