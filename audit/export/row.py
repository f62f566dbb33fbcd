"""One exported record, and JSON on one line; what the writers share with the reader that runs without us.

Standard library only; orjson where it is there, because a million records are many.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["open", "sealed", "erased", "absent"]
"""Of a payload: given in clear; given as it is stored; its key is destroyed; there is none."""


@dataclass(frozen=True, slots=True)
class Row:
    """`members`: the leaf's. `digest`: its hash. `payload`: its JSON where `state` is open; `said`:
    that, parsed, without the commitment's key. `sealed`: the stored bytes, where wanted as they are."""

    index: int
    leaf: bytes
    digest: bytes
    members: dict[str, Any]
    state: State
    payload: bytes | None = None
    said: dict[str, Any] = field(default_factory=dict)
    sealed: bytes | None = None


def _choose() -> tuple[Callable[[Any], bytes], Callable[[bytes | str], Any]]:
    try:
        import orjson
    except ImportError:
        encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
        return lambda value: encoder.encode(value).encode(), json.loads
    return orjson.dumps, orjson.loads


packed, parsed = _choose()
"""JSON on one line, in UTF-8, and what JSON says."""


def compact(value: Any) -> str:
    """packed() as text."""
    return packed(value).decode()
