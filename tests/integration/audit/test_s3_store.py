"""What is put into a bucket is locked, read back, and never taken on trust. Against the strict double."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from audit.keeper import Keeper
from audit.malformed import Malformed
from audit.manifest import digest, read_chain
from audit.worm.port import Conflict, NotKept
from audit.worm.s3 import S3Store, Unfit
from audit.worm.s3_wire import Bucket, Refused
from loadtest.s3.server import Double, serving
from tenancy.clock import SystemClock
from tenancy.errors import ConfigurationError
from tests.fakes.log_files import LogFiles

KEEP, EDGE = timedelta(days=2192), timedelta(days=7)
SECRET = "s3cr3t/of+the+test"


@dataclasses.dataclass
class House:
    double: Double
    bucket: Bucket
    store: S3Store

    @property
    def content(self):
        return self.double.buckets["audit"].versions

    def again(self):
        """The store as the next process opens it."""
        return S3Store(self.bucket, "logs/7/", SystemClock(), KEEP, EDGE)


@pytest.fixture
def house(tmp_path):
    file = tmp_path / "s3.key"
    file.write_text(f"AKID\n{SECRET}\n")
    file.chmod(0o600)
    double = Double({"AKID": SECRET}, page=3)
    double.make("audit")
    with serving(double) as endpoint:
        bucket = Bucket(endpoint, "eu-test-1", "audit", file, SystemClock())
        yield House(double, bucket, S3Store(bucket, "logs/7/", SystemClock(), KEEP, EDGE))
        bucket.close()


def in_days(days):
    return (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)


def test_a_file_is_locked_in_compliance_mode_for_its_whole_time(house):
    house.store.create([("tile/0/000", b"x" * 8192)], seal=True)
    house.store.create([("tile/0/001.p/3", b"y" * 96)], seal=False)
    full = house.content["logs/7/tile/0/000"][0].lock
    partial = house.content["logs/7/tile/0/001.p/3"][0].lock
    assert (full.mode, partial.mode) == ("COMPLIANCE", "COMPLIANCE")
    assert full.until >= in_days(2191)
    assert in_days(6) <= partial.until <= in_days(8)
    assert house.store.worm == "enforced"


@pytest.mark.parametrize(
    "lie",
    ["drops the lock", "shortens the lock", "governance", "changes the bytes", "loses the object"],
)
def test_what_was_not_read_back_as_asked_is_not_believed(house, lie):
    house.double.lies.add(lie)
    with pytest.raises((NotKept, FileNotFoundError)):
        house.store.create([("tile/0/000", b"x" * 8192)], seal=True)


def test_a_server_that_keeps_no_checksums_is_asked_for_the_bytes(house):
    house.double.lies.add("no checksums")
    house.store.create([("tile/0/000", b"x" * 8192)], seal=True)
    assert "GET /audit/logs/7/tile/0/000?versionId=" in house.double.requests[-1]
    house.double.lies.add("changes the bytes")
    with pytest.raises(NotKept):
        house.store.create([("tile/0/001", b"x" * 8192)], seal=True)


@pytest.mark.parametrize(
    ("versioning", "object_lock", "why"),
    [
        (False, False, "ObjectLockConfigurationNotFound"),
        (True, False, "ObjectLockConfigurationNotFound"),
    ],
)
def test_a_bucket_that_cannot_lock_is_refused_before_anything_is_put(
    house, versioning, object_lock, why
):
    house.double.make("audit", versioning=versioning, object_lock=object_lock)
    with pytest.raises(Unfit, match=why):
        house.store.create([("tile/0/000", b"x")], seal=True)
    assert house.store.worm == "advisory"
    assert house.content == {}


def test_where_conditions_are_not_heeded_a_name_is_looked_for_before_and_after(house):
    """Ceph's radosgw makes a new version in spite of If-None-Match."""
    house.double.lies.add("ignores conditions")
    house.store.create([("tile/0/000", b"x")], seal=True)
    house.again().create([("tile/0/000", b"x")], seal=True)
    assert len(house.content["logs/7/tile/0/000"]) == 1
    with pytest.raises(Conflict, match="other bytes"):
        house.again().create([("tile/0/000", b"z")], seal=True)
    assert len(house.content["logs/7/tile/0/000"]) == 1
    house.bucket.ask("PUT", "logs/7/tile/0/001", body=b"an intruder's")
    with pytest.raises((Conflict, NotKept)):
        house.again().create([("tile/0/001", b"x")], seal=True)


def test_the_same_bytes_again_are_fine_and_other_bytes_a_conflict(house):
    house.store.create([("tile/0/000", b"x")], seal=True)
    again = house.again()
    again.create([("tile/0/000", b"x")], seal=True)
    assert len(house.content["logs/7/tile/0/000"]) == 1
    with pytest.raises(Conflict):
        again.create([("tile/0/000", b"z")], seal=True)


def test_an_answer_that_got_lost_is_put_again_without_harm(house):
    house.store.create([("tile/0/009", b"x")], seal=True)
    house.double.lies.add("hangs up")
    with pytest.raises(OSError):
        house.store.create([("tile/0/000", b"x")], seal=True)
    house.double.lies.clear()
    house.store.create([("tile/0/000", b"x")], seal=True)
    assert len(house.content["logs/7/tile/0/000"]) == 1


def test_keep_says_what_was_read_back_and_lengthens_a_lock_but_never_shortens_it(house):
    house.store.create([("tile/0/000", b"x")], seal=True)
    (kept,) = house.store.keep(["tile/0/000"], in_days(10))
    version = house.content["logs/7/tile/0/000"][0]
    assert (kept.sha256, kept.size, kept.version) == (digest(b"x"), 1, version.version)
    assert kept.until >= in_days(2191)
    (longer,) = house.again().keep(["tile/0/000"], in_days(3000))
    assert longer.until == version.lock.until
    assert longer.until >= in_days(2999)
    with pytest.raises(FileNotFoundError):
        house.again().keep(["tile/0/777"], in_days(10))


def test_what_was_put_on_top_hides_nothing_and_is_a_conflict_for_the_writer(house):
    """Whoever has our access key may write a newer version; the locked one is what counts."""
    house.store.create([("tile/0/000", b"right")], seal=True)
    house.bucket.ask("PUT", "logs/7/tile/0/000", body=b"wrong")
    assert house.again().read("tile/0/000") == b"right"
    with pytest.raises(Conflict, match="written 2 times"):
        house.again().keep(["tile/0/000"], in_days(10))
    house.bucket.ask("DELETE", "logs/7/tile/0/000")
    assert house.again().read("tile/0/000") == b"right"
    assert house.again().names() == ["tile/0/000"]


def test_a_locked_file_cannot_be_removed_with_our_own_key(house):
    house.store.create([("tile/0/000", b"x")], seal=True)
    version = house.content["logs/7/tile/0/000"][0].version
    with pytest.raises(Refused, match="AccessDenied"):
        house.bucket.ask("DELETE", "logs/7/tile/0/000", {"versionId": version})


def test_the_checkpoint_is_replaced_and_what_it_was_before_stays_for_a_while(house):
    assert house.store.read("checkpoint") is None
    house.store.replace("checkpoint", b"one")
    house.store.replace("checkpoint", b"two")
    assert house.store.read("checkpoint") == b"two"
    assert house.store.every("checkpoint") == [b"two", b"one"]


def test_pruned_partial_tiles_are_listed_no_more(house):
    files = [(f"tile/0/000.p/{n}", b"x" * n) for n in range(1, 9)]
    house.store.create(files, seal=False)
    assert house.store.names() == sorted(name for name, _ in files)
    house.store.prune([name for name, _ in files[:6]])
    assert house.again().names() == ["tile/0/000.p/7", "tile/0/000.p/8"]


def test_a_server_that_is_away_or_overloaded_is_an_os_error(house, tmp_path):
    house.double.lies.add("unavailable")
    with pytest.raises(OSError, match="503 SlowDown"):
        house.store.create([("tile/0/000", b"x")], seal=True)
    file = tmp_path / "s3.key"
    nobody = Bucket("http://127.0.0.1:1", "r", "audit", file, SystemClock())
    with pytest.raises(OSError):
        nobody.ask("GET", "x")


def test_a_wrong_key_is_refused_and_shows_in_no_error(house, tmp_path):
    file = tmp_path / "wrong.key"
    file.write_text("AKID\nnot-the-secret\n")
    file.chmod(0o600)
    bucket = Bucket(f"http://{house.bucket._host}", "r", "audit", file, SystemClock())
    with pytest.raises(Refused, match="SignatureDoesNotMatch") as caught:
        bucket.ask("GET", "x")
    assert "not-the-secret" not in str(caught.value) + repr(bucket)
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="may be read by others"):
        bucket.ask("GET", "x")
    bucket.close()


@pytest.mark.parametrize("endpoint", ["http://s3.example", "ftp://x", "s3.example", ""])
def test_only_tls_goes_over_a_network(endpoint, tmp_path):
    with pytest.raises(ConfigurationError):
        Bucket(endpoint, "r", "b", tmp_path / "x", SystemClock())


def test_a_whole_log_is_kept_in_a_bucket_and_its_manifest_names_the_versions(house, tmp_path):
    first = LogFiles(tmp_path / "first")
    for count in (300, 400, 1000):
        first.grow(count)
        keeper = Keeper(first.log, house.again(), first.store, SystemClock(), KEEP)
        keeper.open()
        keeper.follow()
        keeper.enter()
    store = house.again()
    assert store.read("checkpoint") == first.store.read("checkpoint")
    manifest = read_chain(store.read)
    assert manifest.leaves == 1536
    for name, file in manifest.files.items():
        (version,) = house.content[f"logs/7/{name}"]
        assert (file.version, file.sha256) == (version.version, digest(first.store.read(name)))
    assert not [n for n in store.names() if n.startswith("tile/0/001.p")]


def test_a_checkpoint_that_was_rolled_back_in_the_bucket_is_simply_put_again(house, tmp_path):
    first = LogFiles(tmp_path / "first")
    old = first.grow(300)
    keeper = Keeper(first.log, house.store, first.store, SystemClock(), KEEP)
    keeper.open()
    keeper.follow()
    new = first.grow(300)
    keeper.follow()
    house.store.replace("checkpoint", old)
    keeper.follow()
    assert house.store.read("checkpoint") == new
    house.store.replace("checkpoint", b"nonsense")
    with pytest.raises(Malformed):
        keeper.follow()
