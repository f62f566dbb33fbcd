"""Everything beside the snapshot that a plan is made of, read in one way for plans and for previews.

Whoever plans holds the turn of the strategy, so what is read here stands until the plan is kept.
Whoever only asks holds nothing: the answer is true of the moment at which it was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fanout.mandate import SENDERS, Mandate
from fanout.market import Market, Usage
from fanout.market_store import ask_market
from fanout.option_choice import Choice
from fanout.options import Contract
from fanout.pictures import Known
from fanout.shadows import everybody
from fanout.signal import Signal
from fanout.usage import Watched, ask_usage, counted, symbols_of
from fanout.windows import Sessions
from tenancy.database import Connection, Told
from tenancy.errors import Unavailable
from tenancy.snapshot import Snapshot
from tenancy.values import AccountID

TRIES = 3
_Asked = tuple[Mapping[AccountID, Choice], Told[Mapping[AccountID, Usage]], Told[Market]]
"""By which contracts it was asked, and what is told of it."""


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

    `at`: the plan's own time; `watched`: watch(everybody(snapshot)), where it is known (fanout/usage.py,
    fanout/shadows.py). Exact
    under limits that several plans draw on where the caller holds their turns; else a picture.
    Accounts whose balance is in a currency other than their own have none (a warning says so).
    Raises Unavailable where which option an account means changes faster than it can be read.
    """
    return await (
        await ask_gather(
            conn, snapshot, signal, known, calendars, at=at, mandate=mandate, watched=watched
        )
    )()


async def ask_gather(
    conn: Connection,
    snapshot: Snapshot,
    signal: Signal,
    known: Known,
    calendars: Mapping[str, Sessions],
    *,
    at: datetime,
    mandate: Mandate = SENDERS,
    watched: Watched | None = None,
) -> Told[Market]:
    """The same in a pipeline of the caller's; where options are traded a first look is waited for."""
    snapshot = everybody(snapshot)
    instruments = known.by_broker()
    symbols = symbols_of(snapshot, signal.ticker, instruments, by_name=mandate.names_symbols)

    async def ask() -> Told[Market]:
        return await ask_market(
            conn, snapshot, signal, instruments, known.keyed(), dict(calendars), mandate,
            caps=known.caps(), today=at.date(),
        )  # fmt: skip

    async def ask_all(contracts: Mapping[AccountID, Choice]) -> _Asked:
        named = symbols | {
            account: found.instrument.symbol
            for account, found in contracts.items()
            if isinstance(found, Contract)
        }
        async with conn.pipeline():  # one round trip
            # Before the market: what fails or fills in between then counts twice, never not at all.
            usage_told = await ask_usage(conn, snapshot, named, instruments, at, watched)
            return contracts, usage_told, await ask()

    # Which contract an account means follows from what it holds, and its usage from the contract.
    options = any(table.options for table in instruments.values())
    asked = await ask_all((await (await ask())()).contracts if options else {})

    async def told() -> Market:
        contracts, usage_told, market_told = asked
        for _ in range(TRIES):
            read = await market_told()
            if read.contracts == contracts:
                return counted(read, await usage_told())
            contracts, usage_told, market_told = await ask_all(read.contracts)
        raise Unavailable("what is held of the options changes faster than it can be read")

    return told
