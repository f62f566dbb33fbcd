"""Ask a process of ours how it is, from outside, over its Unix socket."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import msgspec

TIMEOUT_S = 3.0


class _Readiness(msgspec.Struct):
    """What of /readyz is read here (ops/health.py)."""

    checks: dict[str, str]


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


async def unready(sock: Path) -> str:
    """Why it may not be given work, in its own words; empty where it may."""
    try:
        status, body = await get(sock, "/readyz")
        if status == 200:
            return ""
        checks = msgspec.json.decode(body, type=_Readiness).checks
    except (OSError, TimeoutError, ValueError, IndexError) as error:
        return f"no answer ({type(error).__name__})"
    return "; ".join(f"{name}: {said}" for name, said in checks.items() if said != "ok")


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
