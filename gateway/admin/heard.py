"""What a broker answered, as an order's record holds it, without whatever looks like a secret. Pure.

An answer is not expected to hold one: a request's key and signature are in its headers, which nobody keeps. A
broker that echoes them is the reason for looking all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from audit.record import Kind

OF_BROKERS = frozenset(
    {
        Kind.ORDER_ACKNOWLEDGED, Kind.ORDER_REJECTED, Kind.ORDER_IN_DOUBT, Kind.ORDER_RESOLVED,
    }
)  # fmt: skip
"""The kinds whose `broker` is its answer; of others it is its name."""
REMOVED = "(removed)"
_SECRET = re.compile(
    r"(?i)secret|^sign$|signature|token|passw|api.?key|^key$|credential|authorization"
)


def heard_of(kind: str, said: Mapping[str, Any]) -> str | None:
    """The broker's answer in a record's payload; None where the record holds none."""
    answer = said.get("broker") if kind in OF_BROKERS else None
    return without_secrets(answer) if isinstance(answer, str) and answer else None


def without_secrets(answer: str) -> str:
    """JSON with the members replaced whose names say secret; anything else is text, shown as it is."""
    try:
        content = msgspec.json.decode(answer)
    except (msgspec.DecodeError, RecursionError):
        return answer
    return msgspec.json.format(msgspec.json.encode(_cleaned(content)), indent=2).decode()


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: REMOVED if _SECRET.search(str(name)) else _cleaned(one)
            for name, one in value.items()
        }
    return [_cleaned(one) for one in value] if isinstance(value, list) else value
