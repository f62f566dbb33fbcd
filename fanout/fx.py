"""Rates between currencies: those that the tenant's settings state, and the inverse of each. Pure.

No chains: a rate that nobody stated is not made up from two others. Without a rate the account is
skipped (`no_fx_rate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction


def rate(rates: Mapping[str, Decimal], one_of: str, in_units_of: str) -> Fraction | None:
    """How many of the second currency one unit of the first is; None where that is not stated."""
    if one_of == in_units_of:
        return Fraction(1)
    stated = rates.get(f"{one_of}/{in_units_of}")
    if stated is not None:
        return Fraction(stated)
    inverse = rates.get(f"{in_units_of}/{one_of}")
    return None if inverse is None else 1 / Fraction(inverse)
