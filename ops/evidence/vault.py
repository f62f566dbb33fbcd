"""Of the vault: each daemon's figures, the end of its journal of refusals, the sums of ceremonies' records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from hsm.client import VaultClient
from hsm.watch import figures_of
from ops.doctor.looking import in_thread
from ops.evidence.collection import File, Gap, Wish, as_json
from ops.vault import each_daemon
from tenancy.errors import PortcullisError

LINES = 500


async def vault(wish: Wish) -> AsyncIterator[File | Gap]:
    """No secret is in a journal: of a request method and path, of a body and a row their sums."""
    async with each_daemon(wish.ground.settings.hsm) as daemons:
        for name, client in daemons.items():
            async for one in _daemon(name, client):
                yield one
    directory = wish.ground.settings.hsm.signer_config.parent / "records"
    records = await in_thread(sums, directory)
    yield File("hsm/ceremonies.json", as_json(records), f"{directory}: names and sums")


async def _daemon(name: str, client: VaultClient) -> AsyncIterator[File | Gap]:
    figures, why = await figures_of(client.lines[0])
    if figures is None:
        yield Gap(f"HSM daemon {name}", why)
        return
    yield File(f"hsm/{name}.json", as_json({"figures": figures, "wrong": why}), f"{name}'s status")
    try:
        page = await client.refusals(after=max(0, int(figures["journal_last"]) - LINES), most=LINES)
    except (PortcullisError, LookupError) as error:
        yield Gap(f"journal of {name}", str(error))
        return
    yield File(
        f"hsm/{name}-refusals.json",
        as_json(page),
        f"{name}'s journal, the last {LINES} lines at most",
    )


def sums(directory: Path) -> list[dict[str, Any]]:
    """What lies there, without what is in it."""
    found = []
    for path in sorted(one for one in directory.rglob("*") if one.is_file()):
        changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        data = path.read_bytes()
        found.append(
            {
                "name": str(path.relative_to(directory)), "bytes": len(data), "changed_at": changed,
                "sha256": sha256(data).hexdigest(),
            }
        )  # fmt: skip
    return found
