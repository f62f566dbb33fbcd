"""Compile relay.c with this machine's C compiler, and put a control file beside the library."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from loadtest.pkcs11 import control

SOURCE = Path(__file__).with_name("relay.c")
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wno-cast-function-type", "-fPIC", "-shared")


class CannotBuild(Exception):
    """There is no C compiler, or it does not take the source: says which, and what it said."""


def build(out: Path, target: Path) -> Path:
    """`out/relay.so` in front of `target`, and its control file. Raises CannotBuild."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise CannotBuild("no C compiler: apt-get install gcc libc6-dev")
    out.mkdir(parents=True, exist_ok=True)
    library = out.absolute() / "relay.so"
    done = subprocess.run(
        [compiler, *FLAGS, "-o", str(library), str(SOURCE), "-ldl", "-lpthread"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise CannotBuild(f"{compiler} does not compile relay.c:\n{done.stderr}")
    control.create(library, target)
    return library
