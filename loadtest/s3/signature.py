"""Check a request's AWS Signature Version 4 as the server does: parsed, limited in time, compared.

Written from AWS' text without a look at the product's code, which it judges.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

from loadtest.s3.bucket import Refusal

SKEW_MOST = timedelta(minutes=15)
_HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request,\s*"
    r"SignedHeaders=([a-z0-9;-]+),\s*Signature=([0-9a-f]{64})"
)


def check(
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, str],
    body: bytes,
    secrets: Mapping[str, str],
    now: datetime,
) -> None:
    """Raises Refusal unless one of `secrets` (by access key id) signed this. `headers`: lower case."""
    match = _HEADER.fullmatch(headers.get("authorization", ""))
    if match is None:
        raise Refusal(403, "AccessDenied", "Access Denied")
    key_id, day, region, names, signature = match.groups()
    if key_id not in secrets:
        raise Refusal(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided is unknown.")
    stamp = headers.get("x-amz-date", "")
    try:
        at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refusal(403, "AccessDenied", "AWS authentication requires a valid Date") from None
    if abs(at - now) > SKEW_MOST or day != stamp[:8]:
        raise Refusal(403, "RequestTimeTooSkewed", "The difference between the times is too large.")
    signed = names.split(";")
    must = {"host", *(name for name in headers if name.startswith("x-amz-"))}
    if not must <= set(signed):
        raise Refusal(403, "AccessDenied", "There were headers present which were not signed")
    hashed = headers.get("x-amz-content-sha256", "")
    if hashed != hashlib.sha256(body).hexdigest():
        raise Refusal(400, "XAmzContentSHA256Mismatch", "The provided header does not match.")
    lines = [f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in signed]
    request = (
        f"{method}\n{quote(unquote(raw_path), safe='/-_.~')}\n{_query(raw_query)}\n"
        f"{''.join(lines)}\n{names}\n{hashed}"
    )
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = ("AWS4" + secrets[key_id]).encode()
    for part in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(key.hex(), signature):
        raise Refusal(403, "SignatureDoesNotMatch", "The signature does not match.")


def _query(raw: str) -> str:
    pairs = []
    for part in raw.split("&") if raw else []:
        name, _, value = part.partition("=")
        pairs.append((quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~")))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))
