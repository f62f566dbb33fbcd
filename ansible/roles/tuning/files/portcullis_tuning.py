#!/usr/bin/python3
"""Write values into the kernel's files, and write back on `undo` what stood there before.

    portcullis-tuning apply SETTINGS KEPT
    portcullis-tuning undo KEPT
    portcullis-tuning show SETTINGS

SETTINGS is JSON: `values` by the kernel's file, and `interrupts`, the processors that serve a network card's
interrupts by the card's name. KEPT is where `apply` remembers what it found. `show` tells of each file what is
in it and what should be. A file that is not there is an error, and then nothing is written.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHOSEN = re.compile(r"\[(\w+)\]")
"""As sysfs shows a choice: `always [madvise] never`."""


def current(path: Path) -> str:
    """What is in the file, as one would write it."""
    text = path.read_text().strip()
    chosen = CHOSEN.search(text)
    return chosen[1] if chosen else text


def interrupts(card: str, root: Path) -> list[int]:
    """The numbers of the card's interrupts."""
    directory = root / "sys/class/net" / card / "device/msi_irqs"
    if not directory.is_dir():
        raise SystemExit(f"{card} has no interrupts of its own ({directory}): leave it out")
    return sorted(int(path.name) for path in directory.iterdir())


def wanted(settings: Mapping[str, Any], root: Path) -> dict[Path, str]:
    """What shall be in each file. SystemExit where one is not there."""
    files = {root / name.lstrip("/"): str(value) for name, value in settings["values"].items()}
    for card, processors in settings["interrupts"].items():
        for number in interrupts(card, root):
            files[root / f"proc/irq/{number}/smp_affinity_list"] = processors
    if missing := [str(path) for path in files if not path.exists()]:
        raise SystemExit(f"this kernel has no {', '.join(missing)}")
    return files


def apply(files: Mapping[Path, str], kept: Path) -> None:
    """Remember all of it before the first change."""
    kept.write_text(json.dumps({str(path): current(path) for path in files}))
    for path, value in files.items():
        path.write_text(f"{value}\n")


def undo(kept: Path) -> None:
    """Of a card that is gone meanwhile nothing has to be undone."""
    for name, value in json.loads(kept.read_text()).items():
        if Path(name).exists():
            Path(name).write_text(f"{value}\n")
    kept.unlink()


def main(what: str, *places: str, root: str = "/") -> None:
    """As the words of the command say."""
    if what == "undo":
        undo(Path(places[0]))
        return
    files = wanted(json.loads(Path(places[0]).read_text()), Path(root))
    if what == "apply":
        apply(files, Path(places[1]))
        return
    for path, value in files.items():
        sys.stdout.write(
            json.dumps({"file": str(path), "is": current(path), "should": value}) + "\n"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
