"""Requests over the socket: each channel is a REST call in another dress.

The signature is hex(HMAC_SHA512(secret, "api\\n" + channel + "\\n" + req_param + "\\n" + time)) over
`req_param` as it was sent; of the log-in it is over nothing (clients sign the empty string, or its
JSON `""`). After the log-in the connection is the account's; a request that carries a signature of
its own is judged by that one.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlencode

import msgspec

from loadtest.exchanges.gateio.auth import within_tolerance
from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.refusal import Refusal

LOGIN = "futures.login"
ACKNOWLEDGED = ("futures.order_place", "futures.order_batch_place")
_ORDERS = "/api/v4/futures/usdt/orders"


class Payload(msgspec.Struct):
    """Of an `api` event."""

    req_id: str = ""
    req_param: msgspec.Raw = msgspec.Raw(b'""')
    req_header: dict[str, str] | None = None
    api_key: str | None = None
    signature: str | None = None
    timestamp: str | int | None = None


class Asked(msgspec.Struct, frozen=True):
    """The REST call that a channel stands for."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""


def signer(
    accounts: dict[str, Account], channel: str, payload: Payload, sent_at: float, now: float
) -> Account:
    """The account that signed. Raises Refusal, as REST does."""
    if not payload.api_key or not payload.signature:
        raise Refusal("INVALID_KEY", "log in first")
    within_tolerance(sent_at, now)
    account = accounts.get(payload.api_key)
    if account is None or account.revoked:
        raise Refusal("INVALID_KEY", "Invalid key provided")
    signed = [bytes(payload.req_param).decode()]
    if signed[0] in ('""', "null"):
        signed.append("")
    times = {str(int(sent_at)), str(payload.timestamp)}
    for what in signed:
        for at in times:
            expected = _signature(account.secret, channel, what, at)
            if hmac.compare_digest(expected.encode(), payload.signature.encode()):
                return account
    raise Refusal("INVALID_SIGNATURE", "Signature mismatch")


def _signature(secret: bytes, channel: str, what: str, at: str) -> str:
    return hmac.digest(secret, f"api\n{channel}\n{what}\n{at}".encode(), "sha512").hex()


def rest_call(channel: str, parameters: bytes) -> Asked:
    """Raises NOT_FOUND for an unknown channel, INVALID_REQUEST for parameters that do not fit."""
    name = channel.removeprefix("futures.")
    match name:
        case "order_place":
            return Asked("POST", _ORDERS, body=parameters)
        case "order_batch_place":
            return Asked("POST", "/api/v4/futures/usdt/batch_orders", body=parameters)
        case "order_cancel_ids":
            return Asked("POST", "/api/v4/futures/usdt/batch_cancel_orders", body=parameters)
        case "order_amend":
            return Asked("PUT", _one(parameters), body=parameters)
        case "order_cancel":
            return Asked("DELETE", _one(parameters))
        case "order_status":
            return Asked("GET", _one(parameters))
        case "order_cancel_cp":
            return Asked("DELETE", _ORDERS, query=_query(parameters))
        case "order_list":
            return Asked("GET", _ORDERS, query=_query(parameters))
    raise Refusal("NOT_FOUND", f"there is no channel {channel}")


def _members(parameters: bytes) -> dict[str, str | int | float | bool | None]:
    try:
        return msgspec.json.decode(parameters, type=dict[str, str | int | float | bool | None])
    except msgspec.DecodeError as error:
        raise Refusal("INVALID_REQUEST", f"req_param: {error}") from None


def _one(parameters: bytes) -> str:
    ident = _members(parameters).get("order_id")
    if not ident:
        raise Refusal("MISSING_REQUIRED_PARAM", "Missing required parameter: order_id")
    return f"{_ORDERS}/{ident}"


def _query(parameters: bytes) -> str:
    return urlencode({name: value for name, value in _members(parameters).items() if value})
