"""Accounts in the same situation: what may be done is judged once for all of them. Pure.

Two accounts are in one situation where they are of one cohort (the same settings but for numbers,
the same broker, the same kinds of limits), hold on the same side, and the same things are known of
them. What then still differs are numbers, which are columns. Of few accounts each is a situation of
its own: there is nothing to be saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fanout.mandate import Mandate
from fanout.market import AccountNow, Market, Usage
from fanout.numbers import NOBODY, Everybody, Narrow, Numbers, Wide, equity_of, position_of
from tenancy.snapshot import Snapshot, Subscribed

WIDE_FROM = 33
"""Accounts from which on columns cost less than structs (docs/benchmarks.md, `plan`)."""


class Facts(NamedTuple):
    """What is true of every account of a situation, beside what people set up."""

    sign: int  # of the position: -1, 0, 1
    own_sign: int  # of the strategy's own part of it
    addressed: bool
    in_doubt: bool
    equity: bool  # known
    available: bool  # known
    usage: bool  # known; the three after it hold only then
    worth: bool
    loss: bool
    shared: bool  # others of the account's strategies hold or wait in the symbol


class Situation(NamedTuple):
    """One of its accounts stands for all; `numbers` has those of each."""

    row: Subscribed
    facts: Facts
    numbers: Numbers


def situations(
    snapshot: Snapshot,
    market: Market,
    mandate: Mandate,
    order: Sequence[int],
    *,
    wide_from: int = WIDE_FROM,
) -> Iterator[Situation]:
    """All accounts, each in one situation; those of one are in fan-out order."""
    if len(order) >= wide_from:
        yield from _together(snapshot, market, mandate, order)
        return
    for index in order:
        row = snapshot.rows[index]
        now = market.accounts.get(row.account.account_id, NOBODY)
        usage = market.usage.get(row.account.account_id)
        facts = facts_of(row, now, usage, mandate)
        yield Situation(row, facts, Narrow(index, row, now, usage))


def facts_of(row: Subscribed, now: AccountNow, usage: Usage | None, mandate: Mandate) -> Facts:
    position = position_of(row, now, usage)
    own = now.expected
    return Facts(
        sign=(position > 0) - (position < 0),
        own_sign=(own > 0) - (own < 0),
        addressed=mandate.accounts is None or row.account.account_id in mandate.accounts,
        in_doubt=now.in_doubt,
        equity=equity_of(row, now) is not None,
        available=now.available is not None,
        usage=usage is not None,
        worth=usage is not None and usage.worth_elsewhere is not None,
        loss=usage is not None and usage.loss_today is not None and usage.risk_open is not None,
        shared=usage is not None
        and bool(usage.others or usage.others_resting_buy or usage.others_resting_sell),
    )


def _together(
    snapshot: Snapshot, market: Market, mandate: Mandate, order: Sequence[int]
) -> Iterator[Situation]:
    everybody = Everybody(snapshot, market)
    kinds: dict[Facts, int] = {}
    codes = np.fromiter(
        (
            kinds.setdefault(facts_of(row, now, usage, mandate), len(kinds))
            for row, now, usage in zip(
                everybody.rows, everybody.now, everybody.usage, strict=True
            )
        ),
        dtype=np.int64,
        count=len(order),
    )
    facts = list(kinds)
    rows = np.asarray(order, dtype=np.int64)
    together = (everybody.cohorts * len(facts) + codes)[rows]
    values, first, which = np.unique(together, return_index=True, return_inverse=True)
    by_situation = np.split(rows[np.argsort(which, kind="stable")], np.cumsum(np.bincount(which))[:-1])
    for number in np.argsort(first):
        members = by_situation[number]
        yield Situation(
            snapshot.rows[members[0]],
            facts[int(values[number]) % len(facts)],
            Wide(everybody, members),
        )
