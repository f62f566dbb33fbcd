"""Anchors: what one slot's proof shows, and what it does not show of anybody else."""

from __future__ import annotations

import random
import secrets
import uuid

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import anchor, merkle, record
from audit.anchor import Anchored, SlotProof, Tree, read_anchored, width_for
from audit.anchoring import Slots, decide
from audit.checkpoint import Checkpoint
from audit.logs import Log, Tail
from audit.malformed import Malformed
from audit.proof import Proof
from tenancy.clock_quality import unmeasured
from tenancy.values import TenantID
from tests.fakes.growing_log import GrowingLog

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x03" * 32)
ORIGIN = "anchor.test/1"


def log_of(origin: str, kind="records") -> Log:
    key = PRIVATE.public_key().public_bytes_raw()
    return Log(uuid.uuid4(), TenantID(uuid.uuid4()), origin, "key", key, (), kind)


ANCHOR = log_of(ORIGIN, "anchor")


def heads_of(sizes: list[int]) -> list[tuple[Log, Checkpoint]]:
    logs = [log_of(f"log.test/{n}") for n in range(len(sizes))]
    return [
        (log, Checkpoint(log.origin, size, secrets.token_bytes(32)))
        for log, size in zip(logs, sizes, strict=True)
    ]


def anchored(heads, slots=None, tail=None):
    slots = slots or Slots({})
    slots.give([log for log, _ in heads])
    chance = secrets.token_bytes(32 * (len(heads) + slots.width))
    return decide(
        ANCHOR, tail or Tail(0, 0), heads, slots, 1_800_000_000_000_000_000, unmeasured(), chance
    )


def whole(made, placed) -> Anchored:
    """As the recorder publishes it, in an anchor log of this one leaf."""
    head = Checkpoint(ORIGIN, 1, merkle.leaf_hash(made.leaf))
    note = head.note((ANCHOR.key, PRIVATE.sign(head.text().encode())))
    return Anchored(placed.proof, made.leaf, Proof(0, [], note).text())


def test_every_logs_head_leads_to_the_one_leaf():
    made = anchored(heads_of([1, 5, 700]))
    leaf = record.read(made.leaf)
    assert (leaf.kind, leaf.index, leaf.log) == ("anchor", 0, ORIGIN)
    for placed in made.placed:
        told = whole(made, placed)
        assert told.check(ANCHOR.key).origin == ORIGIN
        assert told.slot.checkpoint == placed.head
        assert read_anchored(told.as_bytes()) == told


def test_the_tree_is_rfc_6962s():
    """The proofs are ordinary inclusion proofs: any reader of RFC 6962 checks them."""
    filler = secrets.token_bytes(32 * 16)
    tree = Tree({3: b"\x01" * 32}, 16, filler)
    digest = merkle.leaf_hash(b"\x01" * 32)
    assert merkle.verify_inclusion(digest, 3, 16, tree.proof(3), tree.root)


@pytest.mark.parametrize(
    "change",
    [
        {"slot": 0}, {"slot": -1}, {"slots": 2048}, {"slots": 512}, {"slots": 1000}, {"slots": 0},
        {"salt": bytes(32)}, {"salt": bytes(31)}, {"text": "log.test/0\n2\nAAAA\n"},
        {"hashes": ()}, {"hashes": (bytes(32),) * 11}, {"hashes": (bytes(31),) * 10},
        {"hashes": (bytes(32),) * 10},
    ],
)  # fmt: skip
def test_whatever_is_changed_in_a_slots_proof_is_found(change):
    made = anchored(heads_of([4]), Slots({uuid.uuid4(): 0}))
    told = whole(made, made.placed[0])
    fields = {
        name: getattr(told.slot, name) for name in ("slot", "slots", "salt", "text", "hashes")
    }
    wrong = Anchored(SlotProof(**(fields | change)), told.leaf, told.proof)
    with pytest.raises(Malformed):
        wrong.check(ANCHOR.key)


def test_every_bit_of_the_file_counts():
    made = anchored(heads_of([4]))
    data = whole(made, made.placed[0]).as_bytes()
    chosen = random.Random(1).sample(range(len(data) * 8), 600)
    for at in chosen:
        changed = bytearray(data)
        changed[at // 8] ^= 1 << at % 8
        try:
            read = read_anchored(bytes(changed))
            read.check(ANCHOR.key)
        except Malformed:
            continue
        assert read == read_anchored(data), at  # white space between JSON's words


def shape(made, placed) -> tuple:
    """All of an anchor that a stranger can measure: what the tenant is given, but for the hashes' bits."""
    told = whole(made, placed)
    return (
        len(told.as_bytes()) - len(str(told.slot.slot)) - len(told.slot.text),
        told.slot.slots, len(told.slot.hashes), {len(digest) for digest in told.slot.hashes},
        len(made.leaf),
    )  # fmt: skip


def test_neither_volumes_nor_the_number_of_tenants_show():
    """Two histories: three quiet tenants, and nine hundred busy ones. One tenant's own view is the same."""
    own = heads_of([10])
    quiet = anchored(own + heads_of([1, 1]))
    busy = anchored(own + heads_of([random.randrange(1, 10**9) for _ in range(900)]))
    assert shape(quiet, quiet.placed[0]) == shape(busy, busy.placed[0])


def test_a_neighbour_at_rest_looks_like_one_that_grows():
    """The same heads anchored twice: every hash that a tenant is shown is another."""
    heads, slots = heads_of([10, 20]), Slots({})
    first, second = anchored(heads, slots), anchored(heads, slots)
    for one, other in zip(first.placed, second.placed, strict=True):
        assert one.proof.slot == other.proof.slot
        assert not set(one.proof.hashes) & set(other.proof.hashes)


def test_slots_are_for_good_and_their_numbers_tell_no_order():
    slots = Slots({})
    logs = [log for log, _ in heads_of([1] * 700)]
    slots.give(logs)
    given = [slots.taken[log.log_id] for log in logs]
    assert len(set(given)) == 700
    assert given != sorted(given)
    assert max(given[:100]) > 500  # not the first hundred places
    again = Slots(slots.taken)
    again.give(logs + [log for log, _ in heads_of([1] * 700)])
    assert [again.taken[log.log_id] for log in logs] == given
    assert (slots.width, again.width) == (1024, 2048)


def test_the_width_is_a_power_of_two_that_only_grows():
    assert [width_for(n) for n in (0, 1, 1023, 1024, 5000)] == [1024, 1024, 1024, 2048, 8192]
    assert width_for(1, 4096) == 4096


def test_recording_time_of_anchors_never_runs_backwards():
    later = 1_900_000_000_000_000_000
    made = anchored(heads_of([1]), tail=Tail(7, later))
    leaf = record.read(made.leaf)
    assert (leaf.index, leaf.recorded, made.rt_ns) == (7, record.time_text(later), later)


def test_no_bytes_break_the_reader_of_anchor_files():
    made = anchored(heads_of([4]))
    good = whole(made, made.placed[0]).as_json()
    for broken in (b"", b"[]", b"null", b"{}", b"\xff", b'"x"'):
        with pytest.raises(Malformed):
            read_anchored(broken)
    for name in good:
        for value in (None, 1, "x", [1], True):
            with pytest.raises(Malformed):
                read_anchored(good | {name: value}).check(ANCHOR.key)


def test_an_ordinary_record_is_no_anchor():
    made = anchored(heads_of([4]))
    other = made.leaf.replace(b'"k":"anchor"', b'"k":"export"')
    head = Checkpoint(ORIGIN, 1, merkle.leaf_hash(other))
    note = head.note((ANCHOR.key, PRIVATE.sign(head.text().encode())))
    with pytest.raises(Malformed, match="no anchor"):
        Anchored(made.placed[0].proof, other, Proof(0, [], note).text()).check(ANCHOR.key)


def test_growing_log_of_the_tests_proves_itself():
    log = GrowingLog().grow(9)
    assert merkle.verify_consistency(4, 9, log.head(4).root, log.head().root, log.proof(4))


def test_a_tree_of_two_depths_does_not_give_one_log_two_slots():
    """One root over a value at depth 1 and others at depth 2: the leaf says which width is meant."""
    salt, text = secrets.token_bytes(32), "log.test/1\n1\n" + "A" * 43 + "=\n"
    own = merkle.leaf_hash(anchor.slot_value(salt, text))
    other = merkle.leaf_hash(secrets.token_bytes(32))
    shallow = SlotProof(0, 2, salt, text, (merkle.node_hash(own, other),))
    deep = SlotProof(2, 4, salt, text, (other, own))
    root = merkle.node_hash(own, merkle.node_hash(own, other))
    assert shallow.commitment() == anchor.commitment(2, root)
    assert deep.commitment() == anchor.commitment(4, root)
    assert shallow.commitment() != deep.commitment()
