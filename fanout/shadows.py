"""Shadows beside a plan: what each twin would do on paper, behind everything that is real. Pure.

A shadow changes nothing of what is real: it is in no row of the snapshot, so that quorum, blocks,
turns and totals are counted without it, and its orders come after everybody else's.

1. The real plan is made, and knows of no shadow.
2. The same function plans once more, on a snapshot in which each shadow stands in its twin's row:
   with the twin's settings, group, limits, share of a block and place in the order.
3. Only the shadows' entries of that second plan are kept, behind the first one's, in their twins' order.

What decides over all accounts together is not decided anew: the second plan has no quorum, and where
the first one's was not met, no shadow opens either. Nobody is asked about paper: a
shadow trades at once where its twin waits for a person, and the report shows what waiting cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from fanout.groups import Group
from fanout.mandate import Mandate
from fanout.market import Market
from fanout.plan import Plan
from fanout.quorum import withdrawn
from fanout.reasons import Reason
from tenancy.explain import STRICTNESS
from tenancy.paper import is_shadow, shadow_broker
from tenancy.parameters import TradingState
from tenancy.snapshot import Shadow, Snapshot, Subscribed
from tenancy.values import AccountID

Make = Callable[[Snapshot, Market], Plan]
"""make_plan, but for the snapshot and the market."""


def with_shadows(make: Make, snapshot: Snapshot, market: Market, mandate: Mandate) -> Plan:
    """The plan of `snapshot`, and behind it its shadows' entries.

    `market`: of everybody(snapshot). A signal of our own names its accounts, shadows among them, and they
    are rows like all others then. One shadow or many: it takes
    some five times as long, for the second snapshot's columns are made anew for each plan (docs/shadows.md).
    """
    plan = make(snapshot, market)
    twins = {} if mandate.forced else _twins(snapshot)
    if not twins:
        return plan
    second = make(_in_their_places(snapshot, twins), _imitated(market))
    groups = [group for group in second.groups if is_shadow(group.broker)]
    if Reason.QUORUM_NOT_MET in plan.reasons:
        groups = [withdrawn(group) if group.opens else group for group in groups]
    return msgspec.structs.replace(plan, groups=(*plan.groups, *_behind(plan.groups, groups)))


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


def _behind(real: Sequence[Group], shadows: Sequence[Group]) -> list[Group]:
    """The shadows' groups with places after all real ones, in the order of the places they took."""
    first = sum(len(group.place) for group in real)
    taken = sorted(place for group in shadows for place in group.place)
    places = {place: first + index for index, place in enumerate(taken)}
    return [
        msgspec.structs.replace(group, place=[places[place] for place in group.place])
        for group in shadows
    ]
