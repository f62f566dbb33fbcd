"""AWS Signature Version 4 for S3: the headers that prove who asks, for one request with its body.

Source: AWS, "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)"; the
page's four worked examples are the test. Written here because the smallest kept package that has it,
botocore, is 14 MB of other services; it stands in the tests as the oracle. Pure; standard library.
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
    names = ";".join(sorted(signed))
    canonical = "\n".join(
        [
            method, quote(path, safe="/-_.~"), encode(query),
            *(f"{name}:{signed[name]}" for name in sorted(signed)), "", names, hashed,
        ]
    )  # fmt: skip
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_access_key}".encode()
    for word in (stamp[:8], region, "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return signed | {
        "authorization": f"{ALGORITHM} Credential={credentials.access_key_id}/{scope},"
        f"SignedHeaders={names},Signature={signature}"
    }


def encode(query: Mapping[str, str]) -> str:
    """The query as it is signed, and sent: sorted, every reserved character encoded."""
    pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)
