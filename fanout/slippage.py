"""Slippage: how much worse than a reference the client's price was, in basis points. Defined here alone. Pure.

    bought   (paid - reference) / reference * 10,000
    sold     (reference - got) / reference * 10,000

Positive is worse for the client, negative better, for both sides. There are two references
(Perold 1988 calls the sum of what lies between them and the price the implementation shortfall):

- the *signal price*, the market as the sender saw it when the signal fired (`orders.signal_px`):
  what the whole way cost, the sender's delay included;
- the *arrival price*, the broker's market when the plan was made (`orders.arrival_px`): what
  sending and filling cost.

Without a reference, with one that is not positive, or without a price there is no slippage: None.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Literal

from fanout.order import Side

BPS = Decimal(10_000)
Reference = Literal["signal_px", "arrival_px"]


def slippage_bps(side: Side, paid: Decimal | None, reference: Decimal | None) -> Decimal | None:
    """Basis points, to four decimals; positive is worse for the client."""
    if paid is None or reference is None or reference <= 0:
        return None
    with localcontext() as context:
        context.prec = 60
        worse = paid - reference if side == "buy" else reference - paid
        return (worse / reference * BPS).quantize(Decimal("0.0001"))


def slippage_sql(reference: Reference, orders: str = "o") -> str:
    """The same of a row of `orders`, unrounded, as an expression of PostgreSQL's; NULL where there is none."""
    ref = f"{orders}.{reference}"
    return (
        f"(CASE WHEN {ref} > 0 THEN CASE {orders}.side WHEN 'buy' THEN {orders}.avg_px - {ref}"
        f" ELSE {ref} - {orders}.avg_px END / {ref} * 10000 END)"
    )
