"""Is the vault well, in words and in figures: what readiness checks say and metrics show of each daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from hsm import metrics
from hsm.client import VaultClient
from hsm.errors import SignerUnavailable
from hsm.line import Broken, Line
from tenancy.pause import pause

ASK_EVERY_S = 5.0
STALE_CANARY_S = 30.0
"""A canary that has not sung for so long is one that nobody listens to: something is wrong."""
LONG_CALL_S = 1.0
ASK_WITHIN_S = 1.5


async def figures_of(line: Line) -> tuple[dict[str, Any] | None, str]:
    """The daemon's figures, and what is wrong with it; neither waits for it to come back."""
    try:
        async with asyncio.timeout(ASK_WITHIN_S):
            figures = await line.status()
    except TimeoutError:
        return None, f"{line.path} is silent"
    except Broken:
        return None, f"{line.path} hangs up"
    except OSError:
        return None, line.why
    return figures, ailing(figures)


def ailing(figures: Mapping[str, Any]) -> str:
    """What is wrong with a daemon that answers; empty: nothing. Pure."""
    stale_s = float(figures.get("canary_age_s", 0.0))
    if stale_s > STALE_CANARY_S:
        return f"its canary has not sung for {stale_s:.0f} s"
    busy_s = float(figures.get("busy_s", 0.0))
    if busy_s > LONG_CALL_S:
        return f"a call into its token has taken {busy_s:.1f} s"
    return "it is ending" if figures.get("closing") else ""


async def described(client: VaultClient) -> str:
    """One sentence for each of the client's daemons. Raises SignerUnavailable where none is well."""
    found = await asyncio.gather(*(figures_of(line) for line in client.lines))
    words = [_sentence(figures, why) for figures, why in found]
    if all(figures is None or why for figures, why in found):
        raise SignerUnavailable("; ".join(words))
    return "; ".join(words)


def _sentence(figures: Mapping[str, Any] | None, why: str) -> str:
    if figures is None or why:
        return f"away: {why}"
    return (
        f"signs: epoch {figures.get('epoch')}, canary {float(figures.get('canary_age_s', 0)):.1f} s"
        f" ago, {figures.get('waiting')} wait"
    )


async def watch(daemons: Mapping[str, Line], stop: asyncio.Event) -> None:
    """Show each daemon's figures as metrics until `stop`. Whatever a daemon does, this goes on."""
    while not stop.is_set():
        for name, line in daemons.items():
            metrics.publish(name, *await figures_of(line))
        await pause(stop, ASK_EVERY_S)
