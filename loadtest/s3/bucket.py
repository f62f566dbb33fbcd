"""What one bucket holds and what it refuses: versions, locks, conditions. No HTTP here.

Rules and codes are AWS's ("Locking objects with Object Lock", "PutObject", "PutObjectRetention",
"DeleteObject", "PutBucketVersioning"), the strict reading where the text leaves one: a COMPLIANCE
lock is never shortened or taken off, by anybody; a date is in the future; a locked version is never
deleted (a delete without a version only sets a mark); a lock needs a checksum in the request, a
bucket with Object Lock, and that needs versions, which then cannot be suspended.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import md5, sha256
from zlib import crc32

COMPLIANCE, GOVERNANCE = "COMPLIANCE", "GOVERNANCE"


class Refusal(Exception):
    """S3's answer where it says no."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass
class Lock:
    """Until when a version stands."""

    mode: str
    until: datetime


@dataclass
class Version:
    """One version of a key; `data` None: a mark of deletion."""

    version: str
    data: bytes | None
    modified: datetime
    lock: Lock | None = None

    @property
    def etag(self) -> str:
        return md5(self.data or b"", usedforsecurity=False).hexdigest()


@dataclass
class Bucket:
    """A bucket. `now` is its clock, UTC. `versions` by key, the oldest first."""

    now: Callable[[], datetime]
    versioning: str = ""  # "", "Enabled", "Suspended"
    object_lock: bool = False
    versions: dict[str, list[Version]] = field(default_factory=dict)
    _count: int = 0

    def set_versioning(self, status: str) -> None:
        if status not in ("Enabled", "Suspended"):
            raise Refusal(400, "MalformedXML", "the status is Enabled or Suspended")
        if self.object_lock and status != "Enabled":
            raise Refusal(
                409, "InvalidBucketState",
                "An Object Lock configuration is present on this bucket, so the versioning state"
                " cannot be changed.",
            )  # fmt: skip
        self.versioning = status

    def set_object_lock(self) -> None:
        if self.versioning != "Enabled":
            raise Refusal(
                409, "InvalidBucketState",
                "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
            )  # fmt: skip
        self.object_lock = True

    def put(self, key: str, data: bytes, headers: Mapping[str, str]) -> Version:
        """One PUT of an object. `headers` in lower case."""
        checked = check_sums(data, headers)
        lock = self._lock_of(headers)
        if lock is not None and not checked:
            raise Refusal(
                400, "InvalidRequest",
                "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests"
                " with Object Lock parameters",
            )  # fmt: skip
        condition = headers.get("if-none-match")
        if condition is not None:
            if condition != "*":
                raise Refusal(501, "NotImplemented", "If-None-Match takes * alone")
            if (newest := self.newest(key)) is not None and newest.data is not None:
                raise Refusal(412, "PreconditionFailed", "The key exists")
        return self._add(key, data, lock)

    def newest(self, key: str) -> Version | None:
        return self.versions[key][-1] if self.versions.get(key) else None

    def find(self, key: str, version: str | None) -> Version:
        """The version named, or the newest. Raises Refusal."""
        if version is None:
            newest = self.newest(key)
            if newest is None or newest.data is None:
                raise Refusal(404, "NoSuchKey", "The specified key does not exist.")
            return newest
        for one in self.versions.get(key, []):
            if one.version == version:
                if one.data is None:
                    raise Refusal(405, "MethodNotAllowed", "a mark of deletion has no content")
                return one
        raise Refusal(404, "NoSuchVersion", "The specified version does not exist.")

    def delete(self, key: str, version: str | None) -> None:
        if version is None:
            if self.versioning == "Enabled":
                self._add(key, None, None)
            else:
                self.versions.pop(key, None)
            return
        kept = self.versions.get(key, [])
        for one in kept:
            if one.version == version and one.lock is not None and one.lock.until > self.now():
                raise Refusal(
                    403, "AccessDenied", "Access Denied because object protected by object lock."
                )
        self.versions[key] = [one for one in kept if one.version != version]

    def retain(self, key: str, version: str | None, mode: str, until: datetime) -> None:
        """PutObjectRetention."""
        if not self.object_lock:
            raise Refusal(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
        one = self.find(key, version)
        new = self._checked_lock(mode, until)
        old = one.lock
        binds = old is not None and old.mode == COMPLIANCE and old.until > self.now()
        if binds and old is not None and (new.mode != COMPLIANCE or new.until < old.until):
            raise Refusal(
                403, "AccessDenied", "Access Denied because object protected by object lock."
            )
        one.lock = new

    def _lock_of(self, headers: Mapping[str, str]) -> Lock | None:
        mode = headers.get("x-amz-object-lock-mode")
        until = headers.get("x-amz-object-lock-retain-until-date")
        if (mode is None) != (until is None):
            raise Refusal(
                400, "InvalidArgument",
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            )  # fmt: skip
        if mode is None or until is None:
            return None
        if not self.object_lock:
            raise Refusal(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
        return self._checked_lock(mode, moment(until))

    def _checked_lock(self, mode: str, until: datetime) -> Lock:
        if mode not in (COMPLIANCE, GOVERNANCE):
            raise Refusal(400, "InvalidArgument", "Unknown wormMode directive.")
        if until <= self.now():
            raise Refusal(400, "InvalidArgument", "The retain until date must be in the future!")
        return Lock(mode, until)

    def _add(self, key: str, data: bytes | None, lock: Lock | None) -> Version:
        self._count += 1
        name = f"v{self._count:08}" if self.versioning == "Enabled" else "null"
        made = Version(name, data, self.now(), lock)
        kept = self.versions.setdefault(key, [])
        if name == "null":
            kept[:] = [one for one in kept if one.version != "null"]
        kept.append(made)
        return made


def moment(text: str) -> datetime:
    """ISO 8601 with a zone. Raises Refusal."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = datetime.min
    if found.tzinfo is None:
        raise Refusal(400, "InvalidArgument", "The retain until date must be provided in ISO 8601")
    return found.astimezone(UTC)


def check_sums(data: bytes, headers: Mapping[str, str]) -> bool:
    """Whether there is a checksum; it is right then. Raises Refusal."""
    given = 0
    for header, right in (
        ("x-amz-checksum-sha256", sha256(data).digest()),
        ("x-amz-checksum-crc32", crc32(data).to_bytes(4, "big")),
        ("content-md5", md5(data, usedforsecurity=False).digest()),
    ):
        if header not in headers:
            continue
        try:
            said = base64.b64decode(headers[header], validate=True)
        except binascii.Error:
            raise Refusal(400, "InvalidRequest", f"Value for {header} header is invalid.") from None
        if said != right:
            raise Refusal(400, "BadDigest", f"The {header} you specified did not match.")
        given += 1
    return given > 0
