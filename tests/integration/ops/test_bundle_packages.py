"""Debian packages for a bundle by the real apt, from a mirror that is a directory: whole, and fetched once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.bundle.debian import EVERY_DEBIAN, fetch
from ops.bundle.packages import Wanted
from tests.bundles import apt_settings, package

pytestmark = pytest.mark.slow

WANTED = [EVERY_DEBIAN, Wanted("the tool", ("tool",), recommends=False)]
ALL = {f"{name}_1.0_all.deb" for name in ("apt", "every-host", "library", "tool")}


class Shop:
    """A mirror, and what earlier runs have kept."""

    def __init__(self, root: Path) -> None:
        self.root, self.mirror, self.kept = root, root / "mirror", root / "kept"
        self.mirror.mkdir()
        package(self.mirror, "every-host", "Essential: yes\n")
        package(self.mirror, "apt")
        package(self.mirror, "library")
        package(self.mirror, "tool", "Depends: library\n")
        package(self.mirror, "nobody-asked")
        self.settings = root / "apt.conf"
        self.settings.write_text(apt_settings(self.mirror, "copy"))

    def fetched(self, name: str) -> set[str]:
        """What a run has put where the bundle is made."""
        into, scratch = self.root / name, self.root / f"{name}.scratch"
        fetch(WANTED, into, scratch, self.kept)
        return {path.name for path in into.iterdir()}

    def of_library(self, place: Path) -> Path:
        (found,) = place.glob("library_*.deb")
        return found


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(tmp_path)
    monkeypatch.setenv("APT_CONFIG", str(made.settings))
    return made


def test_what_was_kept_is_not_fetched_again(shop: Shop) -> None:
    """The mirror still names its packages, and has none of them any more."""
    assert shop.fetched("first") == ALL
    for path in shop.mirror.glob("*.deb"):
        path.unlink()
    assert shop.fetched("second") == ALL


def test_what_was_damaged_since_is_fetched_again(shop: Shop) -> None:
    """Of the same length: apt would take it."""
    shop.fetched("first")
    kept = shop.of_library(shop.kept)
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    shop.fetched("second")
    assert shop.of_library(shop.root / "second").read_bytes() == whole
