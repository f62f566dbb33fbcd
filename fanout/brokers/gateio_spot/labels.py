"""Gate's spot labels beside those that futures and spot share (fanout/brokers/gate/labels.py)."""

from __future__ import annotations

from fanout.brokers.gate import labels as shared
from fanout.ports import RejectKind

REJECTED: dict[str, RejectKind] = {
    **shared.REJECTED,
    "INVALID_CURRENCY_PAIR": "instrument",
    "INVALID_CURRENCY": "instrument",
    "QUANTITY_NOT_ENOUGH": "funds",
    "AMOUNT_TOO_LITTLE": "size",
    "AMOUNT_TOO_MUCH": "size",
    "INVALID_PRECISION": "other",
    "FOK_NOT_FILL": "other",
    "ORDER_BOOK_NOT_FOUND": "other",
    "MARGIN_NOT_SUPPORTED": "permission",
    "MIXED_ACCOUNT_TYPE": "other",
    "TOO_MANY_CURRENCY_PAIRS": "other",
}

GONE = shared.GONE
TOO_LATE = shared.TOO_LATE
SIZE_WORDS = "Your order size"
"""So begins the text of an INVALID_PARAM_VALUE that is about the least that an order must be worth."""
