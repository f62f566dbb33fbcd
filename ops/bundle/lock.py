"""Locks: what requirements/*.lock pin, what of it applies to a host, and the lock of what is shipped. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from ops.bundle.failed import BundleFailed


class Pin(NamedTuple):
    """One line of a lock. `hashes`: of every file that the index has for it, wheels and source alike."""

    name: str
    version: str
    marker: Marker | None
    hashes: frozenset[str]

    def line(self) -> str:
        """As pip reads it in a requirements file."""
        return " ".join(
            [
                f"{self.name}=={self.version}",
                *(f"--hash=sha256:{one}" for one in sorted(self.hashes)),
            ]
        )


def pins_of(text: str) -> list[Pin]:
    """Every pin of a lock as `uv pip compile --generate-hashes` writes it."""
    lines = (line.partition("#")[0].strip() for line in text.replace("\\\n", " ").splitlines())
    return [_pin(line) for line in lines if line]


def _pin(line: str) -> Pin:
    words = line.split(" --hash=sha256:")
    wanted = Requirement(words[0].strip())
    (only,) = wanted.specifier
    hashes = frozenset(word.strip() for word in words[1:])
    return Pin(canonicalize_name(wanted.name), only.version, wanted.marker, hashes)


def applying(pins: Iterable[Pin], environment: Mapping[str, Any]) -> list[Pin]:
    """Those whose marker is true where they will be installed, which need not be where this runs."""
    return [pin for pin in pins if pin.marker is None or pin.marker.evaluate(dict(environment))]


class Fitted(NamedTuple):
    """`text`: the lock of exactly these wheels. `built`: those that the index has no wheel of, made here."""

    text: str
    built: list[str]


def fitted(pins: Iterable[Pin], wheels: Mapping[str, str]) -> Fitted:
    """`wheels`: file name to SHA-256. Raises BundleFailed where they are not one for each pin, and no other."""
    of_name: dict[str, tuple[str, str, str]] = {}
    for file, digest in wheels.items():
        name, version, _, _ = parse_wheel_filename(file)
        if name in of_name:
            raise BundleFailed(f"{file} and {of_name[name][0]} are both there, should be one")
        of_name[name] = (file, str(version), digest)
    lines, built = [], []
    for pin in sorted(pins, key=lambda pin: pin.name):
        file, there, digest = of_name.pop(pin.name, ("no wheel", "", ""))
        if there != pin.version:
            raise BundleFailed(f"{pin.name}: {file} is there, should be {pin.version}")
        if digest not in pin.hashes:
            built.append(file)
        lines.append(pin._replace(hashes=frozenset([digest])).line())
    if of_name:
        raise BundleFailed(f"wheels that no pin asks for: {', '.join(sorted(of_name))}")
    return Fitted("".join(f"{line}\n" for line in lines), built)
