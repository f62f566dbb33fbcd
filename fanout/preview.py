"""What a signal would do now, at every account, if it came: the plan, made and not kept.

The same function decides (fanout/plan.py) from inputs that are read in the same way (fanout/gather.py),
under the rotation that the strategy's next plan has. What differs from the signal that comes after:
whatever happens in between, and, where the order is random, the seed, which is made of the signal's id.

Nothing is written: the caller's transaction is made read-only first, so PostgreSQL would refuse it.
The age of a signal is no question here, so no bound on it is needed.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial

import msgspec

from fanout.calendars import Calendars
from fanout.gather import gather
from fanout.mandate import SENDERS, Mandate
from fanout.market import Market
from fanout.pictures import Known
from fanout.plan import Plan, Rules, make_plan
from fanout.sequence import seed_of
from fanout.shadows import with_shadows
from fanout.signal import Signal
from tenancy.database import Connection
from tenancy.effective import unresolvable
from tenancy.errors import NotFound
from tenancy.proposed import NOTHING, Proposed
from tenancy.snapshot import Snapshot
from tenancy.store.resolvable import Unresolvable
from tenancy.store.snapshots import read_snapshot
from tenancy.values import SignalID, StrategyID

RULES = Rules(signal_age_max_s=86_400.0, open_window_s=0.0)
"""Of a plan that is carried out by nobody."""

_ROTATION = "SELECT coalesce(max(rotation) + 1, 0) FROM plans WHERE strategy_id = %s"


class Previewed(msgspec.Struct, frozen=True, kw_only=True):
    """The plan, and what it was made of."""

    plan: Plan
    snapshot: Snapshot
    market: Market


async def read_only(conn: Connection) -> None:
    """From here on PostgreSQL refuses every write of this transaction."""
    await conn.execute("SET TRANSACTION READ ONLY")


async def preview(
    conn: Connection,
    strategy: StrategyID,
    signal: Signal,
    signal_id: SignalID,
    known: Known,
    calendars: Calendars,
    now: datetime,
    proposed: Proposed = NOTHING,
    mandate: Mandate = SENDERS,
) -> Previewed:
    """Decide for every account, as things stand or as `proposed` would have them.

    `signal_id`: any that no signal has. A signal with a delay is planned for the time at which it is
    due, by the prices of now. Raises NotFound, Invalid (the delay; a proposal that leaves a parameter
    without a value), Unavailable.
    """
    snapshot = await proposed_snapshot(conn, strategy, proposed)
    row = await (await conn.execute(_ROTATION, (strategy,))).fetchone()
    assert row is not None
    at = signal.due(now) or now
    market = await gather(
        conn,
        snapshot,
        signal,
        known,
        await calendars.get(snapshot.calendars, at),
        at=at,
        mandate=mandate,
    )
    make = partial(
        make_plan,
        signal,
        signal_id=signal_id,
        received_at=at,
        planned_at=at,
        seed=seed_of(signal_id),
        rotation=row[0],
        rules=RULES,
        mandate=mandate,
    )
    plan = with_shadows(make, snapshot, market, mandate)
    return Previewed(plan=plan, snapshot=snapshot, market=market)


async def proposed_snapshot(conn: Connection, strategy: StrategyID, proposed: Proposed) -> Snapshot:
    """The strategy as it would be. Raises NotFound, Unresolvable, Unavailable."""
    snapshot = await read_snapshot(conn, strategy, proposed=proposed)
    if proposed.empty:
        return snapshot
    there = {row.subscription_id for row in snapshot.rows}
    for one in proposed.subscriptions:
        if one.subscription_id not in there:
            raise NotFound(f"the strategy has no subscription {one.subscription_id}")
    for row in snapshot.rows:
        if lacking := unresolvable(row.settings):
            raise Unresolvable(
                f"subscription {row.subscription_id}: nothing sets {', '.join(lacking)}, and the"
                " signal's is switched off"
            )
    return snapshot
