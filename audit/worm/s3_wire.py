"""One bucket over HTTP: signed requests, answers read whole, and what each outcome means.

Path-style addresses, so that one certificate does for any bucket and any S3-like server. Connections
are kept; on one that was closed meanwhile the request is sent once more (all of ours may be: a PUT is
conditional, or replaces by the same).

Errors: OSError where nothing or nonsense came back, and for 500, 503 and the like (try again later);
Refused for what the server said no to, with its code.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

from audit.worm.sigv4 import Credentials, encode, encode_path, sign
from tenancy.clock import Clock
from tenancy.errors import ConfigurationError, PortcullisError

TIMEOUT_S = 20.0
ANSWER_BYTES_MAX = 32 << 20
IDLE_MOST = 16
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")


class Refused(PortcullisError):
    """The server said no. `reason` is S3's own code."""

    code = "audit_store_refused"

    def __init__(self, status: int, reason: str, what: str) -> None:
        super().__init__(f"{what}: {status} {reason}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Answer:
    """A good answer. Header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Version:
    """One version of an object, or a mark that hides the others."""

    key: str
    version: str
    is_latest: bool
    is_mark: bool
    modified: str


class Bucket:
    """Requests to one bucket. Safe for several threads."""

    def __init__(
        self,
        endpoint: str,
        region: str,
        name: str,
        credentials_file: Path,
        clock: Clock,
        ca_file: Path | None = None,
    ) -> None:
        """`endpoint`: https://host[:port] (http only to a loopback address, for tests)."""
        parts = urlsplit(endpoint)
        local = parts.hostname in ("127.0.0.1", "::1", "localhost")
        if (
            parts.scheme != "https" and not (parts.scheme == "http" and local)
        ) or not parts.hostname:
            raise ConfigurationError(f"{endpoint!r} is no endpoint: https://host is needed")
        self._secure = parts.scheme == "https"
        self._host, self._address = parts.netloc, (parts.hostname, parts.port)
        self._region, self._name = region, name
        self._credentials_file, self._clock = credentials_file, clock
        self._context = ssl.create_default_context(cafile=ca_file) if self._secure else None
        self.is_conditional: bool | None = None
        """Whether `If-None-Match: *` is heeded; None until somebody tried (audit/worm/s3.py)."""
        self._idle: deque[http.client.HTTPConnection] = deque()  # append and pop are atomic

    def close(self) -> None:
        """Hang up. It can be asked again all the same."""
        while self._idle:
            self._idle.pop().close()

    def __repr__(self) -> str:
        return f"Bucket({self._host!r}, {self._name!r})"

    def ask(
        self,
        method: str,
        key: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """One request. Raises Refused, OSError."""
        path = f"/{self._name}" + (f"/{key}" if key else "")
        query = query or {}
        signed = sign(
            read_credentials(self._credentials_file), self._region, method=method, path=path,
            query=query, headers={"host": self._host, **(headers or {})}, body=body,
            at=self._clock.now(),
        )  # fmt: skip
        target = encode_path(path) + (f"?{encode(query)}" if query else "")
        try:
            status, answered, data = self._send(method, target, signed, body)
        except http.client.HTTPException as error:
            raise OSError(f"{self!r}: not an answer of HTTP: {error!r}") from error
        if status < 300:
            return Answer(status, answered, data)
        found = _CODE.search(data)
        reason = found[1].decode() if found else http.client.responses.get(status, "")
        what = f"{method} {path}"
        if status >= 500 or status == 429:
            raise OSError(f"{self!r}: {what}: {status} {reason}")
        raise Refused(status, reason, what)

    def versions(self, prefix: str) -> Iterator[Version]:
        """Every version of every key that begins so: by key, then the newest first. Raises as ask()."""
        query = {"versions": "", "prefix": prefix}
        while True:
            tree = _xml(self.ask("GET", query=query).body)
            for element in tree:
                kind = _bare(element.tag)
                if kind in ("Version", "DeleteMarker"):
                    said = {_bare(child.tag): child.text or "" for child in element}
                    yield Version(
                        said.get("Key", ""), said.get("VersionId", ""),
                        said.get("IsLatest") == "true", kind == "DeleteMarker",
                        said.get("LastModified", ""),
                    )  # fmt: skip
            said = {_bare(child.tag): child.text or "" for child in tree}
            if said.get("IsTruncated") != "true":
                return
            query["key-marker"] = said.get("NextKeyMarker", "")
            query["version-id-marker"] = said.get("NextVersionIdMarker", "")

    def folders(self, prefix: str) -> list[str]:
        """The names right below `prefix` that have something below them, hidden or not. Raises as ask()."""
        query = {"versions": "", "prefix": prefix, "delimiter": "/"}
        found: list[str] = []
        while True:
            tree = _xml(self.ask("GET", query=query).body)
            said = {_bare(child.tag): child.text or "" for child in tree}
            for element in tree:
                if _bare(element.tag) == "CommonPrefixes":
                    found += [(child.text or "").removeprefix(prefix)[:-1] for child in element]
            if said.get("IsTruncated") != "true":
                return found
            query["key-marker"] = said.get("NextKeyMarker", "")

    def _send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        try:
            kept = self._idle.pop()
        except IndexError:
            kept = None
        for connection in (kept, None):
            if connection is None:
                connection = self._connect()
            try:
                connection.request(method, target, body, dict(headers))
                response = connection.getresponse()
                data = response.read(ANSWER_BYTES_MAX)
            except (http.client.HTTPException, OSError):
                connection.close()
                if connection is kept:
                    continue  # it may have been closed while nobody spoke
                raise
            if len(self._idle) < IDLE_MOST:
                self._idle.append(connection)
            else:
                connection.close()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, data
        raise AssertionError("a new connection answers or raises")

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._address
        assert host is not None
        if self._context is not None:
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=self._context)
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)


def read_credentials(path: Path) -> Credentials:
    """Two lines, `access key id` and `secret access key`; a third is a session's token.

    Read for each request: keys may be changed, and tokens end. Raises ConfigurationError.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(f"{path} may be read by others: chmod 0600 it")
        lines = path.read_text().split()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    if len(lines) not in (2, 3):
        raise ConfigurationError(f"{path} holds no access key: its id, its secret, one per line")
    return Credentials(*lines)


def time_text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _xml(data: bytes) -> ElementTree.Element:
    """Raises OSError. The size is bounded by ask(), growth by entities by expat itself (≥ 2.4.1)."""
    try:
        return ElementTree.fromstring(data)  # noqa: S314
    except ElementTree.ParseError as error:
        raise OSError(f"a listing that is not XML: {error}") from None


def _bare(tag: str) -> str:
    return tag.rpartition("}")[2]
