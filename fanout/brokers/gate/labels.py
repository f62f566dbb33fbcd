"""Gate's error labels, and what each of them answers to *may the order exist?*

A table, not code: a label that is missing here is a plain refusal (`other`) on a 4xx, and the
adapter raises an alert so that somebody adds it. Source: the error table of Gate's API v4 pages
and the labels that its futures endpoints were seen to send.
"""

from __future__ import annotations

from typing import Literal

from fanout.ports import RejectKind

AuthKind = Literal["key", "sign", "ip", "clock", "locked", "token"]

EXPIRED = "REQUEST_EXPIRED"
"""Either the Timestamp header is off by more than 60 s, or X-Gate-Exptime had passed: wire.py tells."""

AUTH: dict[str, AuthKind] = {
    "INVALID_CREDENTIALS": "key",
    "INVALID_KEY": "key",
    "MISSING_REQUIRED_HEADER": "sign",
    "INVALID_SIGNATURE": "sign",
    "IP_FORBIDDEN": "ip",
    EXPIRED: "clock",
    "ACCOUNT_LOCKED": "locked",
    "SUB_ACCOUNT_LOCKED": "locked",
}

REJECTED: dict[str, RejectKind] = {
    "INSUFFICIENT_AVAILABLE": "funds",
    "BALANCE_NOT_ENOUGH": "funds",
    "MARGIN_BALANCE_NOT_ENOUGH": "funds",
    "FUTURES_BALANCE_NOT_ENOUGH": "funds",
    "USER_NOT_FOUND": "funds",  # no futures account yet: never funded
    "RISK_LIMIT_EXCEEDED": "risk",
    "RISK_LIMIT_TOO_HIGH": "risk",
    "RISK_LIMIT_TOO_LOW": "risk",
    "LIQUIDATE_IMMEDIATELY": "risk",
    "LEVERAGE_TOO_HIGH": "risk",
    "LEVERAGE_TOO_LOW": "risk",
    "POSITION_IN_LIQUIDATION": "risk",
    "POSITION_IN_CLOSE": "risk",
    "POSITION_EMPTY": "risk",
    "REDUCE_EXCEEDED": "risk",
    "INCREASE_POSITION": "risk",
    "TOO_MANY_ORDERS": "risk",
    "PRICE_TOO_DEVIATED": "price",
    "AUTO_TRIGGER_PRICE_LESS_LAST": "price",
    "AUTO_TRIGGER_PRICE_GREATE_LAST": "price",
    "PRICE_OVER_LIQUIDATION": "price",
    "PRICE_OVER_BANKRUPT": "price",
    "SIZE_TOO_LARGE": "size",
    "SIZE_TOO_SMALL": "size",
    "CONTRACT_NOT_FOUND": "instrument",
    "CONTRACT_NO_COUNTER": "instrument",
    "CONTRACT_IN_DELISTING": "instrument",
    "REPEATED_CREATION": "duplicate_id",
    "ORDER_POC_IMMEDIATE": "post_only",
    "POC_FILL_IMMEDIATELY": "post_only",
    "FORBIDDEN": "permission",
    "READ_ONLY": "permission",
    "TRADE_RESTRICTED": "permission",
    "INVALID_PARAM_VALUE": "other",
    "INVALID_PROTOCOL": "other",
    "INVALID_ARGUMENT": "other",
    "INVALID_REQUEST_BODY": "other",
    "MISSING_REQUIRED_PARAM": "other",
    "BAD_REQUEST": "other",
    "INVALID_CONTENT_TYPE": "other",
    "NOT_ACCEPTABLE": "other",
    "METHOD_NOT_ALLOWED": "other",
    "NOT_FOUND": "other",
    "ORDER_FOK": "other",
}

TOO_MANY = frozenset({"TOO_MANY_REQUESTS", "TOO_FAST"})

SERVER_FAULT = frozenset({"INTERNAL", "SERVER_ERROR", "TOO_BUSY"})
"""Doubt whatever the status: the fault may have come after the order was taken."""

NO_POSITION = "POSITION_NOT_FOUND"
"""Never traded in that contract."""
GONE = "ORDER_NOT_FOUND"
TOO_LATE = frozenset({GONE, "ORDER_FINISHED", "ORDER_CLOSED", "ORDER_CANCELLED"})
NEVER_FUNDED = "USER_NOT_FOUND"
"""There is no futures account, so there is no order and no position in it either."""
