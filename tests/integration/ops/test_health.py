"""What a process says about itself on its Unix socket."""

from __future__ import annotations

import json
from pathlib import Path

from ops.health import Health
from ops.probe import get, is_ready, unready
from tenancy.errors import Unavailable


async def test_ready_only_where_every_check_passes_and_each_is_named(tmp_path: Path) -> None:
    well = True

    async def postgres() -> str:
        if not well:
            raise Unavailable("PostgreSQL does not answer")
        return "answers"

    async def redis() -> str:
        return "always there"

    sock = tmp_path / "health"
    health = Health(sock, {"postgres": postgres, "redis": redis})
    await health.start()
    try:
        assert await is_ready(sock)
        assert await unready(sock) == ""
        well = False
        assert await unready(sock) == "postgres: PostgreSQL does not answer"
        status, body = await get(sock, "/readyz")
        assert status == 503
        assert json.loads(body)["checks"] == {
            "postgres": "PostgreSQL does not answer",
            "redis": "ok",
        }
        assert (await get(sock, "/healthz"))[0] == 200
        assert b"python_info" in (await get(sock, "/metrics"))[1]
        assert sock.stat().st_mode & 0o777 == 0o660, "ours, and the group of the directory"
    finally:
        await health.stop()
    assert not await is_ready(sock)
    assert await unready(sock) == "no answer (FileNotFoundError)"


async def test_an_error_nobody_named_shows_its_kind_and_not_its_words(tmp_path: Path) -> None:
    """A stranger's message may hold a connection string."""

    async def broken() -> str:
        raise RuntimeError("password=hunter2")

    health = Health(tmp_path / "health", {"broken": broken})
    await health.start()
    try:
        _, body = await get(tmp_path / "health", "/readyz")
    finally:
        await health.stop()
    assert json.loads(body)["checks"] == {"broken": "RuntimeError"}
