"""A chronyd for tests: it speaks the real monitoring protocol over UDP, and says what it is told to.

Written from chrony's candm.h and not from ops/clock/cmdmon.py, so that the two can disagree; what a
real chronyd 4.3 answered is in tests/unit/clock/test_cmdmon.py.
"""

from __future__ import annotations

import asyncio
import math
import struct
from dataclasses import dataclass, field
from typing import Any


def chrony_float(value: float) -> bytes:
    """candm.h's Float: a signed exponent of 7 bits, a signed coefficient of 25."""
    if value == 0:
        return bytes(4)
    exponent = math.frexp(value)[1] + 1
    coefficient = round(value / 2 ** (exponent - 25))
    if not -(1 << 24) <= coefficient < 1 << 24:
        exponent += 1
        coefficient = round(value / 2 ** (exponent - 25))
    return struct.pack("!I", (exponent & 0x7F) << 25 | coefficient & 0x1FFFFFF)


@dataclass
class Says:
    """What the daemon says of itself; seconds and ppm, as candm.h has them."""

    ref_id: int = 0xC0000201
    stratum: int = 2
    leap: int = 0
    ref_time_s: float = 1_700_000_000.0
    correction_s: float = 0.0
    frequency_ppm: float = -3.5
    skew_ppm: float = 0.02
    root_delay_s: float = 0.002
    root_dispersion_s: float = 0.0005
    status: int = 0
    version: int = 6
    more: bytes = b""

    def tracking(self) -> bytes:
        seconds, fraction = divmod(self.ref_time_s, 1)
        body = struct.pack("!I", self.ref_id) + bytes(16) + struct.pack("!HH", 1, 0)
        body += struct.pack("!HH", self.stratum, self.leap)
        body += struct.pack("!III", 0, int(seconds), int(fraction * 1e9))
        for value in (
            self.correction_s, 1e-6, 1e-6, self.frequency_ppm, 0.0, self.skew_ppm,
            self.root_delay_s, self.root_dispersion_s, 64.0,
        ):  # fmt: skip
            body += chrony_float(value)
        return body

    def answer(self, asked: bytes) -> bytes:
        sequence = asked[8:12]
        head = struct.pack("!BBBBHHHHHH", self.version, 2, 0, 0, 33, 5, self.status, 0, 0, 0)
        return head + sequence + bytes(8) + self.tracking() + self.more


@dataclass
class Chronyd(asyncio.DatagramProtocol):
    """Listens between start() and stop(). `silent`: it takes questions and answers none."""

    says: Says = field(default_factory=Says)
    silent: bool = False
    asked: list[bytes] = field(default_factory=list)
    port: int = 0
    _transport: Any = None

    async def start(self) -> Chronyd:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", self.port)
        )
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    def stop(self) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked.append(data)
        well_asked = len(data) == 104 and data[0] == 6 and data[1] == 1 and data[2:4] == b"\0\0"
        if self.silent or not well_asked:  # cmdmon.c drops what is not a request
            return
        self._transport.sendto(self.says.answer(data), addr)
