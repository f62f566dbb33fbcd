"""The signer's door for audit keys on a Unix socket, without an HSM: what is "sealed" is the key itself.

For commands of the host that make a ring of their own from the settings (ops/audit_keys.py).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import psycopg

from hsm import protocol


@asynccontextmanager
async def audit_door(socket: Path) -> AsyncIterator[None]:
    """Answers status and the opening of secrets, in hsm.protocol's frames."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        frames = protocol.FrameReader()
        try:
            while data := await reader.read(65536):
                for body in frames.feed(data):
                    writer.write(_answer(protocol.read_request(body)))
        except asyncio.CancelledError:
            pass  # the door closes; asyncio would log it as a failure
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, str(socket))
    try:
        yield
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _answer(request: protocol.Request) -> bytes:
    if isinstance(request, protocol.Status):
        return protocol.frame(protocol.Figures(request.id, {}))
    if isinstance(request, protocol.OpenSecret):
        return protocol.frame(protocol.Done(request.id, request.sealed))
    return b""


def give_audit_key(superuser: str, tenant: UUID) -> None:
    """As the enroller does when a tenant is made."""
    with psycopg.connect(superuser) as conn:
        conn.execute(
            "INSERT INTO audit_keys (tenant_id, sealed) VALUES (%s, %s)",
            (tenant, secrets.token_bytes(32)),
        )
