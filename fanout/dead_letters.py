"""Which part of a signal is a dead letter, and when a replay of it cannot double what happened. Pure.

A dead letter is one account of one signal that ended with nothing done, or with a leg not done, for
a reason that passes: its order was never sent, was refused by the broker, was proven absent, or was
denied; or the plan left the account out for what is another thing a moment later (PASSING). What
somebody wanted cancelled is none.

A replay is a new signal for that account alone. It is planned afresh, from the position as it is
now, so a leg that was done is not done again. Three things are refused all the same (`why_not`,
`grows`): while anything of the account is open or in doubt; after anything of it was *opened*; and
where the new plan wants more than what was left undone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from uuid import UUID

import msgspec

from fanout.order import FINAL, OrdState
from tenancy.values import plain

DEAD = (OrdState.UNSENT, OrdState.REJECTED, OrdState.ABSENT, OrdState.DENIED)
"""Ends of an attempt in which the broker has nothing of it."""
PASSING = frozenset(
    {
        "not_connected", "in_doubt", "usage_unknown", "audit_halted", "clock_untrusted", "no_price",
        "no_quote", "no_equity", "no_available", "no_fx_rate", "trading_window_unknown", "quorum_not_met",
        "not_reconciled", "platform_halted", "tenant_halted", "strategy_halted", "group_halted",
        "account_halted", "instrument_halted", "reduce_only",
    }
)  # fmt: skip
"""Reasons of plans that may be gone a moment later. The index of migration 0029 names the same."""
TOLERANCE = Decimal("0.05")
"""By so much of itself a quantity may have moved between a preview and the replay."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What of a row of `orders` counts here. Only of role `main`."""

    account_id: UUID
    cl_ord_id: str
    leg: int
    attempt: int
    broker: str
    symbol: str
    side: str
    order_qty: Decimal
    cum_qty: Decimal
    reduce_only: bool
    state: OrdState
    text: str | None
    cancelled: bool
    """Somebody wanted it cancelled."""


class DeadAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One account's part of a signal that was not done. `legs`: the last attempt of each such leg.

    `reason`: the state in which its first undone leg ended, the plan's reason, or `refused` for a
    signal that was not understood. `why_not`: why it cannot be replayed; empty: it can.
    """

    account_id: UUID
    reason: str
    text: str
    legs: tuple[Attempt, ...] = ()
    done: tuple[Attempt, ...] = ()
    why_not: str = ""


class NewLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One leg that a replay would send."""

    leg: int
    side: str
    order_qty: Decimal
    ord_type: str
    reduce_only: bool


def dead_of_orders(attempts: Sequence[Attempt]) -> list[DeadAccount]:
    """The accounts with a leg that was not done, in the attempts' order."""
    by_account: dict[UUID, dict[int, Attempt]] = defaultdict(dict)
    for one in attempts:
        last = by_account[one.account_id].get(one.leg)
        if last is None or last.attempt < one.attempt:
            by_account[one.account_id][one.leg] = one
    found = []
    for account, legs in by_account.items():
        last_ones = [legs[leg] for leg in sorted(legs)]
        dead = [one for one in last_ones if one.state in DEAD and not one.cancelled]
        if dead:
            done = tuple(one for one in attempts if one.account_id == account and one.cum_qty > 0)
            found.append(
                DeadAccount(
                    account_id=account, reason=dead[0].state.value, text=dead[0].text or "",
                    legs=tuple(dead), done=done, why_not=_why_not(last_ones, done),
                )
            )  # fmt: skip
    return found


def dead_of_plan(reasons: Mapping[UUID, tuple[str, str]]) -> list[DeadAccount]:
    """Of accounts without orders: those whose plan left them out for what passes. Values: reason, words."""
    return [
        DeadAccount(account_id=account, reason=reason, text=words)
        for account, (reason, words) in reasons.items()
        if reason in PASSING
    ]


def _why_not(last: Sequence[Attempt], done: Sequence[Attempt]) -> str:
    open_ones = [one.cl_ord_id for one in last if one.state not in FINAL]
    if open_ones:
        return f"{', '.join(open_ones)} is open or in doubt: it is replayed when that has ended"
    opened = [one.cl_ord_id for one in done if not one.reduce_only]
    if opened:
        return f"{', '.join(opened)} has opened a part of it: send a signal for the rest"
    return ""


def grows(dead: DeadAccount, legs: Sequence[NewLeg]) -> str:
    """Why these legs are more than what was left undone; empty: they are not.

    Per side: what was to be sent and was not bounds what may be sent now. An account that the plan left
    out has no such bound: nothing of it was ever decided.
    """
    if not dead.legs:
        return ""
    left, new = _by_side(dead.legs), _by_side(legs)
    # Nothing happened: the same signal, sized anew, within what a quantity may move.
    bound = Decimal(1) if dead.done else 1 + TOLERANCE
    for side, lots in new.items():
        if lots > left.get(side, Decimal(0)) * bound:
            return (
                f"it would {side} {plain(lots)} now, and {plain(left.get(side, Decimal(0)))} were left"
                " undone: send a signal of its own"
            )
    return ""


def _by_side(legs: Sequence[Attempt | NewLeg]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for leg in legs:
        sums[leg.side] += leg.order_qty
    return sums


def moved(shown: Sequence[NewLeg], now: Sequence[NewLeg]) -> bool:
    """Whether what would be sent is another thing than what was shown, beyond a quantity's TOLERANCE."""
    if [_shape(leg) for leg in shown] != [_shape(leg) for leg in now]:
        return True
    return any(
        abs(before.order_qty - after.order_qty) > before.order_qty * TOLERANCE
        for before, after in zip(shown, now, strict=True)
    )


def _shape(leg: NewLeg) -> tuple[int, str, str, bool]:
    return leg.leg, leg.side, leg.ord_type, leg.reduce_only
