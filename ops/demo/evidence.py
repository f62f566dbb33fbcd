"""The audit part of the demo: wait until all of it is published, verify from files, prove one order."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import sys
from pathlib import Path

from audit.bundle import verify_bundle
from audit.checkpoint import open_checkpoint
from audit.logs import Log, read_logs
from audit.proving import prove_order
from ops.audit_keys import audit_keys
from ops.demo.pages import Pages
from ops.processes import ROOT
from ops.settings import Settings
from ops.trial.outcome import Story
from tenancy.database import Database
from tenancy.errors import Unavailable
from tenancy.scope import TenantScope

PUBLISH_S = 15.0


async def verify(settings: Settings, scope: TenantScope, database: Database, pages: Pages) -> str:
    """The verdict's word of `python -m audit.verifier`, a process of its own, on the files alone."""
    log = await _log(database, scope)
    directory = settings.recorder.store / str(log.log_id)
    await _published(database, scope, log, directory)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "audit.verifier", str(directory), "--vkey", log.vkey, "--json",
        stdout=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    out, _ = await process.communicate()
    verdict = json.loads(out)
    pages.say("a process with neither database, HSM nor network; try it yourself:")
    words = [
        _near(sys.executable),
        "-m",
        "audit.verifier",
        _near(directory),
        "--vkey",
        log.vkey,
    ]
    pages.copy(shlex.join(words))
    pages.say(
        f"{verdict['verdict']}: {verdict['size']} records of {verdict['orders']} orders,"
        f" {len(verdict['findings'])} findings"
    )
    pages.say(f"root {verdict['root']}")
    return str(verdict["verdict"])


async def prove_one(
    settings: Settings, scope: TenantScope, database: Database, story: Story, pages: Pages
) -> None:
    """The first order of the story that was in doubt, else the first: its records and their proofs."""
    doubtful = [a for a in story.attempts if a.state == "absent"]
    order = (doubtful or list(story.attempts))[0].order_id
    async with audit_keys(settings, settings.database.admin, "portcullis-demo"):
        bundle = await prove_order(database, scope, settings.recorder.store, order)
    pages.step(f"The proof of order {order}")
    for record in bundle["records"]:
        leaf = json.loads(record["leaf"])
        said = json.loads(record["payload"] or "{}")
        words = said.get("state") or f"{said.get('side')} {said.get('order_qty')}"
        pages.say(
            f"{leaf['i']:>6}  {leaf['ts'][11:23]}  {leaf['k']:<18}  {said.get('cl_ord_id', '')}  {words}"
        )
    log = await _log(database, scope)
    verdict = verify_bundle(bundle, log.vkey)
    pages.say(
        f"every record is under the signed root: {verdict.word}. The last one's proof, as a file:"
    )
    pages.console.print()
    pages.copy(bundle["records"][-1]["proof"].rstrip())


def _near(path: str | Path) -> str:
    """As one types it where the reader stands: the clone."""
    path = Path(path)
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


async def _log(database: Database, scope: TenantScope) -> Log:
    async with database.tenant(scope) as conn:
        return (await read_logs(conn))[0]


async def _published(database: Database, scope: TenantScope, log: Log, directory: Path) -> None:
    """Until no order lacks its closing record under a published checkpoint. Raises Unavailable."""
    deadline = asyncio.get_running_loop().time() + PUBLISH_S
    size = -1
    while asyncio.get_running_loop().time() < deadline:
        async with database.tenant(scope) as conn:
            row = await (
                await conn.execute(
                    "SELECT (SELECT count(*) FROM audit_leaves),"
                    " (SELECT count(DISTINCT order_id) FROM orders)"
                    " - (SELECT count(DISTINCT oid) FROM audit_order_heads)"
                )
            ).fetchone()
        assert row is not None
        checkpoint = directory / "checkpoint"
        if checkpoint.exists():
            head = open_checkpoint(checkpoint.read_bytes(), *log.known)
            # Published, as many as there are, and no more coming.
            if row[1] == 0 and head.size == row[0] == size:
                return
        size = row[0]
        await asyncio.sleep(0.3)
    raise Unavailable(f"the audit log was not published within {PUBLISH_S:g} s")
