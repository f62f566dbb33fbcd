"""Plans as the API shows them: for every account its order or its reason, and where each value came from.

A plan is read with a type of its own, not with fanout's: one that was written by an earlier version must be
shown as it was written, whatever the planner has learned since.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

import msgspec

from fanout.reasons import SENTENCES, Reason
from gateway.admin.operation import Call, Operation, Result
from tenancy.database import Connection
from tenancy.errors import NotFound
from tenancy.values import plain

_WIDE = Context(prec=80)


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


class WrittenNumber(msgspec.Struct, frozen=True):
    """One number of each account, as integers of 10^-scale; a single one is everybody's."""

    values: list[int | str]
    scale: int = 0

    def at(self, index: int) -> Decimal:
        value = self.values[index if len(self.values) > 1 else 0]
        return Decimal(value).scaleb(-self.scale, _WIDE)


class WrittenGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Accounts with one outcome: what is said once, and columns of what differs (fanout/groups.py)."""

    reason: str
    broker: str
    place: list[int]
    account_id: list[UUID]
    words: str = ""
    symbol: str | None = None
    cancel_open: bool = False
    legs: list[dict[str, Any]] = []
    source: dict[str, Any] = {}
    price: Decimal | None = None
    numbers: dict[str, WrittenNumber] = {}
    asked: list[dict[str, Any]] = []

    def entry(self, index: int) -> WrittenEntry:
        """One account's."""
        numbers = {name: number.at(index) for name, number in self.numbers.items()}
        texts = {name: plain(number) for name, number in numbers.items()}
        return WrittenEntry(
            account_id=self.account_id[index],
            place=self.place[index],
            broker=self.broker,
            reason=self.reason,
            words=self.words.format_map(texts) if "{" in self.words else self.words,
            symbol=self.symbol,
            cancel_open=self.cancel_open,
            legs=[{**leg, "order_qty": numbers[leg["lots"]]} for leg in self.legs],
            source=self.source,
            position=numbers.get("position", Decimal(0)),
            equity=numbers.get("equity"),
            price=self.price,
            asked=self.asked[index] if self.asked else None,
        )


class WrittenPlan(msgspec.Struct, frozen=True, kw_only=True, rename={"by_account": "entries"}):
    """What is read of a plan's row. Earlier versions wrote it account by account."""

    by_account: list[WrittenEntry] = []
    groups: list[WrittenGroup] = []
    deadline: datetime | None = None
    platform_revision: int = 0

    @property
    def entries(self) -> list[WrittenEntry]:
        """Every account, in fan-out order."""
        return self.behind(-1)

    def behind(self, place: int, most: int | None = None) -> list[WrittenEntry]:
        """The accounts from behind a place of the fan-out order on, and no more than `most`."""
        grouped = sorted(
            (at, number, index)
            for number, group in enumerate(self.groups)
            for index, at in enumerate(group.place)
            if at > place
        )
        told = [entry for entry in self.by_account if entry.place > place]
        return [*told, *(self.groups[group].entry(i) for _, group, i in grouped[:most])][:most]


class PlannedLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One order to place. The second leg of a flip waits for the first to fill."""

    leg: int
    side: str
    order_qty: str
    ord_type: str
    time_in_force: str
    price: str | None
    stop_px: str | None
    trail_amount: str | None
    trail_percent: str | None
    reduce_only: bool
    protect: dict[str, Any] | None
    """Take profit and stop loss that will stand behind the fills, as they hold for the account."""


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
        price=_amount(leg, "price"),
        stop_px=_amount(leg, "stop_px"),
        trail_amount=_amount(leg, "trail_amount"),
        trail_percent=_amount(leg, "trail_percent"),
        reduce_only=leg.get("reduce_only", False),
        protect=leg.get("protect"),
    )


def _amount(leg: dict[str, Any], name: str) -> str | None:
    return None if leg.get(name) is None else plain(Decimal(leg[name]))


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
