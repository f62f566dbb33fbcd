"""Only what the signature vouches for is given out, also where the forger was thorough."""

from __future__ import annotations

import base64

import pytest

from audit import merkle
from audit.checkpoint import Checkpoint
from audit.malformed import Malformed
from audit.manifest import edge, full_between
from audit.tiles import ENTRIES, Tile, decode_bundle, encode_bundle
from audit.vouched import Vouched
from tests.fakes.log_files import LogFiles


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    made = LogFiles(tmp_path_factory.mktemp("first"))
    note = made.grow(700)
    root = note.split(b"\n")[2]
    files = {name: made.store.read(name) for name in made.store.names()}
    return files, Checkpoint(made.log.origin, 700, base64.b64decode(root))


def test_every_file_is_given_out_exactly_as_it_was_written(log):
    files, head = log
    vouched = Vouched(files.get, head)
    for tile in [*full_between(0, 700), *edge(700)]:
        assert vouched.bytes_of(tile) == files[tile.path()]


def test_a_record_forged_together_with_its_tile_is_refused(log):
    """The bundle and the tile beside it agree; the tile above them does not."""
    files, head = log
    bundle, tile = Tile(ENTRIES, 1), Tile(0, 1)
    entries = decode_bundle(files[bundle.path()], 256)
    entries[7] = entries[7].replace(b"login", b"LOGIN")
    forged = {
        **files,
        bundle.path(): encode_bundle(entries),
        tile.path(): b"".join(map(merkle.leaf_hash, entries)),
    }
    vouched = Vouched(forged.get, head)
    for one in (bundle, tile):
        with pytest.raises(Malformed, match="tile/0/001 is not what was signed"):
            vouched.bytes_of(one)
    assert vouched.bytes_of(Tile(0, 0)) == files["tile/0/000"]


def test_a_file_that_changes_while_it_is_read_is_refused(log):
    files, head = log
    there = dict(files)
    vouched = Vouched(there.get, head)
    vouched.bytes_of(Tile(0, 1))
    vouched._reader.hashes.cache_clear()
    there["tile/0/001"] = files["tile/0/000"]
    with pytest.raises(Malformed, match="changed while it was read"):
        vouched.bytes_of(Tile(0, 1))


def test_an_edge_that_does_not_give_the_root_is_refused_at_once(log):
    files, head = log
    with pytest.raises(Malformed, match="do not give the signed root"):
        Vouched(files.get, Checkpoint(head.origin, head.size, bytes(32)))
