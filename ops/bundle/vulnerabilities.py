"""Known vulnerabilities of the Python distributions, by pip-audit: found, none, or not asked, and then why.

What pip-audit says when it fails is not kept: it names addresses of this machine's network.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

TIMEOUT_S = 15
ALL_S = 300

DEBIAN = {
    "checked": False,
    "why": "Debian's own security tracker knows; the packages are the newest that the machine's mirrors had",
}


def known(lock: Path, made_at: datetime) -> dict[str, Any]:
    """What vulnerabilities.json says."""
    return {"asked_at": made_at.isoformat(), "python": _audited(lock), "debian": DEBIAN}


def _audited(lock: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--disable-pip"]
    command += [
        "--require-hashes",
        "--format=json",
        "--progress-spinner=off",
        f"--timeout={TIMEOUT_S}",
    ]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=ALL_S)
    except subprocess.TimeoutExpired:
        return not_checked(f"pip-audit had no answer from its database within {ALL_S} s")
    return judged(done.returncode, done.stdout)


def judged(status: int, said: bytes) -> dict[str, Any]:
    """Of pip-audit's exit status and JSON. Only a document that covers every distribution is an answer. Pure."""
    try:
        parts = msgspec.json.decode(said)["dependencies"]
        skipped = [part["name"] for part in parts if "skip_reason" in part]
        found = [
            {"name": part["name"], "version": part["version"], "id": one["id"],
             "fixed_in": one["fix_versions"]}
            for part in parts for one in part.get("vulns", ())
        ]  # fmt: skip
    except (msgspec.DecodeError, KeyError, TypeError):
        return not_checked(
            f"pip-audit reached no database from this machine (exit status {status})"
        )
    if not parts or skipped:
        of = f"{len(skipped)} of {len(parts)} distributions"
        return not_checked(
            f"pip-audit's database, as far as this machine reaches it, does not know {of}"
        )
    return {"checked": True, "distributions": len(parts), "found": found}


def not_checked(why: str) -> dict[str, Any]:
    return {"checked": False, "why": why}
