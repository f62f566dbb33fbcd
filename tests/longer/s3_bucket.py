"""Our bucket store against a real S3 server: what it must refuse, a whole log, a restore from it alone.

    python -m tests.longer.s3_bucket --endpoint https://… --region R --bucket NAME --credentials FILE

The bucket must have versions and Object Lock. What is written stays locked for a day: take one of its
own. Ends with status 0 and one line per claim, or with the claim that did not hold. Run on Ceph's
radosgw 16.2.15 (one monitor, one OSD in memory), which ignores If-None-Match and keeps no SHA-256.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from audit.drill import drill
from audit.keeper import Keeper
from audit.manifest import read_chain
from audit.worm.port import Conflict
from audit.worm.s3 import S3Store
from audit.worm.s3_wire import Bucket, Refused, time_text
from tenancy.clock import SystemClock
from tenancy.ids import new_id
from tests.fakes.log_files import LogFiles

DAY = timedelta(days=1)


def holds(claim: str, is_so: bool) -> None:
    print(f"{'ok' if is_so else 'NOT SO'}: {claim}")
    if not is_so:
        sys.exit(1)


def raises(kind: type[Exception], call: Callable[[], object]) -> bool:
    try:
        call()
    except kind:
        return True
    return False


def check(bucket: Bucket, prefix: str, work: Path) -> None:
    def store() -> S3Store:
        return S3Store(bucket, prefix, SystemClock(), DAY, DAY)

    store().create([("tile/0/000", b"x" * 8192)], seal=True)
    (kept,) = store().keep(["tile/0/000"], datetime.now(UTC) + DAY)
    name, at = f"{prefix}tile/0/000", {"versionId": kept.version or ""}
    store().create([("tile/0/000", b"x" * 8192)], seal=True)
    holds("the same bytes again make no new version", len(list(bucket.versions(name))) == 1)
    other = [("tile/0/000", b"y" * 8192)]
    holds("other bytes are a conflict", raises(Conflict, lambda: store().create(other, seal=True)))
    locked = raises(Refused, lambda: bucket.ask("DELETE", name, at))
    holds("a locked version is not deleted", locked)
    past = {
        "x-amz-object-lock-mode": "COMPLIANCE",
        "x-amz-object-lock-retain-until-date": time_text(datetime.now(UTC) - DAY),
        "content-md5": "XrY7u+Ae7tCTyyK7j1rNww==",
    }
    refused = raises(
        Refused, lambda: bucket.ask("PUT", f"{prefix}past", None, past, b"hello world")
    )
    holds("a past date is refused", refused)
    bucket.ask("PUT", name, body=b"wrong")
    bucket.ask("DELETE", name)
    holds("what is put on top hides nothing", store().read("tile/0/000") == b"x" * 8192)
    holds("and is a conflict", raises(Conflict, lambda: store().keep(["tile/0/000"], kept.until)))
    _whole_log(bucket, work)


def _whole_log(bucket: Bucket, work: Path) -> None:
    first = LogFiles(work / "first")
    kept = S3Store(bucket, f"{new_id()}/", SystemClock(), DAY, DAY)
    keeper = Keeper(first.log, kept, first.store, SystemClock(), DAY)
    keeper.open()
    for count in (700, 300):
        first.grow(count)
        keeper.follow()
        keeper.enter()
    manifest = read_chain(kept.read)
    holds("the manifest names every full file", manifest is not None and manifest.leaves == 768)
    log_id = str(first.log.log_id)
    report = drill("bucket", {log_id: lambda: kept}, work / "back", {log_id: first.log.vkey}, None)
    holds("a restore from it verifies", (report.code, report.logs[0].verdict.size) == (0, 1000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("endpoint", "region", "bucket"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--credentials", type=Path, required=True)
    given = parser.parse_args()
    bucket = Bucket(
        given.endpoint, given.region, given.bucket, given.credentials, SystemClock()
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        check(bucket, f"{new_id()}/", Path(work))
    bucket.close()


if __name__ == "__main__":
    main()
