"""A Python distribution, as its wheel describes it: name, version, licence, what it needs."""

from __future__ import annotations

import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple

from ops.bundle.contents import sum_of
from ops.bundle.failed import BundleFailed


class Distribution(NamedTuple):
    """`licence`: an SPDX expression where the distribution says one, else its own words, or nothing."""

    name: str
    version: str
    licence: str
    requires: tuple[str, ...]
    file: str
    sha256: str


def of_wheel(wheel: Path, root: Path) -> Distribution:
    """Read a wheel; its file is named from the bundle's root. Raises BundleFailed."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (one for one in archive.namelist() if _is_metadata(one))
            said = HeaderParser().parsestr(archive.read(name).decode())
    except (ValueError, zipfile.BadZipFile, OSError) as error:
        raise BundleFailed(f"{wheel.name} is no wheel with one METADATA: {error}") from None
    return Distribution(
        name=said["Name"], version=said["Version"], licence=licence_of(said),
        requires=tuple(said.get_all("Requires-Dist") or ()),
        file=wheel.relative_to(root).as_posix(), sha256=sum_of(wheel),
    )  # fmt: skip


def _is_metadata(name: str) -> bool:
    return name.count("/") == 1 and name.endswith(".dist-info/METADATA")


def licence_of(metadata: Message) -> str:
    """License-Expression (PEP 639) before License, unless that is a whole text, before the classifiers."""
    said = metadata["License-Expression"] or metadata["License"] or ""
    if said and "\n" not in said:
        return str(said).strip()
    classified = (line.split(" :: ") for line in metadata.get_all("Classifier") or ())
    return " AND ".join(words[-1] for words in classified if words[0] == "License")
