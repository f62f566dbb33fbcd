"""One request to Gate.io as it is signed and sent, and the few that futures and spot both make. No I/O.

The bytes built here are the bytes that are signed and sent: nothing encodes them again.
Source: https://www.gate.com/docs/developers/apiv4, authentication.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import ClassVar

import msgspec

from fanout.ports import RejectKind
from tenancy.errors import Invalid

SCHEME = "gateio"
PREFIX = "/api/v4"
PAGE = 100  # Gate's default page; every version of the API honours it
EMPTY_SHA512 = hashlib.sha512(b"").hexdigest()


class Unsupported(Invalid):
    """Gate has no such order: says which part, so that the plan can be changed."""

    code = "unsupported_order"
    kind: ClassVar[RejectKind] = "other"


class BadSize(Unsupported):
    """Not for its kind but for its quantity."""

    kind = "size"


class BadPrice(Unsupported):
    """Not for its kind but for its price."""

    kind = "price"


class Request(msgspec.Struct, frozen=True):
    """One HTTP request, exactly as it is signed. `query` is un-escaped, in URL order."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


def client_text(cl_ord_id: str) -> str:
    """The `text` field: at most 28 of [0-9A-Za-z_.-] after `t-`."""
    return f"t-{cl_ord_id}"


def account_detail() -> Request:
    """Whose key it is, and in which mode the account is."""
    return Request("GET", f"{PREFIX}/account/detail")


def main_keys() -> Request:
    """What the key may do."""
    return Request("GET", f"{PREFIX}/account/main_keys")


def server_time() -> Request:
    """Public, small, and counted apart from trading."""
    return Request("GET", f"{PREFIX}/spot/time")


def signing_text(request: Request, timestamp: int) -> bytes:
    """What Gate's APIv4 scheme signs with HMAC-SHA512. The signer builds the same from its parts."""
    body_hash = hashlib.sha512(request.body).hexdigest() if request.body else EMPTY_SHA512
    parts = (request.method, request.path, request.query, body_hash, str(timestamp))
    return "\n".join(parts).encode()


def signature(secret: bytes, request: Request, timestamp: int) -> str:
    """For tests and simulators, where the secret is no secret. Production asks the signer."""
    return hmac.new(secret, signing_text(request, timestamp), hashlib.sha512).hexdigest()
