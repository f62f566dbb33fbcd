"""Which place a record gets is a pure decision."""

from __future__ import annotations

import uuid

from audit import record
from audit.logs import Log, Tail
from audit.sequencer import Head, Record, place
from tenancy.clock_quality import Quality, unmeasured

LOG = Log(uuid.UUID(int=1), uuid.UUID(int=2), "log.test/1", "key", bytes(32))


TAIL = Tail(5, 1_000)


def placed(*records, now_ns, heads=None):
    batch = place(
        records, {LOG.tenant_id: LOG}, {LOG.tenant_id: TAIL}, heads or {}, now_ns, unmeasured()
    )
    return batch, [record.read(p.leaf) for p in batch.placed]


def one(seq, oid=None):
    return Record(
        seq, LOG.tenant_id, "order.fill", 7, oid, None, '{"id":"x","kind":"sys"}', None, "trade",
        bytes(32),
    )  # fmt: skip


def test_indices_go_on_from_the_tail_without_a_gap():
    batch, leaves = placed(one(9), one(12), now_ns=2_000)
    assert [leaf.index for leaf in leaves] == [5, 6]
    assert batch.tails == {LOG.tenant_id: Tail(7, 2_000)}


def test_a_clock_that_was_set_back_stands_still():
    batch, leaves = placed(one(1), now_ns=400)
    assert leaves[0].recorded == record.time_text(1_000)
    assert batch.tails[LOG.tenant_id].rt_ns == 1_000


def test_an_orders_records_are_chained_within_the_batch_and_to_what_was_before():
    before = Head(3, b"\x04" * 32)
    heads = {(LOG.log_id, "old"): before}
    batch, leaves = placed(
        one(1, "old"), one(2, "new"), one(3), one(4, "old"), now_ns=2_000, heads=heads
    )
    assert [(leaf.on, leaf.op) for leaf in leaves] == [
        (4, "04" * 32), (1, None), (None, None), (5, batch.placed[0].leaf_hash.hex()),
    ]  # fmt: skip
    assert batch.heads[LOG.log_id, "old"] == Head(5, batch.placed[3].leaf_hash)


def test_a_leaf_says_how_good_its_recording_time_is():
    batch = place(
        [one(1)], {LOG.tenant_id: LOG}, {LOG.tenant_id: TAIL}, {}, 2_000,
        Quality("degraded", "chrony", 80_000_000, "over this host's 50 ms"),
    )  # fmt: skip
    clk = record.read(batch.placed[0].leaf).members["clk"]
    assert clk == {"err": 80_000_000, "src": "chrony", "state": "degraded"}


def test_a_leaf_does_not_claim_a_clock_that_nobody_measured():
    _, leaves = placed(one(1), now_ns=2_000)
    assert leaves[0].members["clk"] == {"err": None, "src": "system", "state": "unknown"}
