"""What the independent auditor (loadtest/auditor.py) says of an installation and of what was sent to it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import psycopg

from audit.keystore import SUBJECT
from ops.processes import ROOT
from ops.stack.postgres import Postgres
from ops.tls import write_private
from ops.trial.exchange import Exchange
from ops.trial.installation import Installation
from ops.vault import signer_client
from tenancy.errors import Unavailable


async def audited(here: Installation, market: Exchange, sent: Path) -> dict[str, Any]:
    """His opinion as JSON. `sent`: the senders' notes; the keys that he needs are written beside them.

    Raises Unavailable where he could not read everything.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtest.auditor", "--json", "--carried-out",
        "--database", Postgres(here.places).superuser(), "--simulator", market.url,
        "--store", str(here.settings.recorder.store), "--sent", str(sent),
        "--audit-keys", str(await _audit_keys(here, sent.parent)),
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    out, _ = await process.communicate()
    if process.returncode not in (0, 1):
        raise Unavailable("the auditor could not read everything; its words are above")
    opinion: dict[str, Any] = json.loads(out)
    return opinion


async def _audit_keys(here: Installation, directory: Path) -> Path:
    """The tenants' audit keys in a file for the auditor, who opens payloads by himself: the keys of an
    installation that is thrown away."""
    keys: dict[str, str] = {}
    async with (
        await psycopg.AsyncConnection.connect(Postgres(here.places).superuser()) as conn,
        signer_client(here.settings.hsm, here.settings.hsm.audit_socket) as signer,
    ):
        cursor = await conn.execute("SELECT tenant_id, sealed FROM audit_keys")
        for tenant, sealed in await cursor.fetchall():
            key = await signer.open_secret(sealed, tenant_id=tenant, subject=SUBJECT)
            keys[str(tenant)] = key.hex()
    file = directory / "audit-keys.json"
    write_private(file, json.dumps(keys).encode())
    return file
