"""A further store gets what is signed, nothing else, in an order that a crash cannot hurt."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from audit.checkpoint import Checkpoint
from audit.keeper import Forked, Keeper
from audit.malformed import Malformed
from audit.manifest import digest, edge, full_between, read_chain
from audit.merkle import EMPTY_ROOT
from audit.tiles import parse_path
from audit.vouched import Vouched
from audit.worm.port import Conflict, NotKept
from audit.worm.posix import PosixStore
from tests.fakes.log_files import LogFiles

NOW = datetime(2026, 11, 21, 14, 0, 0, 999, tzinfo=UTC)
TERM = timedelta(days=2192)


class Clock:
    def __init__(self, now=NOW):
        self.time = now

    def now(self):
        return self.time


class Crash(BaseException):
    """Nothing catches it, as nothing catches a SIGKILL."""


class MortalStore(PosixStore):
    """Dies at its n-th write or removal."""

    def __init__(self, root, lives):
        super().__init__(root)
        self.lives = lives

    def _live(self):
        if self.lives == 0:
            raise Crash
        self.lives -= 1

    def create(self, files, *, seal):
        for one in files:
            self._live()
            super().create([one], seal=seal)

    def replace(self, name, data):
        self._live()
        super().replace(name, data)

    def prune(self, names):
        self._live()
        super().prune(names)

    def keep(self, names, until):
        self._live()
        return super().keep(names, until)


@pytest.fixture
def first(tmp_path):
    return LogFiles(tmp_path / "first")


@pytest.fixture
def second(tmp_path, first):
    return tmp_path / "second" / str(first.log.log_id)


def keeper(first, store, clock=None, term=TERM):
    made = Keeper(first.log, store, first.store, clock or Clock(), term)
    made.open()
    return made


def bring_up(first, store, **more):
    made = keeper(first, store, **more)
    made.follow()
    made.enter()
    return made


def content(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and "manifest" not in path.parts
    }


def check_whole(first, directory):
    """Every file of the tree as it stands is there, and the manifest names each full one rightly."""
    mine, theirs = content(directory), content(first.directory)
    full = [tile.path() for tile in full_between(0, first.size)]
    partial = [tile.path() for tile in edge(first.size)]
    for name in ("checkpoint", "vkey", *full, *partial):
        assert mine[name] == theirs[name], name
    stale = mine.keys() - {"checkpoint", "vkey", *full, *partial}
    assert not {parse_path(name).full().path() for name in stale} & set(full)
    manifest = read_chain(PosixStore(directory).read)
    files = manifest.files if manifest else {}
    assert {name: file.sha256 for name, file in files.items()} == {
        name: digest(theirs[name]) for name in full
    }


@pytest.mark.parametrize("steps", [[1], [256], [255, 1, 1, 700], [66_000, 1]])
def test_a_further_store_becomes_the_first_ones_equal(first, second, steps):
    following = None
    for step in steps:
        first.grow(step)
        following = following or keeper(first, PosixStore(second))
        following.follow()
        following.enter()
        check_whole(first, second)


def test_a_store_that_was_away_and_one_that_is_new_catch_up_the_same_way(first, second):
    first.grow(100)
    bring_up(first, PosixStore(second))
    for _ in range(9):
        first.grow(123)
    bring_up(first, PosixStore(second))
    check_whole(first, second)
    shutil.rmtree(second)
    bring_up(first, PosixStore(second))
    check_whole(first, second)


def test_a_crash_at_any_write_leaves_what_the_next_round_completes(first, second):
    """And at the moment of the crash the store's checkpoint is never ahead of its files."""
    first.grow(300)
    bring_up(first, PosixStore(second))
    first.grow(600)
    before = shutil.copytree(second, second.parent / "before")
    for lives in range(100):
        shutil.rmtree(second)
        shutil.copytree(before, second)
        try:
            bring_up(first, MortalStore(second, lives))
            break
        except Crash:
            store = PosixStore(second)
            head = keeper(first, store).head()
            vouched = Vouched(store.read, head)
            for name in store.names():
                tile = parse_path(name)
                if (tile.n + 1) * 256 <= head.size and tile.level <= 0:
                    vouched.bytes_of(tile)
            bring_up(first, store)
            check_whole(first, second)
    assert lives > 10
    check_whole(first, second)


def test_rot_in_the_first_store_is_not_carried_on(first, second):
    first.grow(700)
    for name in ("tile/entries/001", "tile/0/001", "tile/0/000", "tile/0/002.p/188"):
        path = first.directory / name
        right = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(right[:40] + bytes([right[40] ^ 1]) + right[41:])
        with pytest.raises(Malformed):
            bring_up(first, PosixStore(second))
        assert not (second / "checkpoint").exists()
        with pytest.raises(Malformed):  # nor is it made permanent where it is
            keeper(first, first.store).enter()
        path.write_bytes(right)
        path.chmod(0o444)
    bring_up(first, PosixStore(second))


def test_a_further_store_that_is_ahead_is_a_fork(first, second, tmp_path):
    """Database and first store were restored from one old backup: only the further store knows."""
    first.grow(300)
    old = shutil.copytree(first.directory, tmp_path / "old")
    first.grow(10)
    bring_up(first, PosixStore(second))
    shutil.rmtree(first.directory)
    shutil.copytree(old, first.directory)
    with pytest.raises(Forked, match="has 310 signed records, the first 300"):
        keeper(first, PosixStore(second)).follow()


@pytest.mark.parametrize("more", [0, 5])
def test_a_further_store_of_another_tree_is_a_fork(first, second, tmp_path, more):
    other = LogFiles(tmp_path / "other")
    other.grow(300, "another")
    bring_up(other, PosixStore(second))
    first.grow(300 + more)
    with pytest.raises(Forked):
        keeper(first, PosixStore(second)).follow()


def test_a_first_store_that_lost_its_checkpoint_is_a_fork_too(first, second):
    first.grow(3)
    bring_up(first, PosixStore(second))
    (first.directory / "checkpoint").unlink()
    with pytest.raises(Forked):
        keeper(first, PosixStore(second)).follow()


def test_a_forged_checkpoint_in_a_further_store_halts_nobody(first, second):
    """Malformed, not Forked: who may write there must not be able to stop the log."""
    first.grow(3)
    bring_up(first, PosixStore(second))
    head = Checkpoint(first.log.origin, 99, EMPTY_ROOT)
    forged = (second / "checkpoint").read_bytes().replace(b"\n3\n", b"\n99\n")
    PosixStore(second).replace("checkpoint", forged)
    assert head.size == 99
    with pytest.raises(Malformed):
        keeper(first, PosixStore(second)).follow()


def test_other_bytes_under_a_name_in_a_further_store_are_a_conflict(first, second):
    PosixStore(second).create([("tile/0/000", b"x" * 8192)], seal=False)
    first.grow(256)
    with pytest.raises(Conflict):
        bring_up(first, PosixStore(second))


def test_a_store_that_reads_back_something_else_is_not_believed(first, second):
    first.grow(256)

    class Lying(PosixStore):
        def keep(self, names, until):
            (self._root / "tile/0/000").chmod(0o644)
            (self._root / "tile/0/000").write_bytes(b"x" * 8192)
            return super().keep(names, until)

    with pytest.raises(NotKept, match="tile/0/000"):
        bring_up(first, Lying(second))
    assert not (second / "manifest").exists()


def test_a_retention_grows_for_what_is_kept_already_and_never_shrinks(first, second):
    first.grow(600)
    made = bring_up(first, PosixStore(second))
    assert made.lengthen(timedelta(days=1)) == 0
    assert made.lengthen(timedelta(days=2557)) == 4
    until = NOW.replace(microsecond=0) + timedelta(days=2557)
    manifest = read_chain(PosixStore(second).read)
    assert {file.until for file in manifest.files.values()} == {until}
    assert manifest.term_days == 2557
    again = keeper(first, PosixStore(second), term=TERM)
    assert again.lengthen(timedelta(days=2557)) == 0
    first.grow(256)
    again.follow()
    again.enter()
    manifest = read_chain(PosixStore(second).read)
    assert {file.until for file in manifest.files.values()} == {until}


def test_partial_tiles_that_a_crash_left_go_at_the_next_start(first, second):
    first.grow(3)
    bring_up(first, PosixStore(second))
    first.grow(300)
    bring_up(first, PosixStore(second))  # another run: it knows nothing of the first one's
    assert "tile/0/000.p/3" not in PosixStore(second).names()


def test_the_keys_of_a_log_follow(first, second):
    first.grow(1)
    bring_up(first, PosixStore(second))
    assert (second / "vkey").read_bytes() == (first.directory / "vkey").read_bytes()
