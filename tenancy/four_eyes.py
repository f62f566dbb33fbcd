"""Which changes need a second person, where the tenant says so. Pure.

A tenant names categories (`TenantSettings.four_eyes`); a change belongs to the categories that its
kind of object says (gateway/admin/kinds.py), by comparing before and after with the functions here.
A change that falls into a named category is kept as a proposal, and nobody approves their own.
What makes trading safer never waits: halting, lowering a limit, taking a role away.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

STRICTNESS = {"active": 0, "reducing": 1, "halted": 2}


def loosens_limits(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether a limit is gone or higher, or what is over it is no longer skipped but cut.

    `before`, `after`: limits as JSON has them (tenancy.limits.Limits).
    """
    if after.get("over_limit") == "cut" != before.get("over_limit"):
        return True
    return any(
        _looser(value, after.get(name)) for name, value in before.items() if name != "over_limit"
    )


def _looser(before: Any, after: Any) -> bool:
    if before is None:
        return False
    if after is None:
        return True
    return Decimal(str(after)) > Decimal(str(before))


def releases(before: str, after: str) -> bool:
    """Whether a trading state becomes less strict."""
    return STRICTNESS[after] < STRICTNESS[before]


def adds_roles(before: frozenset[str], after: frozenset[str]) -> bool:
    """Whether somebody may do more than before."""
    return not after <= before


def asked(categories: frozenset[str], settings: frozenset[str]) -> frozenset[str]:
    """The reasons for which this tenant wants a second person.

    Who guards anything guards roles: else one person makes the second one and is both.
    """
    return categories & (settings | {"roles"} if settings else settings)
