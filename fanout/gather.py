"""Everything beside the snapshot that a plan is made of, read in one way for plans and for previews.

Whoever plans holds the turn of the strategy, so what is read here stands until the plan is kept.
Whoever only asks holds nothing: the answer is true of the moment at which it was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from fanout.mandate import SENDERS, Mandate
from fanout.market import Market
from fanout.market_store import read_market
from fanout.pictures import Known
from fanout.signal import Signal
from fanout.windows import Sessions
from tenancy.database import Connection
from tenancy.snapshot import Snapshot


async def gather(
    conn: Connection,
    snapshot: Snapshot,
    signal: Signal,
    known: Known,
    calendars: Mapping[str, Sessions],
    *,
    today: date,
    mandate: Mandate = SENDERS,
) -> Market:
    """The market of this signal's plan, as the caller's transaction sees it. Nothing is written.

    `today`: where options are traded, to count their expirations from.
    Accounts whose balance is in a currency other than their own have none (a warning says so).
    """
    return await read_market(
        conn, snapshot, signal, known.by_broker(), known.keyed(), dict(calendars), mandate,
        caps=known.caps(), today=today,
    )  # fmt: skip
