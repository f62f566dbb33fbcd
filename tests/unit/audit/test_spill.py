"""The local file of what could not wait for PostgreSQL: durable, chained, closed to who has no key."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from audit.malformed import Malformed
from audit.spill import HEADER_BYTES, Spill, host_key, left_behind, read

KEY = bytes(range(32))
WORDS = [b"first", b"", b"a longer third line"]


def written(directory: Path) -> tuple[Spill, bytes]:
    spill = Spill(directory, KEY)
    for word in WORDS:
        spill.append(word)
    return spill, spill.path.read_bytes()


def test_what_was_appended_is_read_in_its_order(tmp_path: Path):
    spill, data = written(tmp_path)
    lines = read(data, KEY)
    assert [line.payload for line in lines] == WORDS
    assert [line.number for line in lines] == [1, 2, 3]
    assert {line.spill_id for line in lines} == {spill.spill_id}
    spill.close()


def test_a_line_is_on_disk_before_append_returns(tmp_path: Path, monkeypatch):
    """What was written when fsync was called last is the whole file."""
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (real(fd), synced.append(os.fstat(fd).st_size))[0])
    spill, data = written(tmp_path)
    assert synced[-1] == len(data)
    spill.close()


def test_an_unfinished_last_line_is_left_out_and_the_ones_before_it_stand(tmp_path: Path):
    spill, data = written(tmp_path)
    two = read(data, KEY)[:2]
    ends = [n for n in range(HEADER_BYTES, len(data)) if read(data[:n], KEY) == two]
    assert ends[-1] == len(data) - 1
    assert read(data[:HEADER_BYTES], KEY) == []
    spill.close()


def test_every_changed_bit_of_a_finished_line_is_found(tmp_path: Path):
    spill, data = written(tmp_path)
    for at in range(0, len(data), 3):
        changed = bytearray(data)
        changed[at] ^= 1
        try:
            lines = read(bytes(changed), KEY)
        except Malformed:
            continue
        # Only a length may be read as a line that is not finished yet; then nothing wrong is told.
        assert [line.payload for line in lines] == WORDS[: len(lines)]
        assert len(lines) < len(WORDS)
    spill.close()


def test_lines_that_were_swapped_or_taken_out_are_found(tmp_path: Path):
    spill = Spill(tmp_path, KEY)
    ends = [HEADER_BYTES]
    for word in (b"aaaa", b"bbbb", b"cccc"):
        spill.append(word)
        ends.append(spill.path.stat().st_size)
    data = spill.path.read_bytes()
    head, (a, b, c) = data[:HEADER_BYTES], (data[s:e] for s, e in pairwise(ends))
    for other in (b + a + c, a + c, b + c):
        with pytest.raises(Malformed):
            read(head + other, KEY)
    spill.close()


def test_without_the_key_nothing_is_read_and_nothing_stands_in_clear(tmp_path: Path):
    spill, data = written(tmp_path)
    with pytest.raises(Malformed):
        read(data, bytes(32))
    assert all(word not in data for word in WORDS if word)
    spill.close()


def test_a_living_process_keeps_its_file_and_a_dead_ones_is_taken_over(tmp_path: Path):
    spill, data = written(tmp_path)
    with left_behind(spill.path) as found:
        assert found is None
    spill.close()
    with left_behind(spill.path) as found:
        assert found == data
        with left_behind(spill.path) as second:
            assert second is None


def test_what_was_drained_is_gone(tmp_path: Path):
    spill, _ = written(tmp_path)
    spill.remove()
    assert list(tmp_path.iterdir()) == []
    with left_behind(spill.path) as found:
        assert found is None


def test_after_a_disk_that_refused_the_file_takes_no_more_lines(tmp_path: Path, monkeypatch):
    spill, _ = written(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "no space")))
        with pytest.raises(OSError, match="no space"):
            spill.append(b"fourth")
    with pytest.raises(OSError, match="no more"):
        spill.append(b"fifth")
    spill.close()


def test_the_hosts_key_is_made_once_and_is_its_owners_alone(tmp_path: Path):
    path = tmp_path / "spill.key"
    key = host_key(path)
    assert host_key(path) == key
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"short")
    with pytest.raises(Malformed, match="5 bytes"):
        host_key(path)
