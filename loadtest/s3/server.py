"""The double on HTTP: path-style requests, S3's XML, and the lies that a test may ask for.

Each request's signature is checked (loadtest/s3/signature.py). A listing has `page` entries at most,
so that a client must page. `lies`: words of LIES, each of which the next fitting answers follow.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from loadtest.s3 import signature
from loadtest.s3.bucket import Bucket, Lock, Refusal, Version, check_sums, moment

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
LIES = {
    "drops the lock": "PUT is acknowledged, the version has no lock",
    "shortens the lock": "PUT is acknowledged, the lock ends a day early",
    "governance": "PUT is acknowledged, the lock is one that can be lifted",
    "changes the bytes": "PUT is acknowledged, one byte is another",
    "loses the object": "PUT is acknowledged, nothing is there",
    "ignores conditions": "If-None-Match is not looked at",
    "no checksums": "HEAD tells no checksum",
    "unavailable": "every answer is 503 SlowDown",
    "hangs up": "the connection ends without an answer, after the work was done",
}


class Double:
    """All buckets, the keys that may ask, and what is asked of us."""

    def __init__(self, secrets: Mapping[str, str], page: int = 1000) -> None:
        self.secrets = dict(secrets)
        self.page = page
        self.offset = timedelta()
        self.buckets: dict[str, Bucket] = {}
        self.lies: set[str] = set()
        self.requests: list[str] = []
        self.lock = threading.Lock()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def make(self, name: str, *, versioning: bool = True, object_lock: bool = True) -> Bucket:
        """A bucket as an operator sets it up."""
        bucket = Bucket(self.now)
        if versioning:
            bucket.set_versioning("Enabled")
        if object_lock:
            bucket.set_object_lock()
        self.buckets[name] = bucket
        return bucket

    def bucket(self, name: str) -> Bucket:
        if name not in self.buckets:
            raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist")
        return self.buckets[name]


@contextmanager
def serving(double: Double, port: int = 0) -> Iterator[str]:
    """Serve on loopback; gives the endpoint."""

    class Handler(_Handler):
        served = double

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 5
    served: Double

    def log_message(self, *_: Any) -> None:
        """Tests read `requests`, nobody reads stderr."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        parts = urlsplit(self.path)
        double = self.served
        with double.lock:
            double.requests.append(f"{self.command} {self.path}")
            try:
                if "unavailable" in double.lies:
                    raise Refusal(503, "SlowDown", "Please reduce your request rate.")
                signature.check(
                    self.command, parts.path, parts.query, headers, body, double.secrets,
                    double.now(),
                )  # fmt: skip
                status, answer, data = self._answer(parts.path, parts.query, headers, body)
            except Refusal as refusal:
                status, answer = refusal.status, {"content-type": "application/xml"}
                data = _error(refusal)
        if "hangs up" in double.lies:
            self.close_connection = True
            return
        self._send(status, answer, data)

    do_GET = do_PUT = do_HEAD = do_DELETE = _handle

    def _send(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "content-length" not in headers:
            self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _answer(
        self, raw_path: str, raw_query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        name, _, key = unquote(raw_path).lstrip("/").partition("/")
        query = dict(parse_qsl(raw_query, keep_blank_values=True))
        bucket = self.served.bucket(name)
        if not key:
            return self._of_bucket(bucket, name, query, body)
        if "retention" in query:
            return _retention(bucket, key, query, headers, body, self.command)
        version = query.get("versionId")
        if self.command == "PUT":
            made = self._put(bucket, key, body, headers)
            return 200, {"x-amz-version-id": made.version, "etag": f'"{made.etag}"'}, b""
        if self.command == "DELETE":
            bucket.delete(key, version)
            return 204, {}, b""
        one = bucket.find(key, version)
        checksums = headers.get("x-amz-checksum-mode") == "ENABLED"
        told = _told(one, checksums and "no checksums" not in self.served.lies)
        return 200, told, one.data or b""

    def _put(self, bucket: Bucket, key: str, body: bytes, headers: Mapping[str, str]) -> Version:
        lies = self.served.lies
        if "ignores conditions" in lies:
            headers = {k: v for k, v in headers.items() if k != "if-none-match"}
        made = bucket.put(key, body, headers)
        if not made.lock:
            return made
        for lie, lock in (
            ("drops the lock", None),
            ("shortens the lock", Lock(made.lock.mode, made.lock.until - timedelta(days=1))),
            ("governance", Lock("GOVERNANCE", made.lock.until)),
        ):
            if lie in lies:
                made.lock = lock
        if "changes the bytes" in lies:
            made.data = bytes([body[0] ^ 1]) + body[1:]
        if "loses the object" in lies:
            bucket.versions[key].remove(made)
        return made

    def _of_bucket(
        self, bucket: Bucket, name: str, query: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if self.command == "PUT" and "versioning" in query:
            bucket.set_versioning(_text(body, "Status"))
            return 200, {}, b""
        if self.command == "PUT" and "object-lock" in query:
            bucket.set_object_lock()
            return 200, {}, b""
        if self.command == "GET" and "versioning" in query:
            status = f"<Status>{bucket.versioning}</Status>" if bucket.versioning else ""
            return _document("VersioningConfiguration", status)
        if self.command == "GET" and "object-lock" in query:
            if not bucket.object_lock:
                raise Refusal(
                    404, "ObjectLockConfigurationNotFoundError",
                    "Object Lock configuration does not exist for this bucket",
                )  # fmt: skip
            enabled = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>"
            return _document("ObjectLockConfiguration", enabled)
        if self.command == "GET" and "versions" in query:
            shown = _folders if query.get("delimiter") == "/" else _listing
            return _document("ListVersionsResult", shown(bucket, query, self.served.page))
        raise Refusal(501, "NotImplemented", "the double does not know this request")


def _retention(
    bucket: Bucket,
    key: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes,
    command: str,
) -> tuple[int, dict[str, str], bytes]:
    if command == "PUT":
        if not check_sums(body, headers):
            raise Refusal(400, "InvalidRequest", "Missing required header: Content-MD5")
        until = moment(_text(body, "RetainUntilDate"))
        bucket.retain(key, query.get("versionId"), _text(body, "Mode"), until)
        return 200, {}, b""
    lock = bucket.find(key, query.get("versionId")).lock
    if lock is None:
        raise Refusal(404, "NoSuchObjectLockConfiguration", "it has no retention")
    text = f"<Mode>{lock.mode}</Mode><RetainUntilDate>{_date(lock.until)}</RetainUntilDate>"
    return _document("Retention", text)


def _told(one: Version, checksums: bool) -> dict[str, str]:
    data = one.data or b""
    told = {
        "x-amz-version-id": one.version,
        "etag": f'"{one.etag}"',
        "content-length": str(len(data)),
        "last-modified": one.modified.strftime("%a, %d %b %Y %H:%M:%S GMT"),
    }
    if checksums:
        told["x-amz-checksum-sha256"] = base64.b64encode(hashlib.sha256(data).digest()).decode()
    if one.lock is not None:
        told["x-amz-object-lock-mode"] = one.lock.mode
        told["x-amz-object-lock-retain-until-date"] = _date(one.lock.until)
    return told


def _listing(bucket: Bucket, query: Mapping[str, str], page: int) -> str:
    rows = [
        (key, one, one is kept[-1])
        for key, kept in sorted(bucket.versions.items(), key=lambda item: item[0].encode())
        if key.startswith(query.get("prefix", ""))
        for one in reversed(kept)
    ]
    key, version = query.get("key-marker", ""), query.get("version-id-marker", "")
    if key:
        at = [n for n, (k, one, _) in enumerate(rows) if (k, one.version) == (key, version)]
        rows = rows[at[0] + 1 :] if at else [row for row in rows if row[0] > key]
    shown, more = rows[:page], len(rows) > page
    text = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
    if more:
        last, one, _ = shown[-1]
        text += f"<NextKeyMarker>{escape(last)}</NextKeyMarker>"
        text += f"<NextVersionIdMarker>{one.version}</NextVersionIdMarker>"
    for key, one, newest in shown:
        tag = "Version" if one.data is not None else "DeleteMarker"
        text += (
            f"<{tag}><Key>{escape(key)}</Key><VersionId>{one.version}</VersionId>"
            f"<IsLatest>{str(newest).lower()}</IsLatest>"
            f"<LastModified>{_date(one.modified)}</LastModified></{tag}>"
        )
    return text


def _folders(bucket: Bucket, query: Mapping[str, str], page: int) -> str:
    """The listing with a delimiter, as far as folders go."""
    prefix, after = query.get("prefix", ""), query.get("key-marker", "")
    shown = {
        prefix + key.removeprefix(prefix).partition("/")[0] + "/"
        for key, kept in bucket.versions.items()
        if key.startswith(prefix) and "/" in key.removeprefix(prefix) and kept
    }
    rows = sorted(one for one in shown if one > after)
    more = len(rows) > page
    text = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
    if more:
        text += f"<NextKeyMarker>{escape(rows[page - 1])}</NextKeyMarker>"
    for one in rows[:page]:
        text += f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>"
    return text


def _document(tag: str, content: str) -> tuple[int, dict[str, str], bytes]:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{tag} xmlns="{NAMESPACE}">{content}</{tag}>'
    return 200, {"content-type": "application/xml"}, text.encode()


def _error(refusal: Refusal) -> bytes:
    text = f"<Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{text}</Error>'.encode()


def _text(body: bytes, tag: str) -> str:
    try:
        tree = ElementTree.fromstring(body)  # noqa: S314 - the product's own requests
    except ElementTree.ParseError:
        raise Refusal(400, "MalformedXML", "The XML you provided was not well-formed") from None
    found = [one.text or "" for one in tree.iter() if one.tag.rpartition("}")[2] == tag]
    if not found:
        raise Refusal(400, "MalformedXML", f"{tag} is missing")
    return found[0]


def _date(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03}Z"
