"""Which categories of four eyes a change of what people set up touches. Pure.

`before` and `after` are documents, None where the object begins or ends. What begins without a
limit loosens none, and what makes trading safer never waits for a second person.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tenancy.account_policy import OnDrift
from tenancy.four_eyes import loosens_limits, releases
from tenancy.limits import NUMBERS, Limits, tightest
from tenancy.parameters import TradingState

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


def drift_danger(before: OnDrift | None, after: OnDrift | None) -> frozenset[str]:
    """`drifts` where a layer begins to put drifts right by itself, or no longer halts for one."""
    corrects = after == "correct" and before != "correct"
    ends_halt = before == "halt" and after != "halt"
    return frozenset({"drifts"}) if corrects or ends_halt else NONE


def approvals_danger(before: Any, after: Any) -> frozenset[str]:
    """`approvals` where a document's layer stops asking for a person's yes, or overrules one that asks."""
    if after is None:
        return NONE
    asks = None if before is None else before.settings.needs_approval
    return waived(asks, after.settings.needs_approval)


def waived(asks: bool | None, will: bool | None) -> frozenset[str]:
    """Absent inherits: so yes → absent is `approvals`, and absent → no is, but no → absent is not."""
    ends = asks is True and will is not True
    overrules = will is False and asks is not False
    return frozenset({"approvals"}) if ends or overrules else NONE


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's group lays down; none does by default."""

    limits: Limits = Limits()
    needs_approval: bool | None = None
    state: TradingState = "active"


def moved(before: Limits, after: Limits, old: Layer, new: Layer) -> frozenset[str]:
    """Of an account that goes from group `old` to `new`, with its own limits before and after."""
    let_go = frozenset({"halt_release"}) if releases(old.state, new.state) else NONE
    return (
        loosened(_together(old, before), _together(new, after))
        | waived(old.needs_approval, new.needs_approval)
        | let_go
    )


def _together(group: Layer, account: Limits) -> Limits:
    held = tightest((("group", group.limits), ("account", account)))
    values = {name: limit.value for name in NUMBERS if (limit := getattr(held, name)) is not None}
    return Limits(over_limit=held.over_limit.value, **values)


def document_danger(before: Any, after: Any, facts: Any) -> frozenset[str]:
    """Of a layer that holds settings and limits: strategies and groups."""
    return limits_danger(before, after) | approvals_danger(before, after)
