"""A recorder in a process of its own that can be told to die (SIGKILL) right after one step.

    python -m tests.integration.audit.recorder_process CONNINFO STORE_DIR [STEP [TIMES]]

The dying is done from outside the product: its ports and the functions at its edges are wrapped
here. It dies at the first time, or at the one counted from 1 by TIMES. Without STEP it runs until
somebody kills it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from itertools import count
from pathlib import Path

from audit import recorder_session, sequencer
from audit.recorder import Recorder
from audit.worm.posix import PosixStore
from tenancy.clock import SystemClock
from tenancy.database import Database
from tests.fakes.note_signer import MemorySigner

STEPS = (
    "1 before the commit",
    "1 after the commit",
    "2 one bundle written",
    "2 bundles written",
    "3 one tile written",
    "3 tiles written",
    "4 before the signature",
    "4 signed",
    "5 kept in the database",
    "6 checkpoint replaced",
    "7 pruned",
)

STEP = sys.argv[3] if __name__ == "__main__" and len(sys.argv) > 3 else ""
TIMES = count(1)
WHICH = int(sys.argv[4]) if __name__ == "__main__" and len(sys.argv) > 4 else 1


def die_after(step: str) -> None:
    if step == STEP and next(TIMES) == WHICH:
        os.kill(os.getpid(), signal.SIGKILL)


class MortalStore(PosixStore):
    def create(self, files, *, seal):
        kind = "2" if any("entries" in name for name, _ in files) else "3"
        if not files or not files[0][0].startswith("tile/"):
            super().create(files, seal=seal)
            return
        super().create(files[:1], seal=seal)
        die_after(f"{kind} one {'bundle' if kind == '2' else 'tile'} written")
        super().create(files, seal=seal)
        if not seal:  # the partial ones come last
            die_after(f"{kind} {'bundles' if kind == '2' else 'tiles'} written")

    def replace(self, name, data):
        super().replace(name, data)
        die_after("6 checkpoint replaced")

    def prune(self, names):
        super().prune(names)
        if names:
            die_after("7 pruned")


class MortalSigner(MemorySigner):
    async def sign_note(self, label, text):
        die_after("4 before the signature")
        signature = await super().sign_note(label, text)
        die_after("4 signed")
        return signature


def wrap_the_database_steps() -> None:
    real_commit, real_keep = sequencer.commit, recorder_session.keep_checkpoint

    async def commit(conn):
        die_after("1 before the commit")
        await real_commit(conn)
        die_after("1 after the commit")

    async def keep(*arguments):
        await real_keep(*arguments)
        die_after("5 kept in the database")

    sequencer.commit, recorder_session.keep_checkpoint = commit, keep


def open_store(path: Path) -> PosixStore:
    store = MortalStore(path)
    store.open()
    return store


async def main() -> None:
    wrap_the_database_steps()
    database = Database(sys.argv[1], name="recorder-process", size=4)
    await database.open()
    running = Recorder(
        database, MortalSigner(), Path(sys.argv[2]), SystemClock(), make_store=open_store
    )
    await running.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main())
