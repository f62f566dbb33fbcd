"""Plans as the API shows them: for every account its order or its reason, and where each value came from.

A plan is read with a type of its own, not with fanout's: one that was written by an earlier version must be
shown as it was written, whatever the planner has learned since.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from fanout.reasons import SENTENCES, Reason
from gateway.admin.operation import Call, Operation, Result
from tenancy.database import Connection
from tenancy.errors import NotFound
from tenancy.values import plain


class WrittenEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One account as the plan's row says it; decimals as they stand there."""

    account_id: UUID
    place: int
    broker: str
    reason: str
    words: str = ""
    symbol: str | None = None
    cancel_open: bool = False
    legs: list[dict[str, Any]] = []
    source: dict[str, Any] = {}
    position: Decimal = Decimal(0)
    equity: Decimal | None = None
    price: Decimal | None = None
    asked: dict[str, Any] | None = None


class WrittenPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a plan's row."""

    entries: list[WrittenEntry]
    deadline: datetime | None = None
    platform_revision: int = 0


class PlannedLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One order to place. The second leg of a flip waits for the first to fill."""

    leg: int
    side: str
    order_qty: str
    ord_type: str
    time_in_force: str
    price: str | None
    reduce_only: bool


class PlannedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided for one account. `words` is the arithmetic; `source` says which layer each value is of."""

    account_id: UUID
    place: int
    broker: str
    reason: str
    sentence: str
    words: str
    symbol: str | None
    cancel_open: bool
    legs: list[PlannedLeg]
    source: dict[str, str]
    position: str
    equity: str | None
    price: str | None
    asked: dict[str, Any] | None
    """Not null: a person is asked about these legs before anything is done."""


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """The whole decision, in fan-out order. With the signal, the settings' version and the seed it can be
    computed again."""

    signal_id: UUID
    strategy_id: UUID
    settings_version: int
    platform_revision: int
    seed: str
    rotation: int
    planned_at: datetime
    deadline: datetime | None
    entries: list[PlannedAccount]


_PLAN = "SELECT plan::text FROM plans WHERE signal_id = %b"
_WHOLE = """
SELECT signal_id, strategy_id, version, seed::text, rotation, planned_at, plan::text
FROM plans WHERE signal_id = %b"""
_DECODER = msgspec.json.Decoder(WrittenPlan)


async def read_plan(conn: Connection, signal_id: UUID) -> WrittenPlan | None:
    """The plan of a signal; None where it is not planned, or there is none in this tenant."""
    row = await (await conn.execute(_PLAN, (signal_id,))).fetchone()
    return None if row is None else _DECODER.decode(row[0])


async def plan_of(conn: Connection, signal_id: UUID) -> PlanView:
    """The plan as the API shows it. Raises NotFound."""
    row = await (await conn.execute(_WHOLE, (signal_id,))).fetchone()
    if row is None:
        raise NotFound(f"there is no plan for signal {signal_id} in this tenant")
    written = _DECODER.decode(row[6])
    return PlanView(
        signal_id=row[0],
        strategy_id=row[1],
        settings_version=row[2],
        seed=row[3],
        rotation=row[4],
        planned_at=row[5],
        platform_revision=written.platform_revision,
        deadline=written.deadline,
        entries=entries_of(written.entries),
    )


def entries_of(entries: Sequence[WrittenEntry]) -> list[PlannedAccount]:
    """As the API shows them. Pure."""
    return [_entry(entry) for entry in entries]


def _entry(entry: WrittenEntry) -> PlannedAccount:
    return PlannedAccount(
        account_id=entry.account_id,
        place=entry.place,
        broker=entry.broker,
        reason=entry.reason,
        sentence=_sentence(entry.reason),
        words=entry.words,
        symbol=entry.symbol,
        cancel_open=entry.cancel_open,
        legs=[_leg(leg) for leg in entry.legs],
        source={name: str(layer) for name, layer in entry.source.items()},
        position=plain(entry.position),
        equity=None if entry.equity is None else plain(entry.equity),
        price=None if entry.price is None else plain(entry.price),
        asked=entry.asked,
    )


def _leg(leg: dict[str, Any]) -> PlannedLeg:
    return PlannedLeg(
        leg=leg.get("leg", 0),
        side=leg.get("side", ""),
        order_qty=plain(Decimal(leg.get("order_qty", 0))),
        ord_type=leg.get("ord_type", ""),
        time_in_force=leg.get("time_in_force", ""),
        price=None if leg.get("price") is None else plain(Decimal(leg["price"])),
        reduce_only=leg.get("reduce_only", False),
    )


def _sentence(reason: str) -> str:
    try:
        return SENTENCES[Reason(reason)]
    except ValueError:  # a reason of a version that is no more
        return ""


async def _read(call: Call) -> Result:
    return Result(content=await plan_of(call.conn, call.uuid("signal_id")))


OPERATIONS = (
    Operation(
        name="get_plan", method="GET", path="/v1/plans/{signal_id}", tag="Signals",
        action="orders:read",
        summary="Read the plan of a signal: reasons, sizes and where each value came from.",
        handle=_read, answer=PlanView, problems=("not_found",),
    ),
)  # fmt: skip
