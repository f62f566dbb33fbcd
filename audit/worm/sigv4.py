"""AWS Signature Version 4 for S3: the headers that prove who asks, for one request with its body.

Source: AWS, "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)". Own
code, for the reasons in docs/adr/0015; held in the tests against that page's worked examples, AWS's
published test suite and botocore. Pure; standard library.

A parameter and a header stand once each, which the types say. The body is always part of what is
signed: UNSIGNED-PAYLOAD is never sent.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Credentials:
    """An access key. `token` goes with keys that end by themselves (STS)."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


def sign(
    credentials: Credentials,
    region: str,
    *,
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes,
    at: datetime,
) -> dict[str, str]:
    """`headers` (Host among them) and those that sign them. `path` and `query` are not encoded yet."""
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    hashed = sha256(body).hexdigest()
    signed = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    signed |= {"x-amz-content-sha256": hashed, "x-amz-date": stamp}
    if credentials.token is not None:
        signed["x-amz-security-token"] = credentials.token
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    found = signature(
        credentials.secret_access_key, stamp, scope, canonical(method, path, query, signed, hashed)
    )
    return signed | {
        "authorization": f"{ALGORITHM} Credential={credentials.access_key_id}/{scope},"
        f"SignedHeaders={';'.join(sorted(signed))},Signature={found}"
    }


def canonical(
    method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], hashed: str
) -> str:
    """The request in the form that is signed; names of headers in lower case, values trimmed."""
    names = sorted(headers)
    lines = [f"{name}:{headers[name]}" for name in names]
    return "\n".join(
        [method, encode_path(path), encode(query), *lines, "", ";".join(names), hashed]
    )


def signature(secret_access_key: str, stamp: str, scope: str, request: str) -> str:
    """`scope`: day/region/service/aws4_request, each a step of the key's derivation."""
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret_access_key}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def encode_path(path: str) -> str:
    """The path as it is signed, and sent: each byte encoded once, and nothing made shorter (S3's rule)."""
    return quote(path, safe="/-_.~")


def encode(query: Mapping[str, str]) -> str:
    """The query as it is signed, and sent: sorted, every reserved character encoded."""
    pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)
