"""A day's work with a hundred accounts: no API secret is in any process's memory, nor anywhere it writes.

Searched from outside, three times: after enrolment, while orders are on their way, and afterwards;
then in the evidence that `portcullis evidence collect` would hand to somebody else.
Every secret begins and ends with marks that nothing else in the world has, so that a mark found is a
secret found, whole or in part. The control is the exchange, which has them all, by the same search.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import tarfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from ops.doctor.examination import ground_of
from ops.evidence.collection import Collected, Wish, collect
from ops.evidence.parts import PARTS
from ops.initialise import Choices
from ops.trial.customer import API_RATES, Customer, customer
from ops.trial.exchange import Exchange, broker_settings, exchange
from ops.trial.installation import Installation, fresh, remove, running
from ops.trial.outcome import settled
from ops.trial.sender import Hook, Sender, sender
from tenancy.database import Database
from tests.memory import Search, spellings
from tests.neighbour import core_limit, may_open, start_ordinary_processes

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0, reason="only root may look into the memory of other processes"
    ),
]

ACCOUNTS = 100
SIGNALS = 6
FIRST, LAST = secrets.token_hex(9), secrets.token_hex(9)
API_MARKS = {
    f"{mark} of an API secret, {name}": wanted
    for mark, text in (("first", FIRST), ("last", LAST))
    for name, wanted in spellings(text.encode()).items()
}


def marked_secret() -> str:
    """64 characters, as Gate.io's are."""
    return FIRST + secrets.token_hex(14) + LAST


class Day:
    """What was found, by the time of the look and by process."""

    def __init__(self, here: Installation, hook_secret: str) -> None:
        self.here = here
        self.hook_secret = hook_secret
        self.found: dict[str, dict[str, set[str]]] = {}
        self.of_exchange: set[str] = set()
        self.open_to_neighbours: set[str] = set()
        self.may_leave_cores: set[str] = set()
        self.evidence: Collected | None = None


def descendants(pid: int) -> Iterator[int]:
    """A process and all its children's children."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from descendants(int(child))


def processes(here: Installation) -> dict[int, str]:
    """Every process under the supervisor, PostgreSQL's backends included: pid → name."""
    named = {process.pid: name for name, process in here.state.processes.items()}
    found = {}
    for name, root in [
        ("supervisor", here.state.supervisor.pid),
        *((n, p) for p, n in named.items()),
    ]:
        for pid in descendants(root):
            if name != "supervisor" or pid not in found:
                found[pid] = name
    return found


def exchange_pid() -> int:
    """The simulator, which is a child of ours."""
    for pid in descendants(os.getpid()):
        if b"loadtest.exchanges.gateio" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise AssertionError("no simulator runs")


async def look(day: Day, when: str) -> None:
    key = base64.b64decode(day.hook_secret.removeprefix("whsec_"))
    of_hook = {f"the hook's secret, {name}": wanted for name, wanted in spellings(key).items()}
    search = Search(API_MARKS | of_hook)
    found = day.found[when] = {}
    for pid, name in processes(day.here).items():
        try:
            hits = await asyncio.to_thread(search, pid)
        except (FileNotFoundError, ProcessLookupError):
            continue  # a backend that has ended
        found.setdefault(name, set()).update(f"{what} in {where}" for what, where in hits)


async def set_up(house: Customer, market: Exchange) -> Hook:
    """A strategy with a hundred accounts, each with its own API secret."""
    names = [f"client {index}" for index in range(ACCOUNTS)]
    await house.declare(
        strategies=[{"name": "trend"}],
        accounts=[
            {"name": name, "broker": "gateio", "currency": "USDT", "stated_equity": "1000"}
            for name in names
        ],
        subscriptions=[{"strategy": "trend", "account": name} for name in names],
    )
    balances = dict.fromkeys((await house.accounts()).values(), "10000")
    await house.connect(market, balances, marked_secret)
    return await house.hook((await house.strategies())["trend"])


async def accepted(strategy: Sender, action: str) -> str:
    """The signal's id. A new hook is in force within a second: until then the answer is `try again`."""
    for _ in range(100):
        sent = await strategy.send(ticker="BTC_USDT", action=action, quantity=2)
        if sent.status == 202 and sent.signal_id:
            return sent.signal_id
        await asyncio.sleep(0.1)
    raise AssertionError(sent.answer)


async def work(day: Day, database: Database, house: Customer, strategy: Sender) -> None:
    """Signals one after the other; the second look is taken while they are on their way."""
    await look(day, "enrolled")
    looking = None
    for number in range(SIGNALS):
        signal = await accepted(strategy, "exit" if number % 2 else "buy")
        if number == SIGNALS // 2:
            looking = asyncio.create_task(look(day, "trading"))
        await settled(database, house.scope, [signal], within_s=60.0)
    assert looking is not None
    await looking
    await look(day, "afterwards")
    running = processes(day.here)
    day.open_to_neighbours = {running[pid] for pid in may_open(running)}
    day.may_leave_cores = {name for pid, name in running.items() if core_limit(pid) != ["0", "0"]}
    ground = ground_of(day.here.settings, day.here.places.settings)
    wish = Wish(ground, datetime.now(UTC) - timedelta(hours=1), "a test", "a drill")
    day.evidence = await collect(wish, day.here.places.var.parent / "evidence", PARTS)
    day.of_exchange = {what for what, _ in Search(API_MARKS)(exchange_pid())}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def day(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Day]:
    var = tmp_path_factory.mktemp("secrets") / "var"
    where = None
    executor = ThreadPoolExecutor(initializer=start_ordinary_processes)
    asyncio.get_running_loop().set_default_executor(executor)  # the supervisor starts from there
    try:
        async with exchange(var.parent / "exchange.log") as market:
            choices = Choices(
                ingress_port=0, admin_port=0, worker_processes=2, api_rates=API_RATES,
                brokers={"gateio": broker_settings(market.url, connections=16)},
            )  # fmt: skip
            where = await asyncio.to_thread(fresh, var, choices)
            async with running(where) as here, customer(here, "Acme") as house:
                hook = await set_up(house, market)
                it = Day(here, hook.secret)
                database = Database(here.settings.database.admin, name="test", size=1)
                await database.open()
                authority = here.places.var / "tls" / "ca.pem"
                async with sender(here.state.urls["ingress"], authority, hook) as strategy:
                    await work(it, database, house, strategy)
                await database.close()
            yield it
    finally:
        if where is not None:
            await asyncio.to_thread(remove, where)


PROCESSES = {
    "supervisor", "postgres", "redis", "signer", "enroller", "clock-0", "recorder-0", "worker-0", "worker-1",
    "admin-0", "ingress-0",
}  # fmt: skip


@pytest.mark.asyncio(loop_scope="module")
class TestDay:
    async def test_every_process_was_looked_at_at_every_time(self, day: Day):
        assert list(day.found) == ["enrolled", "trading", "afterwards"]
        for found in day.found.values():
            assert set(found) == PROCESSES

    async def test_the_search_finds_what_is_there(self, day: Day):
        """The exchange has every secret; ingress has the hook's."""
        assert {"first of an API secret, plain", "last of an API secret, plain"} <= day.of_exchange
        assert any("the hook's secret" in what for what in day.found["afterwards"]["ingress-0"])

    async def test_no_api_secret_is_in_any_process(self, day: Day):
        found = {
            (when, name, what)
            for when, by_process in day.found.items()
            for name, marks in by_process.items()
            for what in marks
            if "of an API secret" in what
        }
        assert found == set()

    async def test_a_hooks_secret_is_where_senders_are_checked_and_nowhere_else(self, day: Day):
        """In the signer, which opened it, for as long as what it freed is not used again: what may be
        left of the last one. In the management listener, which made it, not at all any more."""
        holders = {
            name
            for by_process in day.found.values()
            for name, marks in by_process.items()
            if any("the hook's secret" in what for what in marks)
        }
        assert holders <= {"signer", "ingress-0"}

    async def test_no_api_secret_is_in_any_file(self, day: Day):
        """Logs, rows and write-ahead log, audit store, token files, settings: every byte of var."""
        found = {
            str(path)
            for root in (day.here.places.var, day.here.places.runtime)
            for path in root.rglob("*")
            if path.is_file() and any(mark in path.read_bytes() for mark in API_MARKS.values())
        }
        assert found == set()

    async def test_no_clients_secret_is_in_what_is_collected_after_an_incident(self, day: Day):
        """Nor had any to be masked: nothing of ours had written one down."""
        assert day.evidence is not None
        key = base64.b64decode(day.hook_secret.removeprefix("whsec_"))
        wanted = [*API_MARKS.values(), *spellings(key).values(), day.hook_secret.encode()]
        with tarfile.open(day.evidence.path) as tar:
            files = [opened.read() for one in tar if (opened := tar.extractfile(one)) is not None]
        assert len(files) > 50
        assert not any(mark in data for mark in wanted for data in files)
        assert day.evidence.leaked == ()

    async def test_no_process_of_ours_may_be_read_by_a_neighbour_or_leaves_a_core(self, day: Day):
        """The control is Redis, which is of the same user, and is not ours: the kernel would let him."""
        assert "redis" in day.open_to_neighbours
        assert day.open_to_neighbours <= {"redis", "postgres"}
        assert day.may_leave_cores == set()
