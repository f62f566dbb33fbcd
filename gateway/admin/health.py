"""Is this process well, and can it work? `/healthz` asks nobody, `/readyz` asks every part."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import structlog

from gateway.answers import Answer, json_answer

log = structlog.get_logger()

CHECK_TIMEOUT_S = 2.0


class Check(msgspec.Struct, frozen=True):
    """One part's answer. `detail` is for an operator and holds no secret."""

    name: str
    ok: bool
    detail: str = ""


Ask = Callable[[], Awaitable[str]]
"""Says a detail if all is well; raises if not."""


async def readiness(checks: Mapping[str, Ask]) -> Answer:
    """503 where one part is not well, slow counts as not well."""
    results = await asyncio.gather(*(_ask(name, ask) for name, ask in checks.items()))
    ok = all(result.ok for result in results)
    return json_answer(
        200 if ok else 503, "ready" if ok else "not_ready", {"ok": ok, "checks": results}
    )


async def _ask(name: str, ask: Ask) -> Check:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return Check(name, True, await ask())
    except TimeoutError:
        return Check(name, False, f"no answer within {CHECK_TIMEOUT_S:g} s")
    except Exception as error:
        log.warning("check_failed", check=name, error=str(error))
        return Check(name, False, str(error) or type(error).__name__)
