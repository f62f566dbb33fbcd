"""Everything beside the snapshot that a plan is made of, read in one way for plans and for previews.

Whoever plans holds the turn of the strategy, so what is read here stands until the plan is kept.
Whoever only asks holds nothing: the answer is true of the moment at which it was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fanout.mandate import SENDERS, Mandate
from fanout.market import Market
from fanout.market_store import read_market
from fanout.pictures import Known
from fanout.signal import Signal
from fanout.usage import Watched, counted, read_usage, symbols_of
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
    at: datetime,
    mandate: Mandate = SENDERS,
    watched: Watched | None = None,
) -> Market:
    """The market of this signal's plan, as the caller's transaction sees it. Nothing is written.

    `at`: the plan's own time; `watched`: watch(snapshot), where it is known (fanout/usage.py). Exact
    under limits that several plans draw on where the caller holds their turns; else a picture.
    Accounts whose balance is in a currency other than their own have none (a warning says so).
    """
    instruments = known.by_broker()
    symbols = symbols_of(snapshot, signal.ticker, instruments, by_name=mandate.names_symbols)
    # Before the market: what fails or fills in between then counts twice, never not at all.
    usage = await read_usage(conn, snapshot, symbols, instruments, at, watched)
    market = await read_market(
        conn, snapshot, signal, instruments, known.keyed(), dict(calendars), mandate
    )
    return counted(market, usage)
