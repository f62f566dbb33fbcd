"""Shadows beside a plan: what each twin would do on paper, behind everything that is real. Pure.

A shadow changes nothing of what is real: it is in no row of the snapshot, so that quorum, blocks,
turns and totals are counted without it, and its orders come after everybody else's.

1. The real plan is made, and knows of no shadow.
2. The same function plans once more, on a snapshot in which each shadow stands in its twin's row:
   with the twin's settings, group, limits, share of a block and place in the order.
3. Only the shadows' entries of that second plan are kept, behind the first one's, in their twins' order.

What decides over all accounts together is not decided anew: the second plan has no quorum, and where
the first one's was not met for the twin, it is not met for the shadow. Nobody is asked about paper: a
shadow trades at once where its twin waits for a person, and the report shows what waiting cost.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from fanout.mandate import Mandate
from fanout.market import Market
from fanout.plan import Plan, PlanEntry
from fanout.reasons import Reason
from tenancy.explain import STRICTNESS
from tenancy.paper import shadow_broker
from tenancy.parameters import TradingState
from tenancy.snapshot import Shadow, Snapshot, Subscribed
from tenancy.values import AccountID

Make = Callable[[Snapshot, Market], Plan]
"""make_plan, but for the snapshot and the market."""


def with_shadows(make: Make, snapshot: Snapshot, market: Market, mandate: Mandate) -> Plan:
    """The plan of `snapshot`, and behind it its shadows' entries.

    `market`: of everybody(snapshot). A signal of our own names its accounts, shadows among them, and they
    are rows like all others then. With a shadow it takes twice the time of one plan.
    """
    plan = make(snapshot, market)
    twins = {} if mandate.forced else _twins(snapshot)
    if not twins:
        return plan
    second = make(_in_their_places(snapshot, twins), _imitated(market))
    real = {entry.account_id: entry for entry in plan.entries}
    twin_of = {shadow.account.account_id: account for account, shadow in twins.items()}
    first = len(real)
    found = [entry for entry in second.entries if entry.account_id in twin_of]
    behind = [
        _behind(entry, real[twin_of[entry.account_id]], first + index)
        for index, entry in enumerate(found)
    ]
    return msgspec.structs.replace(plan, entries=(*plan.entries, *behind))


def everybody(snapshot: Snapshot) -> Snapshot:
    """With the shadows as rows behind the others: what is read of the market is read for them too."""
    twins = _twins(snapshot)
    if not twins:
        return snapshot
    behind = tuple(
        _row(row, twins[row.account.account_id])
        for row in snapshot.rows
        if row.account.account_id in twins
    )
    return msgspec.structs.replace(snapshot, rows=(*snapshot.rows, *behind))


def _twins(snapshot: Snapshot) -> dict[AccountID, Shadow]:
    """By the twin's account; but for shadows that are rows of their own already."""
    if not snapshot.shadows:
        return {}
    of = {shadow.twin: shadow for shadow in snapshot.shadows}
    rows = {row.account.account_id for row in snapshot.rows}
    return {
        row.account.account_id: of[row.subscription_id]
        for row in snapshot.rows
        if row.subscription_id in of and of[row.subscription_id].account.account_id not in rows
    }


def _in_their_places(snapshot: Snapshot, twins: dict[AccountID, Shadow]) -> Snapshot:
    settings = msgspec.structs.replace(
        snapshot.strategy.settings, quorum_percent=None, quorum_accounts=None
    )
    return msgspec.structs.replace(
        snapshot,
        strategy=msgspec.structs.replace(snapshot.strategy, settings=settings),
        rows=tuple(
            _row(row, twins[row.account.account_id]) if row.account.account_id in twins else row
            for row in snapshot.rows
        ),
    )


def _row(twin: Subscribed, shadow: Shadow) -> Subscribed:
    """The twin's row with the shadow's account in it. What stops either of the two stops the shadow."""
    asks = twin.settings.needs_approval
    return msgspec.structs.replace(
        twin,
        subscription_id=shadow.subscription_id,
        enabled=twin.enabled and shadow.enabled,
        settings=msgspec.structs.replace(
            twin.settings, needs_approval=msgspec.structs.replace(asks, value=False)
        ),
        account=msgspec.structs.replace(
            shadow.account,
            state=_stricter(twin.account.state, shadow.account.state),
            archived=twin.account.archived or shadow.account.archived,
        ),
    )


def _imitated(market: Market) -> Market:
    """An instrument that is halted at a broker is halted for its shadows."""
    states = {
        (shadow_broker(broker), symbol): state
        for (broker, symbol), state in market.instrument_states.items()
    }
    return msgspec.structs.replace(market, instrument_states={**market.instrument_states, **states})


def _stricter(one: TradingState, other: TradingState) -> TradingState:
    return max(one, other, key=STRICTNESS.index)


def _behind(entry: PlanEntry, twin: PlanEntry, place: int) -> PlanEntry:
    if twin.reason is Reason.QUORUM_NOT_MET:
        return PlanEntry(
            account_id=entry.account_id, part=entry.part, place=place, broker=entry.broker,
            reason=twin.reason, words=twin.words, symbol=entry.symbol,
            position=entry.position or Decimal(0), equity=entry.equity,
        )  # fmt: skip
    return msgspec.structs.replace(entry, place=place)
