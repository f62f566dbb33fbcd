"""Is this process alive, may it be given work, what are its numbers: one small listener per process.

`/healthz`  200 while the event loop turns. A supervisor restarts what does not answer.
`/readyz`   200 where every check passes, else 503; either way each check by name.
`/metrics`  Prometheus' text. One listener per process: prometheus-client's multi-process mode
            would keep the gauges of dead processes.

It listens on a Unix socket in the runtime directory: nothing of it is on a network, and the
management listener is what shows it to people. A check that hangs has failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tenancy.errors import PortcullisError

Check = Callable[[], Awaitable[str]]
"""Returns a detail where the part answers; raises where it does not. (gateway/admin/health.py's Ask.)"""

CHECK_TIMEOUT_S = 2.0
OURS = 0o660
"""Our user, and the group of the directory: on a dedicated host the management listener is another user."""
SHUTDOWN_TIMEOUT_S = 1.0

log = structlog.get_logger()


class Health:
    """Serve the three paths on `socket` between start() and stop()."""

    def __init__(self, socket: Path, checks: Mapping[str, Check]) -> None:
        self._socket = socket
        self._checks = dict(checks)
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)

    async def start(self) -> None:
        self._socket.unlink(missing_ok=True)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._socket)).start()
        self._socket.chmod(OURS)

    async def stop(self) -> None:
        await self._runner.cleanup()
        self._socket.unlink(missing_ok=True)

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _readyz(self, _: web.Request) -> web.Response:
        failed, details = await run_checks(self._checks)
        body = {
            "ready": not failed,
            "checks": {name: failed.get(name, "ok") for name in self._checks},
            "details": details,
        }
        return web.json_response(body, status=503 if failed else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def run_checks(checks: Mapping[str, Check]) -> tuple[dict[str, str], dict[str, str]]:
    """All at once: a sentence for each that failed, a detail of each that did not. Never raises for
    a check."""
    names = list(checks)
    outcomes = await asyncio.gather(
        *(_in_time(checks[name]) for name in names), return_exceptions=True
    )
    failed, details = {}, {}
    for name, outcome in zip(names, outcomes, strict=True):
        if isinstance(outcome, TimeoutError):
            failed[name] = f"no answer within {CHECK_TIMEOUT_S:g} s"
        elif isinstance(outcome, PortcullisError):
            failed[name] = str(outcome)
        elif isinstance(outcome, BaseException):
            failed[name] = type(outcome).__name__
        else:
            details[name] = outcome
    return failed, details


async def _in_time(check: Check) -> str:
    async with asyncio.timeout(CHECK_TIMEOUT_S):
        return await check()
