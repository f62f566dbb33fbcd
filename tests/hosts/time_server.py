"""The time as providers offer it: an SNTP server (RFC 5905, mode 4) on the client's machine.

Hosts with a clock of their own follow it; containers share the machine's and never ask.
"""

from __future__ import annotations

import socketserver
import struct
import time

from tests.hosts.network import CLIENT

PORT = 123
SINCE_1900 = 2_208_988_800
FORMAT = struct.Struct(">BBbb II 4s 8s 8s 8s 8s")
ASKED_AT = slice(40, 48)
"""Where a request's own time stands, which the answer gives back."""
SHORTEST = 48


def stamp() -> bytes:
    """Now, as seconds since 1900 with 32 bits of fraction."""
    return int((time.time() + SINCE_1900) * 2**32).to_bytes(8, "big")


class Answer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        received, (asked, wire) = stamp(), self.request
        if len(asked) < SHORTEST:
            return
        answer = FORMAT.pack(
            0b00_100_100, 1, 4, -20, 0, 0, b"LAB\0", received, asked[ASKED_AT], received, stamp()
        )
        wire.sendto(answer, self.client_address)


if __name__ == "__main__":
    socketserver.UDPServer((CLIENT, PORT), Answer).serve_forever()
