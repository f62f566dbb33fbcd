"""A person's session as it runs: keeper, the signer's handover, a process of its own, a scripted SinoPac."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from fanout.brokers.shioaji.adapter import ShioajiBroker
from fanout.brokers.shioaji.settings import Person, ShioajiSettings
from fanout.order import Order
from fanout.ports import AbsentProven, AbsentUnproven, Acked, BrokerAccount, Found, InDoubt
from fanout.proof import NotProven, Proven
from hsm import ceremony
from hsm.enrol import encrypt_secret
from loadtest.exchanges.shioaji.exchange import Exchange
from loadtest.exchanges.shioaji.faults import Fault
from loadtest.exchanges.shioaji.wire import ExchangeServer
from ops.session.keeper import Keeper
from ops.session.private import private_directory
from tenancy.clock import SystemClock
from tenancy.errors import ConfigurationError, Unavailable
from tests.builders import account as stored_account
from tests.contract.shioaji_venue import RICH, SYMBOL, a_market, shioaji_settings
from tests.fakes.orders import an_account, an_order, submitted
from tests.fixtures.softhsm import SoftHSM
from tests.memory import Search, spellings

TENANT, ACCOUNT = uuid4(), uuid4()
SECRET = "3yZe7dSinoPacSecretKeyOfThePersonBase58aa"
CA_PASSWORD = "ca-password"


class Host:
    """What the tests hold: the exchange, the keeper's world, and the row that a person enrolled."""

    def __init__(self, vault: SoftHSM, exchange: Exchange, settings: ShioajiSettings) -> None:
        self.vault, self.exchange, self.settings = vault, exchange, settings
        self.broker = ShioajiBroker(settings, SystemClock())
        self.row: Any = None
        self.account: BrokerAccount = None  # type: ignore[assignment]

    async def seal(self, secret: str) -> bytes:
        async with self.vault.enroller() as enroller:
            ciphertext = encrypt_secret(await enroller.public_key_pem(), secret.encode())
            return await enroller.seal_secret(TENANT, str(ACCOUNT), "sdk", ciphertext)

    def enrol(self, sealed: bytes, api_key: str = "key") -> None:
        self.row = stored_account(
            account_id=ACCOUNT, tenant_id=TENANT, broker="shioaji", api_key=api_key, sealed=sealed
        )
        self.account = an_account(
            account_id=ACCOUNT, tenant_id=TENANT, api_key=api_key, credential=sealed,
            currency="TWD", settings={"person": "chen", "account": RICH},
        )  # fmt: skip

    async def up(self) -> None:
        await eventually(lambda: self.settings.socket("chen").exists())
        await self.broker.open()

    def pid(self) -> int:
        """The session's, by its lock: the process that listens at its socket."""
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = entry.read_bytes().split(b"\0")
            except OSError:
                continue
            if b"ops.session" in words and b"--trial" not in words:
                marks = [word for word in words if str(self.settings.private).encode() in word]
                if marks:
                    return int(entry.parent.name)
        raise AssertionError("no session runs")


async def eventually(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.01)


@asynccontextmanager
async def host(vault: SoftHSM, directory: Path) -> AsyncIterator[Host]:
    private = Path("/dev/shm") / f"sj-test-{os.getpid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    (directory / "chen.pfx").write_bytes(b"a certificate that nobody reads")
    settings = shioaji_settings(
        directory,
        sdk="loadtest.exchanges.shioaji.sdk",
        door=vault.directory / "session.sock",
        private=private,
        login_timeout_s=10.0,
        persons=[
            Person(
                name="chen", tenant=TENANT, account=ACCOUNT, person_id="A123456789",
                ca_file=directory / "chen.pfx",
            )
        ],
    )  # fmt: skip
    exchange = a_market()
    exchange.keys["key"] = SECRET
    server = ExchangeServer(exchange, directory / "exchange.sock")
    server.start()
    os.environ["SHIOAJI_EXCHANGE"] = str(directory / "exchange.sock")
    it = Host(vault, exchange, settings)
    it.enrol(await it.seal(f"{SECRET}:{CA_PASSWORD}"))

    async def read(_: Person) -> Any:
        return it.row

    keeper = Keeper(settings, settings.persons[0], read, SystemClock(), look_s=0.1)
    stop = asyncio.Event()
    keeping = asyncio.create_task(keeper.run(stop))
    try:
        yield it
    finally:
        exchange.release()
        stop.set()
        await asyncio.wait_for(keeping, 20)
        await it.broker.close()
        server.stop()
        del os.environ["SHIOAJI_EXCHANGE"]
        left = [path.name for path in private.iterdir()]
        if not left:
            private.rmdir()
        assert left == [], "what the SDK wrote outlived it"


@pytest.fixture(scope="module")
def signing(vault: SoftHSM) -> SoftHSM:
    """The signer, with a socket for session launchers."""
    ceremony.create_tenant_keys(vault.settings, TENANT)
    vault.stop("signer")
    path = vault.directory / "session.sock"
    vault.start("signer", doors=f'{{ session = {{ socket = "{path}", purposes = ["sdk"] }} }}')
    return vault


def buy(it: Host, **changed: Any) -> Order:
    facts = {"broker": "shioaji", "symbol": SYMBOL, "order_qty": Decimal(2)}
    return an_order(it.account, **(facts | changed))


async def find(it: Host, order: Order) -> Any:
    return await it.broker.find(it.account, order, sent_by=datetime.now(UTC))


def assert_nothing_shows(it: Host, directory: Path) -> None:
    """Of the secret and the certificate's password, now that the session has logged in."""
    pid = it.pid()
    for name in ("cmdline", "environ"):
        shown = Path(f"/proc/{pid}/{name}").read_bytes()
        assert SECRET.encode() not in shown
        assert CA_PASSWORD.encode() not in shown
    found = [*directory.rglob("*"), *it.settings.private.rglob("*")]
    files = [path for path in found if path.is_file() and path.suffix != ".pfx"]
    assert any(path.suffix == ".journal" for path in files)
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert not list(it.settings.private.rglob("*.pfx")), "the certificate's copy"
    (private,) = it.settings.private.iterdir()
    assert private.stat().st_mode & 0o777 == 0o700
    if os.geteuid() == 0:
        assert Search(spellings(SECRET.encode()))(pid) == {}, "this SDK keeps none"
    limits = Path(f"/proc/{pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]


async def test_a_session_killed_with_an_order_in_flight_leaves_doubt_and_is_started_again(
    signing, tmp_path
):
    """SIGKILL while SinoPac has the order: doubt; the next session finds it, and proves what never left.

    Before that it trades, and shows nothing of its secret in command line, environment, file or memory.
    """
    async with host(signing, tmp_path) as it:
        await it.up()
        assert isinstance(await submitted(it.broker, it.account, buy(it)), Acked)
        assert_nothing_shows(it, tmp_path)
        it.exchange.faults.rules.append(Fault("place", "hang"))
        order, never = buy(it), buy(it)
        under_way = asyncio.create_task(submitted(it.broker, it.account, order))
        await eventually(lambda: "place hang" in it.exchange.faults.happened)
        first = it.pid()
        os.kill(first, signal.SIGKILL)
        assert isinstance(await under_way, InDoubt)
        it.exchange.release()
        await eventually(lambda: len(it.exchange.orders) == 2)
        await eventually(lambda: it.exchange.limits.logins == 2)
        await asyncio.wait_for(back(it), 20)
        assert it.pid() != first
        assert isinstance(await find(it, order), Found)
        assert isinstance(await find(it, never), AbsentProven)
        lost = buy(it, intent_at=datetime.now(UTC) - timedelta(hours=1))
        assert isinstance(await find(it, lost), AbsentUnproven)
        assert len(it.exchange.orders) == 2
        assert it.exchange.limits.most_connections <= 2


async def back(it: Host) -> None:
    """Until a session answers again."""
    while True:
        try:
            await it.broker.open()
        except Unavailable:
            await asyncio.sleep(0.02)
        else:
            return


async def test_a_refused_key_is_not_tried_again_until_it_is_another_one(signing, tmp_path):
    async with host(signing, tmp_path) as it:
        it.exchange.keys["key"] = "another"
        await eventually(lambda: it.exchange.limits.logins == 1)
        lease = datetime.now(UTC) + timedelta(seconds=30)
        bad = await it.broker.prove(it.account, test_order=None, not_after=lease)
        assert isinstance(bad, NotProven)
        it.exchange.keys["second"] = SECRET
        sealed = await it.seal(f"{SECRET}:{CA_PASSWORD}")
        candidate = msgspec.structs.replace(it.account, api_key="second", credential=sealed)
        good = await it.broker.prove(candidate, test_order=None, not_after=lease)
        assert isinstance(good, Proven), good
        assert good.broker_user == "A123456789"
        assert it.exchange.limits.logins == 3
        it.enrol(sealed, api_key="second")
        await it.up()
        assert it.exchange.limits.logins == 4
        assert it.exchange.limits.most_connections <= 2


def test_what_the_sdk_writes_goes_to_a_tmpfs_or_nowhere(tmp_path):
    with private_directory(Path("/dev/shm"), "t") as made:
        assert made.stat().st_mode & 0o777 == 0o700
    assert not made.exists()
    with pytest.raises(ConfigurationError, match="tmpfs"), private_directory(Path("/proc"), "t"):
        pass
