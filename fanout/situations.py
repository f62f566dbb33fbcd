"""Accounts in the same situation: what may be done is judged once for all of them. Pure.

Two accounts are in one situation where they are of one cohort (the same settings but for numbers,
the same broker, the same kinds of limits), hold on the same side, and the same things are known of
them. What then still differs are numbers, which are columns. Of few accounts each is a situation of
its own: there is nothing to be saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from fanout.mandate import Mandate
from fanout.market import AccountNow, Market, Usage
from fanout.numbers import NOBODY, Everybody, Narrow, Numbers, Wide, equity_of, position_of
from fanout.options import Contract, NoContract
from tenancy.snapshot import Snapshot, Subscribed

WIDE_FROM = 4
"""Accounts from which on columns cost less than structs (docs/benchmarks.md, `plan`)."""


class Facts(NamedTuple):
    """What is true of every account of a situation, beside what people set up."""

    sign: int  # of the position: -1, 0, 1
    addressed: bool
    in_doubt: bool
    equity: bool  # known
    available: bool  # known
    usage: bool  # known; the three after it hold only then
    worth: bool
    loss: bool
    shared: bool  # others of the account's strategies hold or wait in the symbol
    contract: Contract | NoContract | None  # where the signal speaks of an option


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
        yield from _together(snapshot, market, mandate, order, wide_from)
        return
    for index in order:
        row = snapshot.rows[index]
        now = market.accounts.get(row.account.account_id, NOBODY)
        usage = market.usage.get(row.account.account_id)
        facts = facts_of(row, now, usage, market, mandate)
        yield Situation(row, facts, Narrow(index, row, now, usage))


def facts_of(
    row: Subscribed, now: AccountNow, usage: Usage | None, market: Market, mandate: Mandate
) -> Facts:
    position = position_of(row, now, usage)
    return Facts(
        sign=(position > 0) - (position < 0),
        addressed=mandate.accounts is None or row.account.account_id in mandate.accounts,
        in_doubt=now.in_doubt,
        equity=equity_of(row, now) is not None,
        available=now.available is not None,
        usage=usage is not None,
        worth=usage is not None and usage.worth_elsewhere is not None,
        loss=usage is not None and usage.knows_loss,
        shared=usage is not None and usage.shared,
        contract=market.contracts.get(row.account.account_id) if market.contracts else None,
    )


def _together(
    snapshot: Snapshot, market: Market, mandate: Mandate, order: Sequence[int], wide_from: int
) -> Iterator[Situation]:
    everybody = Everybody(snapshot, market)
    rows = np.asarray(order, dtype=np.int64)
    codes = (everybody.set_up.cohorts * FACTS + _codes(everybody, mandate))[rows]
    if market.contracts:
        seen: dict[int, int] = {}  # by identity: all that would find the same share one
        chosen = (id(market.contracts.get(each)) for each in everybody.set_up.accounts)
        which_one = np.array([seen.setdefault(each, len(seen)) for each in chosen])
        codes = codes * len(seen) + which_one[rows]
    _, first, which = np.unique(codes, return_index=True, return_inverse=True)
    ends = np.cumsum(np.bincount(which))[:-1]
    members = np.split(rows[np.argsort(which, kind="stable")], ends)
    for number in np.argsort(first):
        some = members[number]
        one = int(some[0])
        facts = facts_of(
            snapshot.rows[one], everybody.now[one], everybody.used(one), market, mandate
        )
        if len(some) >= wide_from:
            yield Situation(snapshot.rows[one], facts, Wide(everybody, some))
            continue
        for index in some.tolist():
            row, now = snapshot.rows[index], everybody.now[index]
            yield Situation(row, facts, Narrow(index, row, now, everybody.used(index)))


FACTS = 3 * 2**8
"""How many combinations of facts there are: the three signs, and the flags."""


def _codes(everybody: Everybody, mandate: Mandate) -> Any:
    """Each row's facts as one number."""
    flags = everybody.flags
    codes = np.sign(everybody.get("position").values).astype(np.int64) + 1
    wanted = mandate.accounts
    columns = [
        flags(map(attrgetter("in_doubt"), everybody.now)),
        everybody.knows_equity | everybody.set_up.states_equity,
        everybody.knows("available"),
    ]
    if wanted is not None:
        columns.append(flags(each in wanted for each in everybody.set_up.accounts))
    if everybody.usage is not None:
        used = everybody.usage
        columns += [
            flags(each is not None for each in used),
            flags(each is not None and each.worth_elsewhere is not None for each in used),
            flags(each is not None and each.knows_loss for each in used),
            flags(each is not None and each.shared for each in used),
        ]
    for column in columns:
        codes = codes * 2 + column
    return codes
