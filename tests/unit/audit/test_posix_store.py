"""Files are written once, whole, and the same name never holds two things."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

import pytest

from audit.worm import posix
from audit.worm.port import Conflict
from audit.worm.posix import FS_IMMUTABLE_FL, FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, PosixStore


@pytest.fixture
def store(tmp_path):
    made = PosixStore(tmp_path / "log")
    made.open()
    return made


def without_tmpfile(monkeypatch):
    """A file system that lacks O_TMPFILE."""
    real = os.open

    def refuse(path, flags, *rest, **more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not supported")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(posix.os, "open", refuse)


@pytest.mark.parametrize("has_tmpfile", [True, False])
def test_the_same_bytes_again_are_fine_and_other_bytes_a_conflict(
    store, tmp_path, monkeypatch, has_tmpfile
):
    if not has_tmpfile:
        without_tmpfile(monkeypatch)
    for _ in range(2):
        store.create([("tile/0/000", b"x" * 32), ("tile/1/000.p/1", b"y" * 32)], seal=False)
    with pytest.raises(Conflict):
        store.create([("tile/0/000", b"z" * 32)], seal=False)
    assert store.read("tile/0/000") == b"x" * 32
    assert store.names() == ["tile/0/000", "tile/1/000.p/1"]
    assert not list(tmp_path.rglob(".new-*"))


def test_two_writers_that_race_for_a_name_cannot_both_win(store, monkeypatch):
    store.create([("a", b"first")], seal=False)
    monkeypatch.setattr(posix.Path, "exists", lambda self: False)  # as it was a moment ago
    with pytest.raises(Conflict):
        store.create([("a", b"second")], seal=False)
    assert store.read("a") == b"first"


def test_the_checkpoint_is_replaced_whole_and_left_overs_go_at_the_next_start(store, tmp_path):
    store.replace("checkpoint", b"one")
    store.replace("checkpoint", b"two")
    (tmp_path / "log/.new-left").write_bytes(b"half")
    PosixStore(tmp_path / "log").open()
    assert store.read("checkpoint") == b"two"
    assert [p.name for p in (tmp_path / "log").iterdir()] == ["checkpoint"]


def test_pruning_what_is_gone_is_no_error_and_empty_folders_go(store, tmp_path):
    store.create([("tile/0/000.p/1", b"x"), ("tile/0/000.p/2", b"y")], seal=False)
    store.prune(["tile/0/000.p/1", "tile/0/000.p/9"])
    assert store.names() == ["tile/0/000.p/2"]
    store.prune(["tile/0/000.p/2"])
    assert not (tmp_path / "log/tile/0/000.p").exists()


def test_sealing_says_enforced_only_where_the_file_resists_and_advisory_elsewhere(tmp_path):
    """With the right (root on ext4) the flag holds; without it the store says so. Never both."""
    store = PosixStore(tmp_path / "log", seal_files=True)
    store.open()
    store.create([("tile/0/000", b"x")], seal=True)
    path = tmp_path / "log/tile/0/000"
    if store.worm == "advisory":
        path.unlink()
        return
    try:
        with pytest.raises(PermissionError):
            path.unlink()
    finally:
        clear_immutable(path)
    path.unlink()


def test_unless_asked_nothing_is_sealed(store):
    store.create([("tile/0/000", b"x")], seal=True)
    assert store.worm == "advisory"


def clear_immutable(path):
    descriptor = os.open(path, os.O_RDONLY)
    flags = struct.unpack("l", fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, struct.pack("l", 0)))[0]
    fcntl.ioctl(descriptor, FS_IOC_SETFLAGS, struct.pack("l", flags & ~FS_IMMUTABLE_FL))
    os.close(descriptor)
