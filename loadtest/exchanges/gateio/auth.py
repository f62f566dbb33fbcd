"""Gate's request signature, checked with our own HMAC code.

SIGN is hex(HMAC_SHA512(secret, METHOD\\nPATH\\nQUERY\\nhex(SHA512(body))\\nTimestamp)), the query
un-escaped in URL order. Order of the checks as on the live venue: headers present, time, key,
signature. Source: Gate APIv4, "Authentication".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import unquote_plus

from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.refusal import Refusal

TOLERANCE_S = 60.0
NORMAL = 1
PRODUCTS = ("futures", "spot", "unified")
_EMPTY = hashlib.sha512(b"").hexdigest()


def signature(
    secret: bytes, *, method: str, path: str, query: str, body: bytes, timestamp: str
) -> str:
    """The lower-case hex signature of a request; `query` as it stands in the URL."""
    hashed = hashlib.sha512(body).hexdigest() if body else _EMPTY
    plain_query = unquote_plus(query) if query else ""
    message = f"{method}\n{path}\n{plain_query}\n{hashed}\n{timestamp}"
    return hmac.digest(secret, message.encode(), "sha512").hex()


def authenticate(
    accounts: Mapping[str, Account],
    headers: Mapping[str, str],
    *,
    method: str,
    path: str,
    query: str,
    body: bytes,
    peer: str,
    now: float,
) -> Account:
    """The account that signed this request. Raises Refusal."""
    values = []
    for name in ("Timestamp", "KEY", "SIGN"):
        value = headers.get(name.lower())
        if not value:
            raise Refusal("MISSING_REQUIRED_HEADER", f"Missing required header: {name}")
        values.append(value)
    timestamp, key, sign = values
    within_tolerance(timestamp, now)
    account = accounts.get(key)
    if account is None or account.revoked:
        raise Refusal("INVALID_KEY", "Invalid key provided")
    expected = signature(
        account.secret, method=method, path=path, query=query, body=body, timestamp=timestamp
    )
    if not hmac.compare_digest(expected.encode(), sign.encode()):
        raise Refusal("INVALID_SIGNATURE", "Signature mismatch")
    if account.ip_whitelist and peer not in account.ip_whitelist:
        raise Refusal("IP_FORBIDDEN", "Request IP not in whitelist")
    permitted(account, method, path)
    return account


def permitted(account: Account, method: str, path: str) -> None:
    """What a key may do is said per product, the first segment after /api/v4/. Raises Refusal."""
    product = path.split("/", 4)[3]
    if product not in PRODUCTS:
        return
    if product not in account.permissions:
        raise Refusal("FORBIDDEN", f"the key has no {product} permission")
    if method != "GET" and product in account.read_only:
        raise Refusal("READ_ONLY", f"the key may only read {product}")
    if account.key_state != NORMAL:
        raise Refusal("FORBIDDEN", "the key is locked")


def within_tolerance(timestamp: float | str, now: float) -> None:
    """Raises REQUEST_EXPIRED for what is 60 seconds early or late."""
    try:
        gap = abs(now - float(timestamp))
    except ValueError:
        raise Refusal("INVALID_PARAM_VALUE", "Timestamp header is not a number") from None
    if not gap <= TOLERANCE_S:
        raise Refusal(
            "REQUEST_EXPIRED",
            "gap between request Timestamp and server time exceeds 60 "
            f"current_time:{now:.0f}, header.timestamp:{timestamp}",
        )
