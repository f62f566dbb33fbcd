"""The log, searched by people: newest first, page by page, and nothing that somebody may not hear of."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from audit import merkle
from audit.checkpoint import open_checkpoint
from audit.proof import parse_proof
from audit.proving import prove_order_in
from audit.record import Kind
from audit.worm.posix import PosixStore
from gateway.admin import audit_records
from gateway.admin.audit_proofs import OrderProof, head_of
from gateway.admin.audit_records import RecordQuery, search
from gateway.admin.errors import Malformed
from tenancy.errors import Conflict
from tests.fixtures.audit import Bench, entry

TRADER = frozenset({"orders:read", "signals:read", "events:read"})
SIGNAL = UUID("01a20292-fdb4-7248-b3e7-ea17b189401b")
ACCOUNT = UUID("01a20292-fdb4-7248-b3e7-ea17b1894aaa")


def story() -> list[Any]:
    """Thirty records of two orders; one of a signal, one sign-in, one of the clock (which is told to nobody)."""
    made = [
        msgspec.structs.replace(
            entry(n, oid=f"order{n % 2}", kind=Kind.ORDER_ACKNOWLEDGED),
            payload={"cl_ord_id": f"order{n % 2}.1", "broker": '{"id":1,"api_key":"hush"}', "n": n},
            acct=str(ACCOUNT) if n % 2 else "other",
        )
        for n in range(30)
    ]
    said = {"signal_id": str(SIGNAL), "accounts": 2}
    made.append(msgspec.structs.replace(entry(30, kind=Kind.SIGNAL_PLANNED), payload=said))
    made.append(msgspec.structs.replace(entry(31, kind=Kind.LOGIN), payload={"event": "login"}))
    made.append(entry(32, kind=Kind.CLOCK))
    return made


async def whole(bench: Bench, query: RecordQuery, actions: frozenset[str] = TRADER) -> list[Any]:
    """The items of all pages."""
    found: list[Any] = []
    async with bench.admin.tenant(bench.scope) as conn:
        while True:
            page = await search(conn, bench.scope, bench.log, query, actions)
            found += page.items
            if page.next is None:
                return found
            query = msgspec.structs.replace(query, cursor=page.next)


async def test_a_search_meets_every_record_once_and_tells_nobody_what_is_not_theirs(
    bench: Bench, monkeypatch
):
    monkeypatch.setattr(audit_records, "STRETCH", 7)
    await bench.append(story())
    await bench.recorder.drain(10)
    mine = await whole(bench, RecordQuery(limit=4))
    assert [one.index for one in mine] == list(range(30, -1, -1)), "no sign-in, no clock"
    everything = await whole(bench, RecordQuery(limit=4), TRADER | {"people:read", "audit:read"})
    assert [one.index for one in everything] == list(range(32, -1, -1))
    assert everything[0].facts == {}, "what is told to nobody has a head alone"
    of_order = await whole(bench, RecordQuery(limit=4, order_id="order1"))
    assert [one.index for one in of_order] == list(range(29, 0, -2))
    assert "hush" not in (of_order[0].heard or "hush")
    assert "n" not in of_order[0].facts
    of_account = await whole(bench, RecordQuery(account_id=ACCOUNT))
    assert of_account == of_order
    of_signal = await whole(bench, RecordQuery(signal_id=SIGNAL))
    assert [one.kind for one in of_signal] == ["signal.planned"]
    assert await whole(bench, RecordQuery(kind=Kind.LOGIN)) == []
    with pytest.raises(Malformed):
        await whole(bench, RecordQuery(cursor="eA"))


async def test_the_head_continues_an_older_one_and_an_orders_bundle_is_what_the_command_writes(
    bench: Bench,
):
    await bench.append(story()[:10])
    await bench.recorder.drain(10)
    store = PosixStore(bench.directory)
    old = head_of(store, bench.log, None)
    await bench.append(story()[10:])
    await bench.recorder.drain(10)
    new = head_of(store, bench.log, old.size)
    heads = [open_checkpoint(one.checkpoint.encode(), *bench.log.known) for one in (old, new)]
    hashes = [audit_bytes(digest) for digest in new.consistency or ()]
    assert merkle.verify_consistency(
        heads[0].size, heads[1].size, heads[0].root, heads[1].root, hashes
    )
    with pytest.raises(Conflict):
        head_of(store, bench.log, new.size + 1)
    async with bench.admin.tenant(bench.scope) as conn:
        bundle = await prove_order_in(conn, bench.scope, bench.directory.parent, "order1")
    shown = msgspec.convert(bundle, OrderProof)
    assert [one.i for one in shown.records] == list(range(1, 30, 2))
    last = shown.records[-1]
    parse_proof(last.proof).check(last.leaf.encode(), *bench.log.known)


def audit_bytes(digest: str) -> bytes:
    return msgspec.json.decode(f'"{digest}"', type=bytes)
