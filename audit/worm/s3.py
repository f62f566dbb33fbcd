"""One log's files in an S3 bucket with Object Lock in COMPLIANCE mode: nobody can remove them before time.

Each file is one PUT, with its SHA-256, a lock and its end, and `If-None-Match: *`, so that a name is
written once; then a HEAD of the version that came into being, whose size, checksum, mode and end are
compared. What was not read back is not believed (NotKept). Whether the server heeds the condition is
tried at the start; where it does not (Ceph's radosgw) the name's versions are listed before and after.

1. PUT.           *Crash: the object stands under its lock; the same bytes again are success.*
2. HEAD.          *Crash: the same.*
3. In keep(): lengthen the lock where it ends too early, HEAD again.

A lock protects a version, not a name: with our access key one may still put a newer version or a mark
of deletion on top. So of a write-once name the *oldest* version counts, here and in a restore, and a
name whose newest version is not its oldest is a Conflict for the writer. `checkpoint` and `vkey` are
replaced: each is a new version, the newest counts, and readers check its signature.

Partial tiles and mutable files are locked for `edge_for` only; prune() marks partial ones deleted, and
a lifecycle rule for noncurrent versions takes them away once their lock has ended (docs/operating/worm.md).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import takewhile
from typing import TypeVar
from xml.etree import ElementTree

from audit.manifest import File, utc_seconds
from audit.worm.port import Conflict, NotKept, Worm
from audit.worm.s3_wire import Bucket, Refused, Version, time_text
from tenancy.clock import Clock
from tenancy.errors import PortcullisError

AT_ONCE = 8
"""Requests in flight for one log."""
COMPLIANCE = "COMPLIANCE"
NEWEST_COUNTS = frozenset({"checkpoint", "vkey"})

T = TypeVar("T")
R = TypeVar("R")


class Unfit(PortcullisError):
    """The bucket cannot keep what is put there: no versions, or no Object Lock."""

    code = "audit_store_unfit"


class S3Store:
    """See audit.worm.port.Store, and the module. `prefix` ends in `<log id>/`."""

    def __init__(
        self, bucket: Bucket, prefix: str, clock: Clock, keep_for: timedelta, edge_for: timedelta
    ) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._clock = clock
        self._keep_for, self._edge_for = keep_for, edge_for
        self._fit = False
        self._just_put: dict[str, File] = {}  # read back already, until keep() asks for it
        self._first: dict[str, str] = {}
        self._listed = False

    @property
    def worm(self) -> Worm:
        """Every file is locked when it is acknowledged, or is not acknowledged."""
        return "enforced" if self._fit else "advisory"

    def create(self, files: Sequence[tuple[str, bytes]], *, seal: bool) -> None:
        self._check_fit()
        until = self._until(self._keep_for if seal else self._edge_for)
        kept = self._all(lambda file: self._put_once(*file, until), files)
        if seal:
            self._just_put.update((file.name, file) for file in kept)

    def keep(self, names: Sequence[str], until: datetime) -> list[File]:
        self._check_fit()
        until = utc_seconds(until)
        return self._all(lambda name: self._keep_one(name, until), names)

    def replace(self, name: str, data: bytes) -> None:
        self._check_fit()
        self._put(name, data, self._until(self._edge_for), {})

    def read(self, name: str) -> bytes | None:
        version = None if name in NEWEST_COUNTS else self._oldest(name)
        if version is None and name not in NEWEST_COUNTS:
            return None
        query = {} if version is None else {"versionId": version}
        try:
            return self._bucket.ask("GET", self._prefix + name, query).body
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def prune(self, names: Sequence[str]) -> None:
        self._all(lambda name: self._bucket.ask("DELETE", self._prefix + name), names)

    def names(self) -> list[str]:
        """All tiles' names, hidden ones too, but partial ones that were pruned."""
        names: set[str] = set()
        gone: set[str] = set()
        for version in self._bucket.versions(f"{self._prefix}tile/"):
            name = version.key.removeprefix(self._prefix)
            if version.is_mark and version.is_latest and ".p/" in name:
                gone.add(name)
            elif not version.is_mark:
                names.add(name)
        return sorted(names - gone)

    def list_versions(self) -> None:
        """Ask once what read() would ask for each name. For a store that nobody writes meanwhile."""
        self._first = {
            version.key.removeprefix(self._prefix): version.version
            for version in self._bucket.versions(self._prefix)
            if not version.is_mark  # of a key's versions the oldest is listed last, and stays
        }
        self._listed = True

    def _check_fit(self) -> None:
        if self._fit:
            return
        try:
            versions = self._bucket.ask("GET", query={"versioning": ""}).body
            lock = self._bucket.ask("GET", query={"object-lock": ""}).body
        except Refused as error:
            raise Unfit(f"{self._bucket!r}: {error}") from error
        if b"<Status>Enabled</Status>" not in versions:
            raise Unfit(f"{self._bucket!r} keeps no versions")
        if b"<ObjectLockEnabled>Enabled</ObjectLockEnabled>" not in lock:
            raise Unfit(f"{self._bucket!r} has no Object Lock")
        if self._bucket.is_conditional is None:  # once for a bucket and process
            first = self._refuses_what_exists()
            self._bucket.is_conditional = first or self._refuses_what_exists()
        self._fit = True

    def _refuses_what_exists(self) -> bool:
        """Whether a name that exists is refused; the first time ever it does not exist yet."""
        try:
            self._bucket.ask("PUT", f"{self._prefix}.fit", headers={"if-none-match": "*"})
        except Refused as error:
            if error.status == 412:
                return True
            raise
        return False

    def _put_once(self, name: str, data: bytes, until: datetime) -> File:
        if self._bucket.is_conditional:
            try:
                return self._put(name, data, until, {"if-none-match": "*"})
            except Refused as error:
                if error.status not in (409, 412):  # 409: another PUT of the name is just going on
                    raise
        elif next(self._versions(name), None) is None:
            kept = self._put(name, data, until, {})
            if self._only(name) != kept.version:
                raise Conflict(f"{name} in {self._bucket!r} was written by somebody else first")
            return kept
        here = self._look(name, self._only(name))
        if (here.sha256, here.size) != (sha256(data).hexdigest(), len(data)):
            raise Conflict(f"{name} in {self._bucket!r} exists and holds other bytes")
        return here if here.until >= until else self._lengthen(here, until)

    def _put(self, name: str, data: bytes, until: datetime, condition: dict[str, str]) -> File:
        """Steps 1 and 2."""
        checksum = base64.b64encode(sha256(data).digest()).decode()
        headers = {
            "content-type": "application/octet-stream",
            "x-amz-checksum-sha256": checksum,
            "x-amz-sdk-checksum-algorithm": "SHA256",
            "x-amz-object-lock-mode": COMPLIANCE,
            "x-amz-object-lock-retain-until-date": time_text(until),
            **condition,
        }
        answer = self._bucket.ask("PUT", self._prefix + name, headers=headers, body=data)
        version = answer.headers.get("x-amz-version-id", "")
        if version in ("", "null"):
            raise NotKept(f"{name} was put into {self._bucket!r} and has no version")
        kept = self._look(name, version)
        wanted = (sha256(data).hexdigest(), len(data))
        if (kept.sha256, kept.size) != wanted or kept.until < until:
            raise NotKept(f"{name} was read back from {self._bucket!r} as something else")
        return kept

    def _keep_one(self, name: str, until: datetime) -> File:
        """Step 3."""
        here = self._just_put.pop(name, None) or self._look(name, self._only(name))
        return here if here.until >= until else self._lengthen(here, until)

    def _lengthen(self, file: File, until: datetime) -> File:
        root = ElementTree.Element("Retention", xmlns="http://s3.amazonaws.com/doc/2006-03-01/")
        ElementTree.SubElement(root, "Mode").text = COMPLIANCE
        ElementTree.SubElement(root, "RetainUntilDate").text = time_text(until)
        body = ElementTree.tostring(root)
        assert file.version is not None
        self._bucket.ask(
            "PUT", self._prefix + file.name, {"retention": "", "versionId": file.version},
            {"x-amz-checksum-sha256": base64.b64encode(sha256(body).digest()).decode(),
             "x-amz-sdk-checksum-algorithm": "SHA256"}, body,
        )  # fmt: skip
        longer = self._look(file.name, file.version)
        if longer.until < until:
            raise NotKept(f"{file.name} in {self._bucket!r} is not locked for longer")
        return longer

    def _look(self, name: str, version: str) -> File:
        """What stands there. Raises NotKept where it is not locked as we lock, FileNotFoundError."""
        try:
            answer = self._bucket.ask(
                "HEAD",
                self._prefix + name,
                {"versionId": version},
                {"x-amz-checksum-mode": "ENABLED"},
            )
        except Refused as error:
            if error.status == 404:
                raise FileNotFoundError(name) from error
            raise
        said = answer.headers
        until = _time(said.get("x-amz-object-lock-retain-until-date", ""))
        if said.get("x-amz-object-lock-mode") != COMPLIANCE or until is None:
            raise NotKept(f"{name} in {self._bucket!r} is not locked in COMPLIANCE mode")
        checksum = said.get("x-amz-checksum-sha256")
        if checksum is not None:
            hashed, size = base64.b64decode(checksum).hex(), int(said.get("content-length", "-1"))
        else:  # a server that keeps no checksums: then the bytes themselves are read
            data = self._bucket.ask("GET", self._prefix + name, {"versionId": version}).body
            hashed, size = sha256(data).hexdigest(), len(data)
        return File(name, hashed, size, until, version)

    def _oldest(self, name: str) -> str | None:
        if self._listed:
            return self._first.get(name)
        found = [version.version for version in self._versions(name)]
        return found[-1] if found else None

    def _only(self, name: str) -> str:
        """The one version of a write-once name. Raises Conflict where somebody put another on top."""
        found = [version.version for version in self._versions(name)]
        if not found:
            raise FileNotFoundError(name)
        if len(found) > 1:
            raise Conflict(f"{name} in {self._bucket!r} was written {len(found)} times")
        return found[0]

    def every(self, name: str) -> list[bytes]:
        """What all versions of a name hold that are still there, the newest first (for a restore)."""
        return [
            self._bucket.ask("GET", self._prefix + name, {"versionId": version.version}).body
            for version in self._versions(name)
        ]

    def _versions(self, name: str) -> Iterator[Version]:
        """The newest first. A key is listed before all those that only begin like it."""
        key = self._prefix + name
        listed = takewhile(lambda version: version.key == key, self._bucket.versions(key))
        return (version for version in listed if not version.is_mark)

    def _until(self, span: timedelta) -> datetime:
        return utc_seconds(self._clock.now()) + span

    def _all(self, act: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Several at once; every one has ended when the first error is raised."""
        if len(items) < 2:
            return [act(item) for item in items]
        with ThreadPoolExecutor(min(AT_ONCE, len(items))) as pool:
            return list(pool.map(act, items))


def _time(text: str) -> datetime | None:
    """Servers write fractions, and `Z` or an offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return utc_seconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
