"""What money needs to know of one situation: the worth of a lot, and what it loses at its stop. Pure.

Both in the account's currency, as exact fractions, and only worked out when somebody asks. What
cannot be told is a reason: whoever needed it refuses by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cached_property

from fanout.exact import text
from fanout.fx import rate
from fanout.ports import Instrument
from fanout.reasons import Reason
from tenancy.values import plain


class Worth:
    """Of one lot of an instrument, at one price, to accounts of one currency."""

    def __init__(
        self,
        instrument: Instrument,
        price: Decimal | None,
        currency: str,
        rates: Mapping[str, Decimal],
        away: Fraction | Reason | None,
    ) -> None:
        """`away`: from the entry to its stop; None without a stop."""
        self._instrument = instrument
        self._price = price
        self._currency = currency
        self._rates = rates
        self._away = away

    @cached_property
    def of_a_lot(self) -> Fraction | Reason:
        if self._price is None:
            return Reason.NO_PRICE
        return self._in_account_currency(Fraction(self._price))

    @cached_property
    def risk_of_a_lot(self) -> Fraction | Reason | None:
        """None without a stop."""
        if self._away is None or isinstance(self._away, Reason):
            return self._away
        return self._in_account_currency(self._away)

    @property
    def price_words(self) -> str:
        assert self._price is not None
        return self._words(plain(self._price))

    @property
    def risk_words(self) -> str:
        assert isinstance(self._away, Fraction)
        return self._words(_text(self._away))

    def _in_account_currency(self, price: Fraction) -> Fraction | Reason:
        per_unit = rate(self._rates, self._instrument.currency, self._currency)
        if per_unit is None:
            return Reason.NO_FX_RATE
        return price * Fraction(self._instrument.multiplier) * per_unit

    def _words(self, price: str) -> str:
        words = f"{price} × {plain(self._instrument.multiplier)}"
        per_unit = rate(self._rates, self._instrument.currency, self._currency)
        if per_unit in (None, 1):
            return f"({words})"
        assert per_unit is not None
        pair = f"{self._instrument.currency}/{self._currency}"
        return f"({words} × {_text(per_unit)} {pair})"


def _text(number: Fraction) -> str:
    """As a decimal where it is one, else as a fraction: nothing is rounded in an explanation."""
    twos, fives, rest = 0, 0, number.denominator
    while rest % 2 == 0:
        twos, rest = twos + 1, rest // 2
    while rest % 5 == 0:
        fives, rest = fives + 1, rest // 5
    if rest != 1:
        return f"{number.numerator}/{number.denominator}"
    scale = max(twos, fives)
    return text(int(number * 10**scale), scale)
