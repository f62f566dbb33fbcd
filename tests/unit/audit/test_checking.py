"""Rows beside files, index by index: each kind of change is found, and its first index and place named."""

from __future__ import annotations

import uuid

import msgspec
import pytest

from audit import merkle, record
from audit.checking import (
    DATABASE,
    Difference,
    Row,
    State,
    Walk,
    compare_heads,
    from_json,
    open_copy,
    to_json,
)  # fmt: skip
from audit.logs import Log, Signed
from audit.tiles import WIDTH
from tests.fakes.audit_log import KEY, files_of, leaf, leaves, write_log

LOG = Log(uuid.UUID(int=1), uuid.UUID(int=2), KEY.name, "key", KEY.public_key)
SIZE = 700


class House:
    """A log of SIZE records in two copies and, as rows, in a database."""

    def __init__(self, directory) -> None:
        self.entries = leaves(SIZE)
        self.first, self.second = directory / "first", directory / "second"
        for copy in (self.first, self.second):
            write_log(copy, self.entries)
        self.rows = rows_of(self.entries)
        self.kept = signed(self.first)
        self.checkpoints = {SIZE: self.kept}

    def found(self, names=("first", "second")) -> list[Difference]:
        copies = [self.copy(name) for name in names]
        kept, state, out = self.kept, State(), []
        out += compare_heads(state, copies, kept, self.rows[-1].i + 1)
        while state.size < kept.size:  # one bundle in each step, and its state through JSON
            walk = Walk(LOG, state, copies, kept, self.checkpoints, self.rows[-1].i + 1)
            end = min(kept.size, state.size + WIDTH)
            walk.take([row for row in self.rows if state.size <= row.i < end])
            if end == kept.size:
                walk.end()
            out += walk.found
            if end == kept.size:
                break
            state = from_json(msgspec.json.decode(msgspec.json.encode(to_json(walk.save(state)))))
        return sorted(set(out), key=lambda one: one.index)

    def copy(self, name):
        directory = getattr(self, name)

        def read(file):
            path = directory / file
            return path.read_bytes() if path.exists() else None

        copy, wrong = open_copy(LOG, name, read)
        assert wrong is None
        return copy

    def change_row(self, index, **changes):
        self.rows[index] = msgspec.structs.replace(self.rows[index], **changes)


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def signed(directory):
    note = (directory / "checkpoint").read_bytes()
    _, size, root, *_ = note.decode().split("\n")
    return Signed(int(size), msgspec.convert(root, bytes), note)


def rows_of(entries):
    rows, heads, last = [], {}, {}
    for index, entry in enumerate(entries):
        one = record.read(entry)
        digest = merkle.leaf_hash(entry)
        rows.append(
            Row(
                index,
                entry,
                digest,
                one.oid,
                LOG.tenant_id,
                True,
                heads.get(one.oid),
                False,
                None,
                None,
            )
        )
        heads[one.oid], last[one.oid] = digest, index
    for index in last.values():
        on = record.read(entries[index]).on
        made = msgspec.structs.replace(
            rows[index], is_last=True, head_n=on, head=rows[index].leaf_hash
        )
        rows[index] = made
    return rows


def named(found):
    return [(one.index, one.where) for one in found]


def test_a_right_log_differs_nowhere(house):
    assert house.found() == []


def test_a_superusers_row_is_named_and_not_the_files(house):
    """Leaf and hash rewritten alike, as somebody would who knows the schema."""
    other = leaf(300, kind="order.cancel")
    house.change_row(300, leaf=other, leaf_hash=merkle.leaf_hash(other))
    found = house.found()
    assert (found[0].index, found[0].where) == (300, DATABASE)
    assert {one.where for one in found} == {DATABASE}


@pytest.mark.parametrize(
    "changes",
    [{"leaf_hash": bytes(32)}, {"oid": "o-9"}, {"has_payload": False}, {"tenant_id": uuid.UUID(int=9)},
     {"before": bytes(32)}, {"before": None}],
)  # fmt: skip
def test_each_column_of_a_row_counts(house, changes):
    house.change_row(299, **changes)
    assert named(house.found()) == [(299, DATABASE)]


@pytest.mark.parametrize("changes", [{"head": bytes(32)}, {"head_n": 1}, {"head": None}])
def test_an_orders_head_must_be_its_last_record(house, changes):
    house.change_row(SIZE - 1, **changes)
    assert named(house.found()) == [(SIZE - 1, DATABASE)]


def test_rows_that_changed_places_are_found_at_the_first_of_them(house):
    one, other = house.rows[400], house.rows[403]
    house.rows[400] = msgspec.structs.replace(other, i=400)
    house.rows[403] = msgspec.structs.replace(one, i=403)
    assert house.found()[0].index == 400


def test_a_missing_row_and_a_dropped_tail_are_named(house):
    row = house.rows.pop(123)
    assert named(house.found()) == [(123, DATABASE)]
    house.rows.insert(123, row)
    del house.rows[650:]
    assert {(650, DATABASE)} == set(named(house.found()))


def test_a_flipped_bit_in_any_file_of_any_copy_is_found_in_that_copy(house):
    for copy in (house.first, house.second):
        for path in files_of(copy):
            if path.name in ("checkpoint", "vkey"):
                continue
            right = path.read_bytes()
            for at in (1, len(right) // 2, len(right) - 1):
                path.write_bytes(right[:at] + bytes([right[at] ^ 16]) + right[at + 1 :])
                found = house.found()
                assert {one.where for one in found} == {copy.name}, (path, at)
            path.unlink()
            assert {one.where for one in house.found()} == {copy.name}, path
            path.write_bytes(right)


def test_the_first_changed_record_of_a_bundle_is_named(house):
    bundle = house.second / "tile/entries/001"
    bundle.write_bytes(
        bundle.read_bytes().replace(house.entries[333][-90:], house.entries[331][-90:])
    )
    assert named(house.found()) == [(333, "second"), (333, "second")]


def test_a_copy_that_lags_is_no_difference_and_one_that_went_back_is(house, tmp_path):
    write_log(tmp_path / "older", house.entries[:300])
    house.older = tmp_path / "older"
    assert house.found(["first", "older"]) == []
    state = State()
    assert compare_heads(state, [house.copy("second")], house.kept, SIZE) == []
    house.second = house.older
    (found,) = compare_heads(state, [house.copy("second")], house.kept, SIZE)
    assert (found.index, found.where) == (300, "second")


def test_a_database_behind_its_files_is_named_by_the_first_record_that_it_lost(house, tmp_path):
    write_log(tmp_path / "older", house.entries[:500])
    house.kept = signed(tmp_path / "older")
    del house.rows[500:]
    house.rows = rows_of(house.entries[:500])
    house.checkpoints = {500: house.kept}
    assert {(500, DATABASE)} == set(named(house.found()))


def test_a_fork_signed_by_the_right_key_is_found_in_that_copy(house, tmp_path):
    """Same key, same size, another record: nothing of it is proven by the kept checkpoint."""
    forked = [*house.entries]
    forked[600] = leaf(600, kind="order.cancel", oid=None)
    write_log(tmp_path / "fork", forked)
    house.second = tmp_path / "fork"
    found = house.found()
    assert found[0] == Difference(600, "second", "its record was signed too: a fork")
    assert {one.where for one in found} == {"second"}


def test_a_kept_checkpoint_that_is_not_of_this_log_is_found(house, tmp_path):
    other = tmp_path / "other"
    write_log(other, [*house.entries[:399], leaf(399, kind="x", oid=None)])
    house.checkpoints[400] = signed(other)
    assert named(house.found()) == [(399, DATABASE)]
    house.checkpoints[400] = msgspec.structs.replace(signed(other), size=399)
    assert house.found() != []
