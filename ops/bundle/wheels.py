"""Wheels by pip, with the Python that the hosts have: fetched by hash, or built here from source by hash.

pip goes to the registries that this machine is configured for; which those are is written nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ops.bundle.contents import sum_of
from ops.bundle.distribution import Distribution, of_wheel
from ops.bundle.failed import BundleFailed, run
from ops.bundle.lock import Fitted, Pin, fitted

BUILDER = "setuptools"
"""What builds our wheel, and those that the index has only the source of: as the lock pins it."""

_MARKERS = (
    "import json; from pip._vendor.packaging.markers import default_environment;"
    "print(json.dumps(default_environment()))"
)


class Pip(NamedTuple):
    """pip in an environment of its own. `epoch`: what wheels that are built here say is the time."""

    python: Path
    epoch: int

    def environment(self) -> dict[str, Any]:
        """What markers are evaluated against. 3.11.2 and 3.11.7 differ in what they need."""
        return {**json.loads(run([str(self.python), "-c", _MARKERS], "markers")), "extra": ""}

    def wheels(self, pins: Iterable[Pin], into: Path) -> None:
        """One wheel for each pin. Raises BundleFailed."""
        into.mkdir(exist_ok=True)
        asked = into.with_suffix(".asked")
        asked.write_text("".join(f"{pin.line()}\n" for pin in pins))
        self._wheel(["--require-hashes", "--requirement", str(asked)], into)
        asked.unlink()

    def own(self, source: Path, into: Path) -> Path:
        """The wheel of the product itself. Raises BundleFailed."""
        self._wheel([str(source)], into)
        (wheel,) = into.glob("*.whl")
        return wheel

    def _wheel(self, asked: list[str], into: Path) -> None:
        words = [str(self.python), "-m", "pip", "wheel", "--quiet", "--no-deps"]
        words += ["--no-build-isolation", "--use-pep517", "--wheel-dir", str(into), *asked]
        run(words, "wheels", more={"SOURCE_DATE_EPOCH": str(self.epoch)})


def pip(python: Path, pins: Iterable[Pin], directory: Path, epoch: int) -> Pip:
    """A fresh environment in `directory`, with what builds wheels. Raises BundleFailed."""
    run([str(python), "-m", "venv", str(directory)], "an environment to build wheels in")
    made = Pip(directory / "bin" / "python", epoch)
    builders = directory / "builders"
    made.wheels([pin for pin in pins if pin.name == BUILDER], builders)
    words = [str(made.python), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    run([*words, *map(str, builders.glob("*.whl"))], "what builds wheels")
    return made


def all_of(root: str, pins: Mapping[str, Pin], pip: Pip, into: Path) -> list[Pin]:
    """Fetch `root` and everything that it needs of the pins; which they are. Raises BundleFailed."""
    environment = pip.environment()
    taken: dict[str, Pin] = {}
    wanted = {root}
    while wanted:
        missing = wanted - pins.keys()
        if missing:
            raise BundleFailed(
                f"the lock does not pin {', '.join(sorted(missing))}, which {root} needs"
            )
        taken |= {name: pins[name] for name in wanted}
        pip.wheels([pins[name] for name in sorted(wanted)], into)
        needed = {name for one in distributions(into, into) for name in _needed(one, environment)}
        wanted = needed - taken.keys()
    return list(taken.values())


def _needed(one: Distribution, environment: Mapping[str, Any]) -> Iterator[str]:
    for line in one.requires:
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate(dict(environment)):
            yield canonicalize_name(wanted.name)


def distributions(directory: Path, root: Path) -> list[Distribution]:
    """Every wheel of a directory."""
    return [of_wheel(wheel, root) for wheel in sorted(directory.glob("*.whl"))]


def locked(pins: Iterable[Pin], directory: Path) -> Fitted:
    """The lock of a directory's wheels. Raises BundleFailed."""
    return fitted(pins, {wheel.name: sum_of(wheel) for wheel in directory.glob("*.whl")})
