"""Another process at the same token: makes one stored object, and ends. Told by msgpack on its input.

The PIN comes that way too: never in arguments, never in the environment.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
from pkcs11 import Attribute, KeyType, ObjectClass

from hsm.cryptoki.library import Library


class Errand(msgspec.Struct, frozen=True):
    """Which token, and what to leave there."""

    module: str
    reserved: str
    token: str
    pin: str
    label: str

    def __repr__(self) -> str:
        return f"<Errand at {self.token}>"


def send(errand: Errand) -> str:
    """Do it in a fresh process, exec'd. Why it was not done, or nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "hsm.conformance.visitor"],
        input=msgspec.msgpack.encode(errand), capture_output=True, timeout=60,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stderr.decode().strip().splitlines()[-1]


def main() -> None:
    errand = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Errand)
    library = Library(Path(errand.module))
    with library.initialized(errand.reserved):
        session = library.open(library.slot_of(errand.token))
        session.login(errand.pin)
        session.create(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.GENERIC_SECRET, Attribute.TOKEN: True,
                Attribute.PRIVATE: True, Attribute.LABEL: errand.label, Attribute.VALUE: bytes(64),
            }
        )  # fmt: skip


if __name__ == "__main__":
    main()
