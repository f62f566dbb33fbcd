"""The admin API attacked by schemathesis, from the document that it serves, over HTTP on loopback.

Well-formed requests, broken ones, odd methods and media types; every default check. The suite takes
two examples of each operation, a few chains of calls, and the systematic ones (the coverage phase:
each rule of each schema kept and broken) of every tenth operation in the document's order, which is
what there is time for. `python -m tests.longer.schemathesis` takes all of it, with more examples.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypercorn.asyncio import serve

from gateway.admin.operations import OPERATIONS
from gateway.listener import hypercorn_config
from tests.fixtures.api import Api
from tests.integration.gateway.furniture import furnish

pytestmark = [pytest.mark.stack, pytest.mark.slow]

LONGER = Path(__file__).parents[2] / "longer"
EXAMPLES = os.environ.get("PORTCULLIS_ATTACK_EXAMPLES", "2")
PHASES = os.environ.get("PORTCULLIS_ATTACK_PHASES", "examples,fuzzing,stateful")
SEED = os.environ.get("PORTCULLIS_ATTACK_SEED", "1")


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The application behind the server of the product, at a free port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stop = asyncio.Event()
        config = hypercorn_config(f"fd://{listening.fileno()}")
        config.graceful_timeout = 1
        task = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait, mode="asgi"))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            stop.set()
            await task
            listening.detach()  # Hypercorn closed it


@pytest.mark.longer
async def test_nothing_that_can_be_sent_breaks_the_api_or_its_description(api: Api, tmp_path: Path):
    await _attack(api, tmp_path, PHASES)


async def test_each_rule_of_every_tenth_operation_is_kept_and_broken(api: Api, tmp_path: Path):
    tenth = [
        option
        for operation in OPERATIONS[::10]
        for option in ("--include-operation-id", operation.name)
    ]
    await _attack(api, tmp_path, "coverage", *tenth)


async def _attack(api: Api, tmp_path: Path, phases: str, *options: str) -> None:
    furniture = await furnish(api, "admin")
    async with served(api.app) as url:
        attack = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli",
            "--config-file", str(LONGER / "schemathesis.toml"),
            "run", f"{url}/v1/openapi.json",
            "--header", f"Authorization: Bearer {api.keys['admin']}",
            "--phases", phases, *options, "--max-examples", EXAMPLES, "--seed", SEED,
            "--continue-on-failure", "--no-color", "--warnings", "off",
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"], "PYTHONPATH": str(LONGER.parents[1]),
                "SCHEMATHESIS_HOOKS": "tests.longer.schemathesis_hooks",
                "PORTCULLIS_ATTACK_IDS": json.dumps(furniture.ids),
                "PORTCULLIS_ATTACK_SPARE": json.dumps((await furnish(api, "admin")).ids),
                "PORTCULLIS_ATTACK_TENANT": str(api.tenant()),
            },
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await attack.communicate()
    print(output.decode())  # shown with -s: the longer run has more to tell
    assert attack.returncode == 0, output.decode()[-20_000:]
