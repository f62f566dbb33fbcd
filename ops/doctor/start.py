"""What a start would trip over: ops/preflight.py's findings, in the doctor's words."""

from __future__ import annotations

from collections.abc import Sequence

from ops import preflight
from ops.doctor.finding import Finding, well
from ops.doctor.looking import Ground, in_thread

SUBJECT = "start"
SAID_ELSEWHERE = ("disk space",)
"""The disks are a subject of their own."""
THEN = (
    ("certificate", "Put the PEM file there and let our user read it; docs/operating/doctor.md."),
    ("TLS key", "Put the PEM file there, owned by the user that runs us, 0600."),
    ("PKCS#11", "Install the token's library, or correct [hsm] module."),
    ("HSM profile", "docs/hsm/profiles.md says what a profile must guard."),
    ("database cluster", "Restore a backup before you `portcullis init`: init makes an EMPTY one."),
    (
        "schema",
        "`portcullis migrate --check` says what is pending; `portcullis migrate` applies it.",
    ),
    ("audit store", "Mount the disk, or correct [[recorder.stores]]; docs/operating/worm.md."),
)
OTHERWISE = "Put it right before the next start; `portcullis preflight` says it again."


async def examine(ground: Ground) -> list[Finding]:
    return judge(await in_thread(preflight.preflight, ground.settings))


def judge(found: Sequence[preflight.Finding]) -> list[Finding]:
    """A problem is wrong, even while all runs: the next start would fail. Pure."""
    told = [one for one in found if one.name not in SAID_ELSEWHERE]
    wrong = [
        Finding(SUBJECT, one.name, "wrong", one.problem, _then(one.name))
        for one in told
        if one.problem is not None
    ]
    passed = len(told) - len(wrong)
    return [*wrong, well(SUBJECT, "preflight", f"{passed} of {len(told)} checks pass")]


def _then(name: str) -> str:
    return next((then for begins, then in THEN if name.startswith(begins)), OTHERWISE)
