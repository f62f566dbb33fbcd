"""A real Prometheus of one's own: Debian's, on a free port of loopback, with its data in a directory that goes."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from ops.trial.installation import free_port
from tenancy.errors import Unavailable

START_S = 20.0
SCRAPE_S = 2


class Prometheus:
    """One that runs. `seen`: each alert that ever fired, and when first (monotonic)."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session
        self.seen: dict[str, float] = {}
        self.now: set[str] = set()

    async def watch(self) -> None:
        """Note what fires, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(0.5)

    async def look(self) -> None:
        try:
            found = await self.ask("alerts")
        except (aiohttp.ClientError, TimeoutError, OSError):
            return
        self.now = {
            alert["labels"]["alertname"] for alert in found["alerts"] if alert["state"] == "firing"
        }
        for name in self.now:
            self.seen.setdefault(name, time.monotonic())

    async def ask(self, path: str, **query: str) -> Any:
        async with self._session.get(f"{self.url}/api/v1/{path}", params=query) as answer:
            return json.loads(await answer.text())["data"]


def configuration(rules: Path, found_at: str, authority: Path) -> dict[str, Any]:
    """As docs/operating/monitoring.md says it, scraped every two seconds."""
    tls = {"ca_file": str(authority)}
    return {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": "portcullis",
                "scheme": "https",
                "scrape_timeout": f"{SCRAPE_S}s",
                "tls_config": tls,
                "http_sd_configs": [{"url": found_at, "refresh_interval": "2s", "tls_config": tls}],
            }
        ],
    }


@asynccontextmanager
async def prometheus(
    directory: Path, rules: dict[str, Any], found_at: str, authority: Path
) -> AsyncIterator[Prometheus]:
    """Running until the end of the context. Raises Unavailable."""
    program = shutil.which("prometheus")
    if program is None:
        raise Unavailable("there is no prometheus: `./appliance test` installs Debian's")
    (directory / "rules.yml").write_text(yaml.safe_dump(rules, sort_keys=False))
    config = directory / "prometheus.yml"
    config.write_text(yaml.safe_dump(configuration(directory / "rules.yml", found_at, authority)))
    port = free_port()
    with (directory / "prometheus.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            program, f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", stdout=log, stderr=log, cwd=directory,
        )  # fmt: skip
    try:
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            one = Prometheus(f"http://127.0.0.1:{port}", session)
            await _answers(one, process)
            yield one
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _answers(one: Prometheus, process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(START_S):
            while process.returncode is None:
                try:
                    await one.ask("query", query="1")
                except (aiohttp.ClientError, OSError, ValueError):
                    await asyncio.sleep(0.2)
                else:
                    return
    except TimeoutError:
        pass
    raise Unavailable("Prometheus did not start: its log is beside its data")
