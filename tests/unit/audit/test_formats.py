"""Notes, checkpoints, proofs and tile names: the right spelling and no other."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit import merkle, record, tiles
from audit.checkpoint import Checkpoint, open_checkpoint, parse
from audit.malformed import Malformed
from audit.note import VerifierKey, assemble, open_note
from audit.proof import Proof, parse_proof
from audit.tiles import ENTRIES, Tile, decode_bundle, encode_bundle, parse_path

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
KEY = VerifierKey("log.test/1", PRIVATE.public_key().public_bytes_raw())
OTHER = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
OTHER_KEY = VerifierKey("log.test/1", OTHER.public_key().public_bytes_raw())


def signed(size=3, root=b"\x05" * 32):
    head = Checkpoint("log.test/1", size, root)
    return head, head.note((KEY, PRIVATE.sign(head.text().encode())))


def test_the_published_example_of_a_verifier_key_parses_to_itself():
    """The Go checksum database's key, as printed in its documentation."""
    text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert str(VerifierKey.parse(text)) == text


def test_a_checkpoint_opens_to_what_was_signed():
    head, note = signed()
    assert open_checkpoint(note, KEY) == head


def test_every_single_bit_of_a_note_counts():
    _, note = signed()
    for at in range(len(note)):
        for bit in range(8):
            changed = bytearray(note)
            changed[at] ^= 1 << bit
            with pytest.raises(Malformed):
                open_checkpoint(bytes(changed), KEY)


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note.replace(b"\n", b"\r\n"),
        lambda note: note[:-1],
        lambda note: note + b"\n",
        lambda note: note.replace(b"\n\n", b"\n\n\n"),
        lambda note: note.replace(b"\n3\n", b"\n03\n"),
        lambda note: note.replace(b"\n3\n", b"\n+3\n"),
        lambda note: note + note.split(b"\n\n")[1],
        lambda note: b"",
    ],
)
def test_other_spellings_of_a_note_are_refused(change):
    with pytest.raises(Malformed):
        open_checkpoint(change(signed()[1]), KEY)


def test_a_line_under_an_unknown_key_is_ignored_and_a_bad_one_under_a_known_key_is_not():
    head, note = signed()
    text = head.text()
    stranger = OTHER_KEY.line(OTHER.sign(text.encode()))
    assert open_checkpoint(note + stranger.encode(), KEY) == head
    with pytest.raises(Malformed, match="does not verify"):
        open_note(note + OTHER_KEY.line(b"\x00" * 64).encode(), KEY, OTHER_KEY)
    with pytest.raises(Malformed, match="no signature by a known key"):
        open_note(assemble(text, [stranger]), KEY)


def test_a_signature_that_does_not_verify_is_never_published():
    head, _ = signed()
    with pytest.raises(Malformed):
        head.note((KEY, OTHER.sign(head.text().encode())))


@pytest.mark.parametrize(
    "text",
    ["a\n1\n", "a\n1\nAAAA\n", "a b\n1\n" + base64.b64encode(b"x" * 32).decode() + "\n",
     "a\n1\n" + base64.b64encode(b"x" * 32).decode() + "\nextension\n",
     "a\n-1\n" + base64.b64encode(b"x" * 32).decode() + "\n"],
)  # fmt: skip
def test_what_is_not_three_right_lines_is_no_checkpoint(text):
    with pytest.raises(Malformed):
        parse(text)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(0, 0), "tile/0/000"),
        (Tile(3, 999, 7), "tile/3/999.p/7"),
        (Tile(ENTRIES, 1000, 255), "tile/entries/x001/000.p/255"),
        (Tile(63, 5), "tile/63/005"),
    ],
)
def test_tile_names_are_the_specifications(tile, path):
    assert tile.path() == path
    assert parse_path(path) == tile


@given(st.integers(-1, 63), st.integers(0, 10**12), st.integers(1, 256))
def test_every_tile_name_reads_back(level, n, width):
    assert parse_path(Tile(level, n, width).path()) == Tile(level, n, width)


@pytest.mark.parametrize(
    "path",
    ["tile/0/0", "tile/0/0000", "tile/00/000", "tile/64/000", "tile/0/x000/001", "tile/0/000.p/0",
     "tile/0/000.p/256", "tile/0/000.p/01", "tile/data/000", "tile/0/x01/000", "tile/0/000/",
     "/tile/0/000", "tile/0/٠٠٠"],
)  # fmt: skip
def test_other_tile_names_are_refused(path):
    with pytest.raises(Malformed):
        parse_path(path)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundles_read_back_and_nothing_may_follow(entries):
    data = encode_bundle(entries)
    assert decode_bundle(data, len(entries)) == entries
    with pytest.raises(Malformed):
        decode_bundle(data + b"\x00", len(entries))
    with pytest.raises(Malformed):
        decode_bundle(data, len(entries) + 1)


def test_an_entry_beyond_65535_bytes_is_refused():
    assert len(encode_bundle([b"x" * 65_535])) == 65_537
    with pytest.raises(Malformed):
        encode_bundle([b"x" * 65_536])


def test_a_partial_tile_that_is_gone_is_read_from_its_full_one():
    files = {"tile/0/000": b"".join(bytes([k]) * 32 for k in range(256))}
    reader = tiles.Reader(files.get, 3)
    assert reader.hashes(0, 0) == [bytes([k]) * 32 for k in range(3)]


def test_a_proof_reads_back_and_checks():
    leaf = b"one"
    head, note = signed(2, merkle.node_hash(merkle.leaf_hash(leaf), merkle.leaf_hash(b"two")))
    proof = Proof(0, [merkle.leaf_hash(b"two")], note)
    again = parse_proof(proof.text())
    assert again == proof
    assert again.check(leaf, KEY) == head
    with pytest.raises(Malformed):
        again.check(b"two", KEY)


@pytest.mark.parametrize(
    "change",
    [("index 0", "index 00"), ("index 0", "index -1"), ("@v1", "@v2"), ("\n\n", "\n"),
     ("index 0\n", "index 0\nAAAA\n"), ("index 0", "extra ?\nindex 0")],
)  # fmt: skip
def test_other_spellings_of_a_proof_are_refused(change):
    text = Proof(0, [], signed(1)[1]).text()
    with pytest.raises(Malformed):
        parse_proof(text.replace(*change, 1))


def leaf(**changes):
    values = {
        "log": "log.test/1", "index": 4, "ts_ns": 5, "rt_ns": 1_800_000_000_123_456_789,
        "clock": {"src": "system"}, "kind": "order.fill", "actor": {"id": "x", "kind": "sys"},
        "retention": "trade", "commitment": b"\x01" * 32, "oid": "o", "on": 2, "op": b"\x02" * 32,
    }  # fmt: skip
    return record.compose(**values | changes)


def test_a_leaf_reads_back():
    read = record.read(leaf())
    assert (read.index, read.oid, read.on, read.op) == (4, "o", 2, "02" * 32)
    assert read.recorded == "2027-01-15T08:00:00.123456789Z"
    assert record.time_ns(read.recorded) == 1_800_000_000_123_456_789


@pytest.mark.parametrize("changes", [{"op": None}, {"on": 1}, {"index": -1}, {"kind": 5}])
def test_a_leaf_whose_members_do_not_go_together_is_refused(changes):
    with pytest.raises(Malformed):
        record.read(leaf(**changes))
