"""`python -m tests.longer.gateio_node_clients`: Gate's Node client and an independent one trade on the simulator.

Needs node 20 and npm, and the package registry that npm is set up with. `npm ci` installs what
tests/contract/node/package-lock.json pins by version and hash (it names no registry) into a temporary
directory; each script of that folder then trades on a simulator of its own. Ten to twenty seconds.
Not in the suite: that runs without a network. The suite holds the pins (tests/contract/test_gateio_clients.py)
and has gate-api for Python do the same.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import click

from loadtest.exchanges.gateio.control import NewAccount
from loadtest.exchanges.gateio.control_client import ControlClient
from loadtest.exchanges.launch import launched

SOURCES = Path(__file__).parent.parent / "contract" / "node"
INSTALL_TIMEOUT_S = 120
SCRIPT_TIMEOUT_S = 60


@click.command()
def main() -> None:
    """Have both clients trade."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        click.echo(f"{' and '.join(missing)} not found: install Node.js 20 or later", err=True)
        sys.exit(2)
    with tempfile.TemporaryDirectory(prefix="gateio-node-") as directory:
        sys.exit(asyncio.run(_run(Path(directory))))


async def _run(here: Path) -> int:
    for source in SOURCES.iterdir():
        shutil.copy(source, here)
    install = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    if await _done(install, here, INSTALL_TIMEOUT_S):
        click.echo("npm ci failed: see above; is the registry within reach?", err=True)
        return 2
    bad = 0
    for script in ("gate_api.mjs", "gateio_api.mjs"):
        bad += await _trades(script, here) != 0
    return 1 if bad else 0


async def _trades(script: str, here: Path) -> int:
    async with launched() as process, ControlClient(process.url) as control:
        await control.create_accounts([NewAccount(key="node", secret="node-secret")])
        rest, socket = f"{process.url}/api/v4", process.url.replace("http", "ws") + "/v4/ws/usdt"
        where = (rest, socket) if script == "gateio_api.mjs" else (rest,)
        return await _done(("node", script, *where, "node", "node-secret"), here, SCRIPT_TIMEOUT_S)


async def _done(command: tuple[str, ...], here: Path, timeout_s: float) -> int:
    """The exit status; 124 where it took too long."""
    process = await asyncio.create_subprocess_exec(*command, cwd=here)
    try:
        async with asyncio.timeout(timeout_s):
            return await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        click.echo(f"{' '.join(command[:2])} took longer than {timeout_s} s", err=True)
        return 124


if __name__ == "__main__":
    main()
