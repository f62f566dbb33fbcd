"""While PostgreSQL is stopped, stops and cancels leave; afterwards each stands in the log, once."""

from __future__ import annotations

import asyncio
import json
import time
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from audit.spill import SUFFIX, Spill
from fanout.ports import CancelOutcome, CancelUnknown
from fanout.spill import SpillPlace
from fanout.spill_drain import Drain, SpilledAct
from tenancy.clock import SystemClock
from tests.fakes.broker import FakeBroker
from tests.integration.fanout.conftest import SETTINGS
from tests.integration.fanout.planned import leg, plan
from tests.integration.fanout.test_stops import HELD, POSITION, STOP, entered
from tests.integration.fanout.thrown import throw

D = Decimal
KEY = b"\x07" * 32
OF_THE_STOP = """
SELECT kind, payload FROM audit_inbox WHERE oid = (SELECT order_id FROM orders WHERE role = 'stop' LIMIT 1)
ORDER BY seq"""


@pytest.fixture
def spilling(bench, tmp_path: Path):
    """A bench whose workers may spill, under leases that outlast a stop of the server by some seconds."""
    bench.spill = SpillPlace(tmp_path, KEY)
    bench.settings = msgspec.structs.replace(SETTINGS, lease_ttl_s=6.0)
    yield bench
    bench.made.cluster.stop()
    bench.made.cluster.start()


async def stopped(bench) -> None:
    await asyncio.to_thread(bench.made.cluster.stop)


async def started(bench) -> None:
    await asyncio.to_thread(bench.made.cluster.start)


async def until(true, within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


def spills(directory: Path) -> list[Path]:
    return list(directory.glob(f"*{SUFFIX}"))


async def test_a_stop_loss_leaves_while_postgresql_is_stopped_and_stands_in_the_log_afterwards(
    spilling, tmp_path: Path
):
    bench = spilling
    await bench.set_up(1)
    async with bench.worker():
        await entered(bench, STOP)
        await bench.until(HELD, 1)
        await stopped(bench)
        bench.broker.price = D(49_000)
        await until(lambda: len(bench.broker.executed) == 2)
        assert len(spills(tmp_path)) == 1
        await started(bench)
        await bench.until(POSITION, D(0), within_s=20)
        await until(lambda: not spills(tmp_path))
    _, sent = bench.broker.executed
    assert (sent.role, sent.reduce_only, sent.side, sent.attempt) == ("stop", True, "sell", 301)
    told = await bench.rows(OF_THE_STOP)
    assert [kind for kind, _ in told] == [
        "order.held", "order.intent", "order.resolved", "order.fill", "order.close",
    ]  # fmt: skip
    intent = json.loads(bytes(told[1][1]))
    assert intent["cl_ord_id"] == sent.cl_ord_id
    assert intent["spilled"]["line"] == 1
    assert await bench.rows(
        "SELECT attempt, state FROM orders WHERE role = 'stop' ORDER BY attempt"
    ) == [(1, "canceled"), (301, "filled")]
    assert await bench.rows("SELECT count(*) FROM audit_spills") == [(1,)]


async def test_a_stop_that_was_let_go_is_not_let_go_again_when_postgresql_fails_again(
    spilling, tmp_path: Path, monkeypatch
):
    """The drain has told the book; the engine has not read it yet, and still holds the stop in memory.

    Found by simulated seed 5019: the same attempt went to the exchange twice.
    """
    bench = spilling
    await bench.set_up(1)
    async with bench.worker() as worker:

        async def nothing_yet() -> None:
            return None

        await entered(bench, STOP)
        await until(lambda: bool(worker.stops.all_held()))
        await stopped(bench)
        bench.broker.price = D(49_000)
        await until(lambda: len(bench.broker.executed) == 2)
        monkeypatch.setattr(worker.stops, "round", nothing_yet)
        await started(bench)
        await until(lambda: not spills(tmp_path), within_s=20)
        assert worker.stops.all_held()
        await stopped(bench)
        await asyncio.sleep(2.0)
        assert len(bench.broker.executed) == 2
        monkeypatch.undo()
        await started(bench)
        await bench.until(POSITION, D(0), within_s=20)
    assert len(bench.broker.executed) == 2


async def test_what_a_dead_worker_spilled_is_drained_by_the_next_and_sent_by_nobody_again(
    spilling, tmp_path: Path
):
    bench = spilling
    await bench.set_up(1)
    async with bench.crashing_worker() as crash:
        await entered(bench, STOP)
        await bench.until(HELD, 1)
        await stopped(bench)
        bench.broker.price = D(49_000)
        await until(lambda: len(bench.broker.executed) == 2)
        await crash()
    assert len(spills(tmp_path)) == 1
    await started(bench)
    async with bench.worker(name="w2"):
        await bench.until(POSITION, D(0), within_s=20)
        await bench.until(HELD, 0)
    assert len(bench.broker.executed) == 2
    assert spills(tmp_path) == []


async def test_a_worker_whose_lease_has_ended_lets_nothing_go(spilling, tmp_path: Path):
    bench = spilling
    bench.settings = msgspec.structs.replace(SETTINGS, lease_ttl_s=1.5)
    await bench.set_up(1)
    async with bench.crashing_worker() as crash:
        await entered(bench, STOP)
        await bench.until(HELD, 1)
        await stopped(bench)
        await asyncio.sleep(1.7)
        bench.broker.price = D(49_000)
        await asyncio.sleep(0.5)
        assert len(bench.broker.executed) == 1
        assert spills(tmp_path) == []
        await crash()


class Deaf(FakeBroker):
    """Answers no cancel until it hears again."""

    def __init__(self) -> None:
        super().__init__()
        self.hears = False
        self.cancels = 0

    async def cancel(self, account, order) -> CancelOutcome:
        if not self.hears:
            return CancelUnknown(cause="no answer")
        self.cancels += 1
        return await super().cancel(account, order)


async def test_a_kill_switchs_cancel_leaves_while_postgresql_is_stopped_and_stands_in_the_log(
    spilling, tmp_path: Path
):
    bench = spilling
    bench.broker = broker = Deaf()
    await bench.set_up(1)
    async with bench.worker() as worker:
        await plan(bench, leg(ord_type="limit", price=D(40_000)))
        await bench.until("SELECT count(*) FROM orders WHERE state = 'new'", 1)
        await throw(bench, "cancel_open")
        await bench.until("SELECT count(cancel_requested_at) FROM orders", 1)
        await until(lambda: worker.switch.stops.working)
        await stopped(bench)
        broker.hears = True
        await until(lambda: broker.cancels == 1)
        await started(bench)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'canceled'", 1, within_s=20)
        await until(lambda: not spills(tmp_path))
    told = await bench.rows(
        "SELECT kind, payload FROM audit_inbox WHERE oid IS NOT NULL ORDER BY seq"
    )
    cancels = [json.loads(bytes(payload)) for kind, payload in told if kind == "order.cancel"]
    assert len([said for said in cancels if "spilled" in said]) == 1
    assert told[-1][0] == "order.close"


async def test_nothing_that_opens_goes_past_postgresql(spilling, tmp_path: Path):
    """A held entry whose price is reached meanwhile waits for its durable intent."""
    bench = spilling
    await bench.set_up(1)
    async with bench.worker():
        await plan(bench, leg(ord_type="stop", stop_px=D(51_000)))
        await bench.until(HELD, 1)
        await stopped(bench)
        bench.broker.price = D(52_000)
        await asyncio.sleep(2.0)
        assert bench.broker.executed == []
        assert spills(tmp_path) == []
        await started(bench)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1, within_s=20)
    assert len(bench.broker.executed) == 1


async def test_a_file_that_is_drained_twice_comes_in_once(bench, tmp_path: Path):
    """As after a crash between the last commit and the removal of the file."""
    await bench.set_up(1)
    async with bench.worker():
        await entered(bench, STOP)
        await bench.until(HELD, 1)
    (order,) = bench.broker.executed
    act = SpilledAct(
        kind="cancel", tenant_id=bench.scope.tenant_id, worker="w", part=order.part, epoch=1,
        at=order.intent_at, why="its time is over", order=order,
    )  # fmt: skip
    spill = Spill(tmp_path, KEY)
    spill.append(msgspec.json.encode(act))
    spill.close()
    data = spill.path.read_bytes()
    database = await bench.open("worker")
    drain = Drain(database, SystemClock(), tmp_path, KEY)
    await drain.file(data)
    await drain.left()
    await database.close()
    count = "SELECT count(*) FROM audit_inbox WHERE kind = 'order.cancel'"
    assert await bench.rows(count) == [(1,)]
    assert spills(tmp_path) == []


async def test_a_file_that_does_not_read_as_written_is_left_for_a_person(bench, tmp_path: Path):
    spill = Spill(tmp_path, KEY)
    spill.append(b"{}")
    spill.close()
    data = bytearray(spill.path.read_bytes())
    data[-1] ^= 1
    spill.path.write_bytes(data)
    database = await bench.open("worker")
    await Drain(database, SystemClock(), tmp_path, KEY).left()
    await database.close()
    assert spills(tmp_path) == [spill.path]
