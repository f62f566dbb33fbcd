"""One question to chronyd over UDP, within a time limit."""

from __future__ import annotations

import asyncio
import secrets
import socket

from ops.clock.cmdmon import NotTracking, read_reply, request
from tenancy.clock_quality import Tracking
from tenancy.errors import Unavailable

ANSWER_WITHIN_S = 0.5
LONGEST = 1024


async def ask(host: str, port: int, *, within_s: float = ANSWER_WITHIN_S) -> Tracking:
    """The daemon's tracking report. Raises Unavailable where nobody answers, or something else.

    A socket of its own for each question: only the address that was asked can answer it, and only an
    answer with its number counts.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sequence = secrets.randbits(32)
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect((host, port))  # UDP: sends nothing
            async with asyncio.timeout(within_s):
                await loop.sock_sendall(asking, request(sequence))
                return read_reply(await loop.sock_recv(asking, LONGEST), sequence)
        except TimeoutError:
            raise Unavailable(f"chronyd does not answer at {host} port {port}") from None
        except OSError as error:
            raise Unavailable(
                f"nobody answers for chronyd at {host} port {port}: {error.strerror}"
            ) from None
        except NotTracking as error:
            raise Unavailable(str(error)) from None
