"""What goes wrong with evidence: stores that are away, and words that are not what was signed."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

from audit.note import parse_keys
from audit.witness.memory import Cosigned, Memory
from audit.witness.server import Server
from audit.witness.witness import MEMORY, load
from ops.state import end
from tests.longer.alerts.archive import BEFORE
from tests.longer.alerts.breaking import FAULTS, again, beside, fault, named, standing
from tests.longer.alerts.stage import POLICY, WITNESS, Stage

LONGER = 1_000_000
POLICY_PORT = re.compile(r"http://127\.0\.0\.1:(\d+)")


@fault("AuditStoreBehind", "AuditStoreFarBehind", "AuditCopyUnread", within_s=45.0)
async def second_store(stage: Stage) -> AsyncIterator[None]:
    """the second store is no directory any more"""
    there = stage.places.var / "second-store"
    gone = there.with_name("second-store.gone")
    there.rename(gone)
    there.touch()
    async with beside(again(stage.signal, 1.0)):
        yield
    there.unlink()
    gone.rename(there)


@fault("AuditStoreConflict", within_s=30.0)
async def another_history(stage: Stage) -> AsyncIterator[None]:
    """the second store's checkpoints are somebody else's words"""
    for checkpoint in (stage.places.var / "second-store").rglob("checkpoint"):
        with contextlib.suppress(OSError):
            checkpoint.write_text(checkpoint.read_text().replace("\n", "\nX", 1))
    async with beside(again(stage.signal, 1.0)):
        yield


@fault("AuditDiffers", within_s=40.0)
async def leaf(stage: Stage) -> AsyncIterator[None]:
    """a leaf in PostgreSQL is not what was signed"""
    await stage.sql("ALTER TABLE audit_leaves DISABLE TRIGGER USER")
    try:
        await stage.sql(
            "UPDATE audit_leaves SET leaf = set_byte(leaf, 0, 0) WHERE tenant_id = %s AND i = 1",
            stage.cast.scope.tenant_id,
        )
    finally:
        await stage.sql("ALTER TABLE audit_leaves ENABLE TRIGGER USER")
    yield


@fault("AuditLogRefused", within_s=30.0)
async def witness(stage: Stage) -> AsyncIterator[None]:
    """a witness remembers a longer anchor log, as after a restore from an old backup"""
    directory = stage.places.var / WITNESS
    remember_longer(directory, stage.places.var / "audit")
    at = int(POLICY_PORT.findall((stage.places.var / POLICY).read_text())[0])
    server = Server(load(directory, time.time), ("127.0.0.1", at))
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        async with beside(again(stage.signal, 1.0)):
            yield
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def remember_longer(directory: Path, store: Path) -> None:
    """The witness trusts the anchor log's keys, and cosigned a tree of it that nobody has here."""
    memory = Memory(directory / MEMORY)
    for vkey in store.glob("*/vkey"):
        keys = parse_keys(vkey.read_text())
        if "/anchor/" not in keys[0].name:
            continue
        for key in keys:
            memory.add(keys[0].name, key)
        longer = Cosigned(LONGER, bytes([7]) * 32, int(time.time()), b"a longer tree\n")
        memory.advance(keys[0].name, lambda seen, last, longer=longer: longer)


@fault("AuditLogHalted", "InboxWaits", within_s=45.0)
async def halted(stage: Stage) -> AsyncIterator[None]:
    """the first store's checkpoint is not what was signed, and the recorder begins anew"""
    with standing(*named(stage, "recorder-0")):
        for checkpoint in (stage.places.var / "audit").rglob("checkpoint"):
            checkpoint.chmod(0o600)
            checkpoint.write_text(checkpoint.read_text().replace("\n", "\nX", 1))
        end(named(stage, "recorder-0")[0], signal.SIGKILL, 2.0)
    async with beside(again(stage.signal, 1.0)):
        yield


ALL = (*BEFORE, *FAULTS[len(BEFORE) :])
"""Every fault, in its order."""
