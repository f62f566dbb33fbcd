"""The double refuses what AWS refuses."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from loadtest.s3.bucket import COMPLIANCE, GOVERNANCE, Bucket, Refusal

NOW = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=10)


class Clock:
    now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def bucket():
    made = Bucket(Clock())
    made.set_versioning("Enabled")
    made.set_object_lock()
    return made


def locked(data=b"x", until=LATER, mode=COMPLIANCE, **more):
    return {
        "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
        "x-amz-object-lock-mode": mode,
        "x-amz-object-lock-retain-until-date": until.isoformat(),
        **more,
    }


def refused(code, call, *arguments):
    with pytest.raises(Refusal) as caught:
        call(*arguments)
    assert caught.value.code == code


def test_a_compliance_lock_is_never_shortened_nor_weakened(bucket):
    one = bucket.put("k", b"x", locked())
    for until, mode in (
        (LATER - timedelta(seconds=1), COMPLIANCE),
        (LATER, GOVERNANCE),
        (LATER + timedelta(days=1), GOVERNANCE),
    ):
        refused("AccessDenied", bucket.retain, "k", one.version, mode, until)
    bucket.retain("k", one.version, COMPLIANCE, LATER + timedelta(days=1))
    assert one.lock.until == LATER + timedelta(days=1)


def test_past_dates_are_refused(bucket):
    refused("InvalidArgument", bucket.put, "k", b"x", locked(until=NOW))
    one = bucket.put("k", b"x", {})
    refused("InvalidArgument", bucket.retain, "k", one.version, COMPLIANCE, NOW)


def test_a_locked_version_is_not_deleted_before_its_end_and_a_mark_takes_nothing_away(bucket):
    one = bucket.put("k", b"x", locked())
    refused("AccessDenied", bucket.delete, "k", one.version)
    bucket.delete("k", None)
    refused("NoSuchKey", bucket.find, "k", None)
    assert bucket.find("k", one.version).data == b"x"
    bucket.now.now = LATER + timedelta(seconds=1)
    bucket.delete("k", one.version)
    refused("NoSuchVersion", bucket.find, "k", one.version)


def test_object_lock_needs_versions_which_cannot_be_suspended_then(bucket):
    refused("InvalidBucketState", bucket.set_versioning, "Suspended")
    refused("InvalidBucketState", Bucket(Clock()).set_object_lock)


def test_a_lock_needs_a_bucket_with_object_lock_a_checksum_a_mode_and_a_date(bucket):
    plain = Bucket(Clock())
    refused("InvalidRequest", plain.put, "k", b"x", locked())
    headers = locked()
    for missing, code in (
        ("x-amz-checksum-sha256", "InvalidRequest"),
        ("x-amz-object-lock-mode", "InvalidArgument"),
        ("x-amz-object-lock-retain-until-date", "InvalidArgument"),
    ):
        less = {name: value for name, value in headers.items() if name != missing}
        refused(code, bucket.put, "k", b"x", less)
    refused("BadDigest", bucket.put, "k", b"y", locked(b"x"))
    assert bucket.versions == {}


def test_a_name_that_exists_is_refused_under_its_condition_and_a_marked_one_is_not(bucket):
    bucket.put("k", b"x", locked(**{"if-none-match": "*"}))
    refused("PreconditionFailed", bucket.put, "k", b"x", locked(**{"if-none-match": "*"}))
    bucket.delete("k", None)
    bucket.put("k", b"x", locked(**{"if-none-match": "*"}))
