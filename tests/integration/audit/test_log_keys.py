"""A log's key is changed while it is written: both sign, readers of either follow, the old one ends.

Of a log with one pair, as they were made at first, so that each signature can be counted.
"""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.bundle import verify_bundle
from audit.note import VerifierKey
from audit.proving import prove_order
from audit.verdict import OK, TAMPERED
from audit.verifier import verify_log
from tenancy.errors import NotFound, Unavailable
from tests.contract.test_independent_readers import go_reader, go_says
from tests.fixtures.audit import bench, entry

__all__ = ["bench", "go_reader"]


class Signer:
    """Keys by label, as the HSM has them. `refuses`: labels that fail for now."""

    def __init__(self) -> None:
        self.keys = {
            "log-key": Ed25519PrivateKey.from_private_bytes(b"\x07" * 32),
            "log-key@v2": Ed25519PrivateKey.from_private_bytes(b"\x08" * 32),
        }
        self.refuses: set[str] = set()

    async def sign_note(self, label: str, text: bytes) -> bytes:
        if label not in self.keys:
            raise NotFound(f"no key {label}")
        if label in self.refuses:
            raise Unavailable("not now")
        return self.keys[label].sign(text)

    def public(self, label: str) -> bytes:
        return self.keys[label].public_key().public_bytes_raw()


class Rotating:
    """A bench whose recorder runs, and what the ceremonies write of its log's keys."""

    def __init__(self, bench) -> None:
        self.bench, self.signer = bench, Signer()
        bench.signer = self.signer
        bench.recorder = bench.new_recorder()
        origin = bench.log.origin
        self.old, self.new = (
            VerifierKey(origin, self.signer.public(label)) for label in ("log-key", "log-key@v2")
        )
        self.written = 0

    def start(self) -> None:
        self.bench.recorder = self.bench.new_recorder()
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self.bench.recorder.run(self._stop))

    async def stop(self) -> None:
        self._stop.set()
        await self._task

    def both(self) -> str:
        return f"{self.old}\n{self.new}"

    def rotate(self) -> None:
        self._say("UPDATE hsm_keys SET state = 'old', replaced_at = now() WHERE kind = 'log'")
        self._say(
            "INSERT INTO hsm_keys (tenant_id, kind, version, label, public_key, due_at)"
            " VALUES (%s, 'log', 2, 'log-key@v2', %s, now())",
            self.bench.log.tenant_id, self.new.public_key,
        )  # fmt: skip

    def end_old(self) -> None:
        self._say("UPDATE hsm_keys SET state = 'ending' WHERE kind = 'log' AND version = 1")

    def _say(self, query: str, *values) -> None:
        with psycopg.connect(self.bench.superuser) as conn:
            conn.execute(query, values)

    async def write(self, count: int = 3) -> bytes:
        """Records, published; the checkpoint."""
        for _ in range(count):
            self.written += 1
            await self.bench.append([entry(self.written, f"o-{self.written}")])
        await self.bench.recorder.drain()
        return (self.bench.directory / "checkpoint").read_bytes()

    def verdict(self, vkey, since: bytes | None = None):
        return verify_log(self.bench.directory, str(vkey), since)


@pytest.fixture
def second_pair() -> bool:
    return False


@pytest.fixture
async def rotating(bench):
    made = Rotating(bench)
    made.start()
    yield made
    await made.stop()


def signatures(note: bytes) -> int:
    return note.split(b"\n\n")[-1].count("—".encode())


async def test_both_keys_sign_for_a_time_and_readers_of_either_follow(rotating, go_reader):
    """Without a restart, without a checkpoint that somebody's key does not open."""
    first = await rotating.write()
    assert signatures(first) == 1
    rotating.rotate()
    both = await until(rotating, 2)
    directory = rotating.bench.directory
    assert (directory / "vkey").read_text() == rotating.both() + "\n"
    for key in (rotating.old, rotating.new, rotating.both()):
        assert rotating.verdict(key).code == OK, key
    for key in (rotating.old, rotating.new):
        assert go_says(go_reader, directory, key)[0], key
    rotating.end_old()
    last = await until(rotating, 1)
    assert rotating.verdict(rotating.new).code == OK
    assert rotating.verdict(rotating.both()).code == OK
    assert rotating.verdict(rotating.old).code == TAMPERED
    for older in (first, both):
        assert rotating.verdict(rotating.both(), older).code == OK
    assert rotating.verdict(rotating.new, first).code == TAMPERED
    assert signatures(last) == 1


async def until(rotating: Rotating, wanted: int) -> bytes:
    """Write on until a checkpoint bears so many signatures."""
    for _ in range(50):
        note = await rotating.write(1)
        if signatures(note) == wanted:
            return note
        await asyncio.sleep(0.05)
    raise AssertionError(f"no checkpoint with {wanted} signatures:\n{note.decode()}")


async def test_proofs_of_before_and_after_open_under_both_keys(rotating):
    await rotating.write()
    before = await prove(rotating, "o-1")
    rotating.rotate()
    await until(rotating, 2)
    rotating.end_old()
    await until(rotating, 1)
    after = await prove(rotating, "o-1")
    assert after["vkey"] == rotating.both()
    for bundle in (before, after):
        assert verify_bundle(bundle, rotating.both()).code == OK
    assert verify_bundle(before, str(rotating.new)).code == TAMPERED
    assert verify_bundle(after, str(rotating.new)).code == OK


async def prove(rotating: Rotating, oid: str):
    bench = rotating.bench
    return await prove_order(bench.admin, bench.scope, bench.store_dir, oid)


async def test_a_recorder_that_starts_in_the_overlap_goes_on_with_both(rotating):
    await rotating.write()
    rotating.rotate()
    await until(rotating, 2)
    await rotating.stop()
    rotating.start()
    assert signatures(await rotating.write(1)) == 2
    await rotating.stop()
    rotating.end_old()
    rotating.start()
    assert signatures(await rotating.write(1)) == 1
    assert rotating.verdict(rotating.new).size == rotating.written


async def test_nothing_is_published_with_half_of_the_signatures(rotating):
    """The new key does not answer: publication waits, and goes on with both when it does."""
    await rotating.write()
    rotating.signer.refuses = {"log-key@v2"}
    rotating.rotate()
    await asyncio.sleep(0.6)
    await rotating.bench.append([entry(99, "o-99")])
    await asyncio.sleep(0.6)
    assert signatures((rotating.bench.directory / "checkpoint").read_bytes()) == 1
    assert rotating.verdict(rotating.old).size == 3
    rotating.signer.refuses = set()
    assert signatures(await rotating.write(1)) == 2


async def test_a_vkey_file_that_names_another_key_halts_the_log(bench):
    made = Rotating(bench)
    bench.directory.mkdir(parents=True)
    (bench.directory / "vkey").write_text(f"{made.new}\n")
    await bench.append([entry(1)])
    with pytest.raises(Exception, match="not this log's"):
        await bench.recorder.drain(5)


def test_keys_are_of_one_log_and_each_once(tmp_path):
    old, other = (VerifierKey(name, bytes(32)) for name in ("one", "other"))
    for text in (f"{old}\n{other}", f"{old}\n{old}", "", "\n"):
        assert verify_log(tmp_path, text).code == TAMPERED
