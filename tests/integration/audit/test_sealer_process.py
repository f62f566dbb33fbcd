"""The sealer as the process it is: alone with its right, asked over its socket, gone and back again."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit.worm.immutable import file_is_immutable
from audit.worm.posix import PosixStore
from audit.worm.sealing import SealerClient
from tests.unit.audit.test_posix_store import make_removable, may_set_flags

UNTIL = datetime(2033, 1, 1, tzinfo=UTC)
LOG = str(uuid.UUID(int=7))
IMMUTABLE_BIT = 1 << 9


@pytest.fixture
def place(tmp_path):
    """A store, a socket's short path, and sealers that are ended."""
    with tempfile.TemporaryDirectory(prefix="seal-", dir="/tmp") as short:
        made = Place(tmp_path / "store", Path(short) / "s")
        made.store.mkdir()
        yield made
        made.stop()
        for path in made.store.rglob("*"):
            if path.is_file():
                make_removable(path)


class Place:
    def __init__(self, store, socket):
        self.store, self.socket = store, socket
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "audit.worm.sealer", "--socket", str(self.socket), "--store", str(self.store)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until(lambda: self.socket.exists())

    def stop(self, sig=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(sig)
            self.process.wait(10)
            self.process = None

    def opened(self):
        store = PosixStore(self.store / LOG, SealerClient(self.socket, patience_s=2.0))
        store.look()
        return store

    def keep(self, store, name):
        store.create([(name, b"x" * 8192)], seal=True)
        store.keep([name], UNTIL)
        return self.store / LOG / name


def until(holds, limit_s=10.0):
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_is_kept_is_immutable_and_the_sealer_has_no_other_right(place):
    place.start()
    store = place.opened()
    may = may_set_flags(place.store)
    path = place.keep(store, "tile/0/000")
    assert store.worm == ("enforced" if may else "advisory")
    assert file_is_immutable(path) is may
    status = Path(f"/proc/{place.process.pid}/status").read_text()
    rights = {
        line.split()[0]: int(line.split()[1], 16)
        for line in status.splitlines()
        if line.startswith("Cap")
    }
    for kind in ("CapEff:", "CapPrm:", "CapInh:"):
        assert rights[kind] in (IMMUTABLE_BIT if kind != "CapInh:" else 0, 0)
    assert "NoNewPrivs:\t1" in status
    assert not list(place.store.glob(".sealer-probe"))


def test_without_the_sealer_the_store_is_advisory_and_a_new_one_seals_what_it_missed(place):
    may = may_set_flags(place.store)
    place.start()
    store = place.opened()
    place.keep(store, "tile/0/000")
    place.stop(signal.SIGKILL)
    missed = place.keep(store, "tile/0/001")
    assert store.worm == "advisory"
    assert not file_is_immutable(missed)
    place.start()
    until(lambda: file_is_immutable(missed) is may)
    again = place.opened()
    place.keep(again, "tile/0/002")
    assert again.worm == ("enforced" if may else "advisory")


def test_a_sealer_that_hangs_delays_a_store_once_and_briefly(place):
    place.start()
    store = PosixStore(place.store / LOG, SealerClient(place.socket, patience_s=0.2))
    place.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    for n in range(5):
        place.keep(store, f"tile/0/00{n}")
    took = time.monotonic() - began
    place.process.send_signal(signal.SIGCONT)
    assert store.worm == "advisory"
    assert took < 2.0
