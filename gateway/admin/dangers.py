"""Which categories of four eyes a change of what people set up touches. Pure.

`before` and `after` are documents, None where the object begins or ends. What begins without a
limit loosens none, and what makes trading safer never waits for a second person.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tenancy.four_eyes import loosens_limits
from tenancy.limits import Limits

NONE: frozenset[str] = frozenset()


def limits_danger(before: Any, after: Any) -> frozenset[str]:
    """`limits` where a document's own limits become looser."""
    if before is None or after is None:
        return NONE
    return loosened(before.limits, after.limits)


def loosened(before: Limits, after: Limits) -> frozenset[str]:
    """`limits` where one of these is gone, or is wider."""
    looser = loosens_limits(msgspec.to_builtins(before), msgspec.to_builtins(after))
    return frozenset({"limits"}) if looser else NONE


def approvals_danger(before: Any, after: Any) -> frozenset[str]:
    """`approvals` where a layer stops asking for a person's yes, or begins to overrule one that asks.

    Absent is neither: it inherits. So yes → absent counts, and absent → no does.
    """
    if after is None:
        return NONE
    asks = None if before is None else before.settings.needs_approval
    will = after.settings.needs_approval
    return frozenset({"approvals"}) if will is not True and will != asks else NONE


def document_danger(before: Any, after: Any, facts: Any) -> frozenset[str]:
    """Of a layer that holds settings and limits: strategies and groups."""
    return limits_danger(before, after) | approvals_danger(before, after)
