"""A session process whose SDK has to see the broker's secret: logs in at a fake broker, then idles.

The SDK is made as such SDKs are: it takes the secret as text and answers the broker's challenge with
it. The broker is whoever listens at `--broker`; it lets the session end by hanging up.
"""

from __future__ import annotations

import argparse
import hmac
import os
import socket
import sys
from pathlib import Path
from typing import BinaryIO

from hsm.handover import handed
from tenancy.errors import PortcullisError


class Sdk:
    """Knows how to log in with a secret. Keeps none."""

    def __init__(self, wire: BinaryIO) -> None:
        self._wire = wire

    def login(self, secret: str) -> bool:
        challenge = self._wire.readline().strip()
        self._wire.write(hmac.digest(secret.encode(), challenge, "sha512").hex().encode() + b"\n")
        return self._wire.readline() == b"welcome\n"


def descriptors() -> set[int]:
    """What is open, but for the one that looking needs itself."""
    listed = {int(name) for name in os.listdir("/proc/self/fd")}
    return {number for number in listed if Path(f"/proc/self/fd/{number}").exists()}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker", required=True)
    parser.add_argument("--secret-fd", type=int, required=True)
    given = parser.parse_args()
    held = descriptors()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(given.broker)
        with connection.makefile("rwb", buffering=0) as wire:
            wire.write(f"{os.getpid()} {held == {0, 1, 2, given.secret_fd}}\n".encode())
            try:
                with handed(given.secret_fd) as secret:
                    welcome = Sdk(wire).login(secret.text())
            except PortcullisError as error:
                wire.write(f"{error.code}\n".encode())
                return 4
            wire.write(b"in\n" if welcome else b"out\n")
            wire.readline()
    return 0


if __name__ == "__main__":
    sys.exit(main())
