"""Signals as the API shows them: what came. What became of it: gateway/admin/outcome.py."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from gateway.admin.listing import TimeQuery, Word, first_id, read_key, write_key
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.pages import Found, Lead, Listing, Range, Term, find
from gateway.admin.paging import Page
from tenancy.database import Connection
from tenancy.errors import NotFound

SignalStatus = Literal["accepted", "planned", "refused", "canceled"]
SignalKey = tuple[UUID]


class SignalQuery(TimeQuery, frozen=True, kw_only=True):
    """Which signals."""

    status: SignalStatus | None = None
    ticker: Word | None = None
    strategy_id: UUID | None = None


class SignalView(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that was accepted. `not_before`: when a delayed one is planned. `canceled`: taken back before
    it was planned. `refused`: accepted, and then not understood by a worker."""

    signal_id: UUID
    strategy_id: UUID
    hook_id: str
    message_id: str
    ticker: str
    status: SignalStatus
    received_at: datetime
    not_before: datetime | None


class SignalStory(SignalView, frozen=True, kw_only=True):
    """A signal with its body as it came, and whether it is planned."""

    trace_id: str
    body: str
    settings_version: int | None
    planned_at: datetime | None


SIGNALS = Listing(
    source="signals",
    key=("signal_id",),
    types=("uuid",),
    columns=(
        "signal_id", "strategy_id", "hook_id", "message_id", "ticker", "state", "received_at",
        "not_before",
    ),
)  # fmt: skip
ALL_SIGNALS = msgspec.structs.replace(SIGNALS, nulls=" NULLS LAST")
"""In the order that the index of all signals has, and the primary key has not."""

_ONE = """
SELECT s.signal_id, s.strategy_id, s.hook_id, s.message_id, s.ticker, s.state AS status, s.received_at,
       s.not_before, s.traceparent, s.body, p.version AS settings_version, p.planned_at
FROM signals s LEFT JOIN plans p USING (signal_id) WHERE s.signal_id = %b"""


async def find_signals(conn: Connection, query: SignalQuery, after: SignalKey | None) -> Found:
    """One page, as rows of the view's members."""
    listing, within, filters = question(query)
    return await find(conn, listing, within=within, filters=filters, after=after, limit=query.limit)


def question(query: SignalQuery) -> tuple[Listing, Range, list[Term]]:
    """Where to look, and what to look at there; the most selective filter leads. Pure."""
    asked: dict[str, Any] = {
        "state": query.status,
        "ticker": query.ticker,
        "strategy_id": query.strategy_id,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    lead: Lead | None = None
    only: tuple[Term, ...] = ()
    if asked.get("state") not in (None, "planned"):
        lead = Lead("state", "text", asked.pop("state"))
        only = (Term("state <> 'planned'"),)  # the partial index holds them
    elif "ticker" in asked:
        lead = Lead("ticker", "text", asked.pop("ticker"))
    elif "strategy_id" in asked:
        lead = Lead("strategy_id", "uuid", asked.pop("strategy_id"))
    filters = [Term(f"seen.{name} = %s", (value,)) for name, value in asked.items()]
    within = Range(lead=lead, low=first_id(query.since), high=first_id(query.until), only=only)
    return (SIGNALS if lead is not None else ALL_SIGNALS), within, filters


async def signal_by_id(conn: Connection, signal_id: UUID) -> SignalStory:
    """One signal. Raises NotFound, also for another tenant's."""
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(_ONE, (signal_id,))
    row = await cursor.fetchone()
    if row is None:
        raise NotFound(f"there is no signal {signal_id} in this tenant")
    traceparent, body = row.pop("traceparent"), bytes(row.pop("body"))
    return SignalStory(
        **row, trace_id=traceparent.split("-")[1], body=body.decode("utf-8", "replace")
    )


async def _list(call: Call) -> Result:
    query: SignalQuery = call.query
    found = await find_signals(call.conn, query, read_key(query.cursor, SignalKey))
    items = [
        SignalView(**dict(zip(SignalView.__struct_fields__, row, strict=True)))
        for row in found.rows
    ]
    return Result(content=Page(items=items, next=write_key(found.after)))


async def _read(call: Call) -> Result:
    return Result(content=await signal_by_id(call.conn, call.uuid("signal_id")))


OPERATIONS = (
    Operation(
        name="list_signals", method="GET", path="/v1/signals", tag="Signals", action="signals:read",
        summary="List signals, newest first.",
        handle=_list, query=SignalQuery, answer=Page[SignalView],
    ),
    Operation(
        name="get_signal", method="GET", path="/v1/signals/{signal_id}", tag="Signals",
        action="signals:read", summary="Read a signal, with its body as it came.",
        handle=_read, answer=SignalStory, problems=("not_found",),
    ),
)  # fmt: skip
