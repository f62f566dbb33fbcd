"""The vault's daemons: do they answer, is their token well, does its canary sing, do requests queue up?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from hsm.watch import figures_of
from ops.doctor.finding import Finding, well
from ops.doctor.looking import Ground
from ops.vault import each_daemon

SUBJECT = "HSM"
WAITING_MANY = 1000


class Daemon(NamedTuple):
    """`figures`: None where it gives none. `why`: what is wrong with it. `others`: signers beside it."""

    name: str
    figures: Mapping[str, Any] | None
    why: str
    log: str
    others: int = 0


async def examine(ground: Ground) -> list[Finding]:
    return [finding for one in await look(ground) for finding in judge(one)]


async def look(ground: Ground) -> list[Daemon]:
    hsm = ground.settings.hsm
    async with each_daemon(hsm) as clients:
        found = await asyncio.gather(*(figures_of(one.lines[0]) for one in clients.values()))
    more = len(hsm.signer_sockets) - 1
    return [
        Daemon(name, figures, why, str(ground.log_of(name)), 0 if name == "enroller" else more)
        for name, (figures, why) in zip(clients, found, strict=True)
    ]


def judge(seen: Daemon) -> list[Finding]:
    if seen.figures is None or seen.why:
        return [_away(seen)]
    figures = seen.figures
    canary, waiting = float(figures.get("canary_age_s", 0.0)), int(figures.get("waiting", 0))
    text = (
        f"start {figures.get('epoch')}, {figures.get('sessions')} sessions, canary "
        f"{canary:.1f} s ago,"
        f" {waiting} wait, p99 {float(figures.get('batch_p99_s', 0)) * 1000:.2g} ms,"
        f" {figures.get('refused', 0)} refused"
    )
    if waiting > WAITING_MANY:
        then = (
            "The token does not keep up: one tenant's storm, or a slow HSM. See its latency in "
            "the metrics."
        )
        return [Finding(SUBJECT, seen.name, "warning", text, then)]
    return [well(SUBJECT, seen.name, text)]


def _away(seen: Daemon) -> Finding:
    if seen.name == "enroller":
        then = f"Nobody can enrol a key meanwhile; trading goes on. Read the end of {seen.log}."
        return Finding(SUBJECT, seen.name, "wrong", seen.why, then)
    then = (
        f"Nothing can be signed: orders wait as unsent. Read the end of {seen.log}. Status 78"
        " means a"
        " refused PIN: do NOT start it again before you know why, a token locks after a few "
        "wrong PINs."
        " A network HSM: is its client's link up (`portcullis hsm --help`, docs/hsm/)?"
    )
    if seen.others:
        then = f"{seen.others} other signer(s) may still sign. {then}"
    return Finding(SUBJECT, seen.name, "wrong", seen.why, then)
