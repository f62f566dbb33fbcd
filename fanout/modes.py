"""How a quantity becomes lots: the table of modes of spec sizing.md, as an arithmetic still to be done. Pure.

A `Formula` says it once for all accounts of a situation: lots = round(product of factors / divisor).
A factor is a number, or the name of one that each account has its own of (fanout/numbers.py). Its
words are a template with the same names, so that a person can compute any account's lots again.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Literal

import msgspec

from fanout.case import Case
from fanout.fx import rate
from fanout.reasons import Reason
from fanout.situations import Facts
from fanout.worth import Worth
from tenancy.effective import Effective
from tenancy.values import plain

Factor = Decimal | str
Weight = Literal["one", "equity", "available", "block_ratio"]


class Formula(msgspec.Struct, frozen=True, kw_only=True):
    """Lots, before the instrument's bounds."""

    factors: tuple[Factor, ...]
    divisor: Fraction = Fraction(1)
    words: str


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """The account's part of a total that all accounts of the strategy split between them."""

    total: Decimal
    weight: Weight
    currency_rate: Fraction = Fraction(1)
    words: str


BLOCK_WEIGHTS: dict[str, Weight] = {
    "block_equal": "one",
    "block_net_liq": "equity",
    "block_available": "available",
    "block_ratio": "block_ratio",
}


def replaced(values: Effective) -> bool:
    """Whether the quantity is the account's own, and each account may have another."""
    return values.source["quantity"] in ("subscription", "group")


def formula(case: Case, values: Effective, worth: Worth) -> Formula | Share | Reason:
    """The arithmetic of these values, or what is missing for it."""
    wanted, facts = case.wanted, case.facts
    kind = values.quantity_type
    own = replaced(values)
    quantity: Factor = "quantity" if own else values.quantity
    says = "{quantity}" if own else plain(values.quantity)
    if kind in BLOCK_WEIGHTS:
        return _share(values.quantity, BLOCK_WEIGHTS[kind], case)
    if kind == "fixed_quantity":
        return Formula(factors=(quantity,), words=says)
    if kind == "multiplier" or (kind == "equity_ratio" and own):
        if wanted.quantity is None:
            return Reason.NO_QUANTITY
        if wanted.quantity_type not in ("fixed_quantity", kind):
            return Reason.QUANTITY_TYPE_UNSUPPORTED
        signals = plain(wanted.quantity)
        if kind == "multiplier":
            return Formula(factors=(wanted.quantity, quantity), words=f"{signals} × {says}")
        factors: tuple[Factor, ...] = (wanted.quantity, quantity)
        return _ratio(factors, f"{signals} × {says}", case)
    if kind == "equity_ratio":
        return _ratio((quantity,), says, case)
    if kind == "percent_of_position":
        return Formula(
            factors=("held", quantity), divisor=Fraction(100), words=f"{says} % of {{held}} lots"
        )
    return _money(kind, quantity, says, worth, facts, case.row.account.currency)


def _share(total: Decimal, weight: Weight, case: Case) -> Share | Reason:
    if weight == "equity" and not case.facts.equity:
        return Reason.NO_EQUITY
    if weight == "available" and not case.facts.available:
        return Reason.NO_AVAILABLE
    money = weight in ("equity", "available")
    per_unit = _block_rate(case) if money else Fraction(1)
    if per_unit is None:
        return Reason.NO_FX_RATE
    parts = {"one": "an equal part", "block_ratio": "a part by ratio {block_ratio}"}
    words = parts.get(weight, f"a part by {weight} {{{weight}}}")
    return Share(
        total=total, weight=weight, currency_rate=per_unit, words=f"{words} of {plain(total)} lots"
    )


def _block_rate(case: Case) -> Fraction | None:
    """What turns the account's currency into the one in which a block's weights are compared.

    The strategy's reference currency, else the instrument's; none is needed among accounts of one
    currency.
    """
    own = case.row.account.currency
    if all(row.account.currency == own for row in case.snapshot.rows):
        return Fraction(1)
    common = case.snapshot.strategy.settings.reference_currency or case.instrument.currency
    return rate(case.snapshot.tenant.fx_rates, own, common)


def _ratio(factors: tuple[Factor, ...], says: str, case: Case) -> Formula | Reason:
    settings, account = case.snapshot.strategy.settings, case.row.account
    if settings.reference_equity is None or not case.facts.equity:
        return Reason.NO_EQUITY
    currency = settings.reference_currency or account.currency
    per_unit = rate(case.snapshot.tenant.fx_rates, currency, account.currency)
    if per_unit is None:
        return Reason.NO_FX_RATE
    reference = plain(settings.reference_equity)
    if currency != account.currency:
        reference = f"({reference} {currency} in {account.currency})"
    return Formula(
        factors=(*factors, "equity"),
        divisor=Fraction(settings.reference_equity) * per_unit,
        words=f"{says} × {{equity}} / {reference}",
    )


def _money(
    kind: str, quantity: Factor, says: str, worth: Worth, facts: Facts, currency: str
) -> Formula | Reason:
    """The four modes that divide money by what a lot costs, or loses at its stop."""
    at_risk = kind in ("risk_dollar_amount", "risk_percent")
    lot = worth.risk_of_a_lot if at_risk else worth.of_a_lot
    if lot is None:
        return Reason.NO_STOP
    if isinstance(lot, Reason):
        return lot
    per_lot = worth.risk_words if at_risk else worth.price_words
    if kind in ("dollar_amount", "risk_dollar_amount"):
        return Formula(factors=(quantity,), divisor=lot, words=f"{says} {currency} / {per_lot}")
    if not facts.equity:
        return Reason.NO_EQUITY
    if kind == "risk_percent":
        return Formula(
            factors=("equity", quantity),
            divisor=100 * lot,
            words=f"{{equity}} × {says} % / {per_lot}",
        )
    return Formula(
        factors=("equity", quantity, "leverage"),
        divisor=100 * lot,
        words=f"{{equity}} × {says} % × {{leverage}} / {per_lot}",
    )
