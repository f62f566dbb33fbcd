"""What a broker is asked for a comparison, and the two sides that come of it: by symbol, or on spot by asset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import cast

import msgspec

from fanout.abilities import Balance, HasBalances
from fanout.drift import Difference, Ours, Theirs, theirs_of
from fanout.drift_spot import by_asset, pair_of
from fanout.ports import Broker, BrokerAccount, BrokerPosition, Instrument, Report
from fanout.reconcile_rows import Book


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a broker said, asked for open orders first. `balances` in place of positions on spot."""

    resting: Sequence[Report]
    positions: Sequence[BrokerPosition] = ()
    balances: Sequence[Balance] | None = None
    table: Mapping[str, Instrument] = {}


class Sides(msgspec.Struct, frozen=True, kw_only=True):
    """Our book before and after the broker was asked, and what it said, in the same terms."""

    before: Ours
    after: Ours
    theirs: Theirs
    baseline: Mapping[str, Decimal]
    pairs: Mapping[str, str | None] | None = None

    def named(self, found: Sequence[Difference]) -> tuple[Difference, ...]:
        """With the pair by which we hold the asset; elsewhere a subject is its own symbol."""
        if self.pairs is None:
            return tuple(found)
        return tuple(
            msgspec.structs.replace(one, symbol=self.pairs.get(one.subject))
            if one.kind == "position"
            else one
            for one in found
        )


async def ask(broker: Broker, account: BrokerAccount) -> Answer:
    """Raises Unavailable."""
    resting = await broker.open_orders(account)
    if not broker.caps.balances:
        return Answer(resting=resting, positions=await broker.positions(account))
    held = await cast(HasBalances, broker).balances(account)
    return Answer(resting=resting, balances=held, table=await broker.instruments())


def both(answer: Answer, before: Book, after: Book) -> Sides:
    """Comparable. Pure."""
    if answer.balances is None:
        theirs = theirs_of(answer.positions, answer.resting)
        return Sides(before=before.ours, after=after.ours, theirs=theirs, baseline=after.baseline)
    was = by_asset(before.ours, answer.balances, answer.table, after.baseline)
    now = by_asset(after.ours, answer.balances, answer.table, after.baseline)
    return Sides(
        before=was.ours, after=now.ours, theirs=theirs_of(now.theirs, answer.resting),
        baseline=now.baseline,
        pairs={asset: pair_of(asset, after.ours, answer.table) for asset in now.ours.positions},
    )  # fmt: skip
