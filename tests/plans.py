"""A plan's row as tests look at it: every account by itself."""

from __future__ import annotations

from typing import Any

import msgspec

from fanout.plan import Plan


def by_account(row: dict[str, Any]) -> dict[str, Any]:
    """The plan that the row says, with `entries` in fan-out order as plain JSON."""
    plan = msgspec.json.decode(msgspec.json.encode(row), type=Plan)
    return {**row, "entries": msgspec.to_builtins(list(plan.entries))}
