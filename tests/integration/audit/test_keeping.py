"""Further stores follow the recorder, catch up after they were away, and catch a restored backup."""

from __future__ import annotations

import asyncio
import shutil
from datetime import timedelta

import psycopg
import pytest

from audit.keeping import Keeping, Place
from audit.manifest import read_chain
from audit.ports import LogHalted
from audit.recorder import Recorder
from audit.seen import directory_of
from audit.verdict import OK
from audit.verifier import verify_log
from audit.worm.posix import PosixStore
from tenancy.clock import SystemClock
from tests.fixtures.audit import entry
from tests.integration.audit.test_recorder import restore_a_backup

KEEP = timedelta(days=2192)


class Away(PosixStore):
    """A disk that can be unplugged."""

    plugged = True

    def read(self, name):
        if not Away.plugged:
            raise OSError("the disk does not answer")
        return super().read(name)


@pytest.fixture
def house(bench, tmp_path):
    return House(bench, tmp_path)


class House:
    """The bench's recorder with two further stores, and what keeps them."""

    def __init__(self, bench, tmp_path):
        self.bench = bench
        self.places = {"second": tmp_path / "second", "third": tmp_path / "third"}
        self.start()
        Away.plugged = True

    def start(self):
        first = self.place("first", self.bench.store_dir, PosixStore)
        further = [
            self.place("second", self.places["second"], PosixStore),
            self.place("third", self.places["third"], Away),
        ]
        self.keeping = Keeping(
            self.bench.recording, self.bench.store_dir, first, further, SystemClock(),
            lambda log, why: self.bench.recorder.halt(log, why),
        )  # fmt: skip
        self.bench.recorder = Recorder(
            self.bench.recording, self.bench.signer, self.bench.store_dir, SystemClock(),
            seen_elsewhere=self.keeping.seen_elsewhere,
        )  # fmt: skip

    @staticmethod
    def place(name, root, kind):
        return Place(
            name=name, store=lambda log: kind(root / str(log.log_id)), every_s=0.05, keep_for=KEEP
        )

    def directory(self, name):
        return self.places[name] / str(self.bench.log.log_id)

    async def write(self, count):
        await self.bench.append([entry(n) for n in range(count)])
        await self.bench.recorder.drain()

    def verified(self, name):
        verdict = verify_log(self.directory(name), str(self.bench.log.key))
        assert verdict.code == OK, verdict.findings
        return verdict.size


async def test_every_store_has_what_is_published_and_says_so_in_its_manifest(house):
    for count in (300, 300):
        await house.write(count)
        await house.keeping.once()
    for name in ("second", "third"):
        assert house.verified(name) == 600
    for directory in (house.bench.directory, house.directory("second")):
        manifest = read_chain(PosixStore(directory).read)
        assert manifest is not None
        assert (manifest.leaves, len(manifest.files)) == (512, 4)
    assert house.keeping.worm() == {"first": "advisory", "second": "advisory", "third": "advisory"}
    assert verify_log(house.bench.directory, str(house.bench.log.key)).code == OK


async def test_a_store_that_is_away_holds_nobody_up_and_catches_up(house):
    stop = asyncio.Event()
    running = asyncio.create_task(house.keeping.run(stop))
    Away.plugged = False
    await house.write(300)
    await until(lambda: (house.directory("second") / "checkpoint").exists())
    await until(lambda: house.verified("second") == 300)
    await until(lambda: house.keeping.lag_s()["third"] > 0.2)
    assert house.keeping.lag_s()["second"] < 0.2
    assert not house.directory("third").exists()
    Away.plugged = True
    await until(lambda: (house.directory("third") / "checkpoint").exists())
    await until(lambda: house.verified("third") == 300)
    stop.set()
    await running


async def test_of_two_keepings_one_waits(house):
    stop = asyncio.Event()
    first = asyncio.create_task(house.keeping.run(stop))
    await house.write(3)
    await until(lambda: (house.directory("second") / "checkpoint").exists())
    shutil.rmtree(house.places["second"])
    house.start()
    waiting = asyncio.Event()
    second = asyncio.create_task(house.keeping.run(waiting))
    await asyncio.sleep(0.3)
    assert house.keeping.worm()["second"] == "advisory"
    assert house.keeping._further[0]._keepers == {}
    stop.set()
    waiting.set()
    await asyncio.gather(first, second)


async def test_database_and_first_store_restored_together_are_caught_by_a_further_store(house):
    """Neither of them could tell: only the further store knows that ten records were signed."""
    bench = house.bench
    await house.write(4)
    old = shutil.copytree(bench.directory, bench.store_dir / "old")
    await house.write(6)
    await house.keeping.once()
    restore_a_backup(bench, 4)
    shutil.rmtree(bench.directory)
    shutil.move(old, bench.directory)
    signed = len(bench.signer.signed)
    house.start()
    with pytest.raises(LogHalted, match="another store has 10 signed records, this one 4"):
        await house.write(20)
    assert len(bench.signer.signed) == signed


@pytest.fixture
async def restored(house):
    """Database and both sets are from one old backup; what somebody kept of the later log, as a file."""
    bench = house.bench
    await house.write(4)
    old = shutil.copytree(bench.directory, bench.store_dir / "old")
    await house.write(6)
    kept = directory_of(bench.store_dir) / "gw2" / str(bench.log.log_id) / "checkpoint"
    kept.parent.mkdir(parents=True)
    shutil.move(bench.directory / "checkpoint", kept)
    restore_a_backup(bench, 4)
    with psycopg.connect(bench.superuser) as conn:
        conn.execute("DELETE FROM audit_payloads WHERE i >= 4")
    shutil.rmtree(bench.directory)
    shutil.move(old, bench.directory)
    house.start()
    return kept


async def test_what_another_host_kept_of_a_longer_log_stops_its_signing(house, restored):
    signed = len(house.bench.signer.signed)
    with pytest.raises(LogHalted, match="another store has 10 signed records, this one 4"):
        await house.write(20)
    assert len(house.bench.signer.signed) == signed
    assert restored.exists()


async def test_what_was_kept_and_cannot_be_read_stops_it_too(house, restored):
    restored.unlink()
    restored.mkdir()
    with pytest.raises(LogHalted, match=r"what was seen of it: .*Is a directory"):
        await house.write(20)


async def test_what_nobody_signed_proves_nothing(house, restored):
    restored.write_bytes(restored.read_bytes().replace(b"10", b"11", 1))
    await house.write(20)
    assert house.bench.recorder.stats().halted == {}


async def test_a_fork_that_shows_only_when_a_store_is_back_halts_the_log_then(house):
    bench = house.bench
    await house.write(4)
    old = shutil.copytree(bench.directory, bench.store_dir / "old")
    await house.write(6)
    await house.keeping.once()
    shutil.rmtree(house.places["second"])
    restore_a_backup(bench, 4)
    with psycopg.connect(bench.superuser) as conn:
        conn.execute("DELETE FROM audit_payloads WHERE i >= 4")
    shutil.rmtree(bench.directory)
    shutil.move(old, bench.directory)
    Away.plugged = False
    house.start()
    stop = asyncio.Event()
    running = asyncio.create_task(bench.recorder.run(stop))
    await house.write(1)
    Away.plugged = True
    await house.keeping.once()
    with pytest.raises(LogHalted, match="has 10 signed records, the first 5"):
        await house.write(1)
    await until(lambda: bench.log.log_id in bench.recorder.stats().halted)
    stop.set()
    await running


async def test_without_the_database_known_logs_go_on(house):
    await house.write(3)
    await house.keeping.once()
    await house.write(3)
    await house.bench.recording.close()
    await house.keeping.once()
    assert house.verified("second") == 6


async def test_a_tenants_longer_retention_lengthens_what_is_kept(house):
    await house.write(300)
    await house.keeping.once()
    with psycopg.connect(house.bench.superuser) as conn:
        conn.execute(
            "CREATE TABLE IF NOT EXISTS audit_retention (tenant_id uuid, cls text, years smallint)"
        )
        conn.execute("GRANT SELECT ON audit_retention TO portcullis_recorder")
        conn.execute(
            "INSERT INTO audit_retention VALUES (%s, 'trade', 10)", (house.bench.log.tenant_id,)
        )
    await house.keeping.once()
    manifest = read_chain(PosixStore(house.directory("second")).read)
    assert manifest is not None
    assert manifest.term_days == 3660
    assert manifest.segments == 2


async def until(holds, limit_s=10.0):
    async with asyncio.timeout(limit_s):
        while not holds():  # noqa: ASYNC110 - files are looked at
            await asyncio.sleep(0.02)
