"""Ask a process of ours how it is, from outside, over its Unix socket."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

TIMEOUT_S = 3.0


async def get(sock: Path, path: str) -> tuple[int, bytes]:
    """One HTTP/1.0 GET. Raises OSError or TimeoutError where nobody answers, ValueError for nonsense."""
    async with asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_unix_connection(str(sock))
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        finally:
            writer.close()
    return int(head.split(b" ", 2)[1]), body


async def is_ready(sock: Path) -> bool:
    """Does `/readyz` say 200?"""
    try:
        status, _ = await get(sock, "/readyz")
    except (OSError, TimeoutError, ValueError, IndexError):
        return False
    return status == 200


async def accepts(sock: Path) -> bool:
    """Does somebody listen there?"""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect(str(sock))
    except OSError:
        return False
    finally:
        probe.close()
    return True
