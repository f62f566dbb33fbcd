"""Why our book and the broker's differ: one name, and what it rests on. Pure.

The first of these that fits is the name:

1. `liquidated`       the broker says that it closed the position itself.
2. `manual_order`     its record shows trades that we did not order, or it holds an order that is not ours.
3. `just_subscribed`  the two never agreed before, and we never traded the symbol there.
4. `insufficient_funds`, `exchange_down`, `missed_signal`   a leg of ours ended without its fill, and the
   difference is exactly that: the broker refused it for funds; could not be reached, or was closed; or
   it was not sent, denied, expired, or ruled out.
5. `exchange_down`    the broker could not be asked since the two last agreed.
6. `settings_changed` account, group or subscription were set up anew since then.
7. `unexplained`      nothing that we know of.

A name is a help for a person, never a proof: `evidence` holds what was seen, and whether it adds up to
the difference (`exact`). Trades by somebody else make it `manual_order` even where they do not: what
somebody did by hand is never put right by us unasked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from fanout.abilities import BrokerFill
from fanout.drift import Difference
from fanout.order import OrdState, Side
from tenancy.values import StrategyID, plain

Cause = Literal[
    "manual_order", "missed_signal", "insufficient_funds", "exchange_down", "just_subscribed",
    "settings_changed", "liquidated", "unexplained",
]  # fmt: skip
CAUSES: tuple[Cause, ...] = (
    "manual_order", "missed_signal", "insufficient_funds", "exchange_down", "just_subscribed",
    "settings_changed", "liquidated", "unexplained",
)  # fmt: skip
CORRECTABLE: frozenset[Cause] = frozenset({"missed_signal", "exchange_down"})
"""What a policy may put right by itself: nobody meant it to be so."""
TOLD_MOST = 20
_FUNDS = ("insufficient", "balance", "margin", "funds", "liquidate_immediately")
_AWAY = ("maintenance", "unsent", "rate_limited", "broker_unavailable")


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """The last attempt of a leg of ours that ended without all of its fill. `text`: "code: words"."""

    cl_ord_id: str
    strategy_id: StrategyID
    symbol: str
    side: Side
    leaves: Decimal
    state: OrdState
    text: str
    at: datetime

    @property
    def lots(self) -> Decimal:
        """Signed."""
        return self.leaves if self.side == "buy" else -self.leaves


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an account since it last agreed (`since`; None: it never did).

    `foreign`: trades of the broker's record that no order of ours made; None: it keeps none.
    `traded`: symbols in which we ever had an order there. `away_at`: when the broker last could not be
    asked. `changed`: what was set up anew, as "kind id revision".
    """

    since: datetime | None = None
    foreign: tuple[BrokerFill, ...] | None = None
    legs: tuple[Leg, ...] = ()
    traded: frozenset[str] = frozenset()
    away_at: datetime | None = None
    changed: tuple[str, ...] = ()


class Named(msgspec.Struct, frozen=True):
    """A cause, and what it rests on: plain values for the row, the record and a person."""

    cause: Cause
    evidence: dict[str, Any]


def name(difference: Difference, known: Known) -> Named:
    """The cause of one difference."""
    if difference.kind == "order":
        return Named("manual_order", {"exact": True, "order": difference.subject})
    by_hand = _by_hand(difference, known)
    if by_hand is not None:
        return by_hand
    if known.since is None and difference.symbol not in known.traded:
        return Named("just_subscribed", {"exact": True, "traded": False})
    for leg in known.legs:
        if leg.symbol == difference.symbol and abs(leg.lots) == abs(difference.lots):
            return Named(cause_of(leg), {"exact": True, **told(leg)})
    if known.away_at is not None and (known.since is None or known.away_at >= known.since):
        return Named("exchange_down", {"exact": False, "away_at": known.away_at.isoformat()})
    if known.changed:
        changed = list(known.changed[:TOLD_MOST])
        return Named("settings_changed", {"exact": False, "changed": changed})
    return Named("unexplained", {"exact": False})


def shortfall(leg: Leg, held: Decimal) -> Difference:
    """What the strategy's last word on a symbol should have done here, and did not.

    Broker and book agree on `held`; the signal meant `held` and the leg's lots.
    """
    return Difference(
        kind="shortfall",
        subject=leg.cl_ord_id,
        symbol=leg.symbol,
        ours=held + leg.lots,
        theirs=held,
    )


def cause_of(leg: Leg) -> Cause:
    """Why a leg has no fill."""
    text = leg.text.lower()
    if leg.state is OrdState.REJECTED and any(word in text for word in _FUNDS):
        return "insufficient_funds"
    if text.startswith(_AWAY) and (leg.state is OrdState.UNSENT or "broker_unavailable" in text):
        return "exchange_down"
    return "missed_signal"


def told(leg: Leg) -> dict[str, Any]:
    """A leg as evidence."""
    return {
        "order": leg.cl_ord_id, "strategy_id": str(leg.strategy_id), "state": leg.state.value,
        "lots": plain(leg.lots), "text": leg.text[:200], "at": leg.at.isoformat(),
    }  # fmt: skip


def _by_hand(difference: Difference, known: Known) -> Named | None:
    trades = [one for one in known.foreign or () if one.symbol == difference.symbol]
    if not trades:
        return None
    lots = sum((_signed(one) for one in trades), Decimal(0))
    cause: Cause = "liquidated" if _liquidated(trades) else "manual_order"
    evidence = {
        "exact": lots == difference.lots,
        "lots": plain(lots),
        "trades": [one.trade_id for one in trades[:TOLD_MOST]],
    }
    return Named(cause, evidence)


def _liquidated(trades: Sequence[BrokerFill]) -> bool:
    return any(one.liquidation for one in trades)


def _signed(trade: BrokerFill) -> Decimal:
    return trade.qty if trade.side == "buy" else -trade.qty
