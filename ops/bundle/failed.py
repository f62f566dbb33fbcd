"""Why there is no bundle: an error whose sentence says what is missing, and what would be right."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tenancy.errors import PortcullisError

SAID_LINES = 8


class BundleFailed(PortcullisError):
    """No bundle was made, and nothing is left of the attempt."""

    code = "bundle_failed"


def run(
    words: Sequence[str],
    what: str,
    *,
    cwd: Path | None = None,
    more: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end; what it printed. Raises BundleFailed with `what` was not done, and why."""
    done = subprocess.run(
        list(words), cwd=cwd, env={**os.environ, **(more or {})}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        worst = [line for line in lines if line.startswith(("E:", "ERROR", "error"))] or lines
        said = "\n".join(worst[-SAID_LINES:])
        raise BundleFailed(f"{what}: {words[0]} ended with status {done.returncode}:\n{said}")
    return done.stdout


def need(program: str, package: str) -> None:
    """Raises BundleFailed where a program is not installed."""
    if shutil.which(program) is None:
        raise BundleFailed(f"{program} is missing, a bundle is made with it: apt install {package}")
