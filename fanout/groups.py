"""A plan as it is kept: what is said once for many accounts, and columns of what differs. Pure.

A `Group` is all accounts with one outcome: the same reason, the same legs but for their quantity,
the same words but for their numbers. One account's `PlanEntry` is put together when somebody looks,
so that ten thousand are not made to send the first.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from operator import itemgetter
from typing import overload

import msgspec

from fanout.exact import Column, decimal, text
from fanout.order import OrdType, Protect, Side, TimeInForce
from fanout.reasons import Reason
from tenancy.effective import Source
from tenancy.values import AccountID, SubscriptionID


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan entry says of the question that is put to a person."""

    subscription_id: SubscriptionID
    expires_at: datetime
    terms: str
    heeds_windows: bool = True


class Leg(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One order to place. The second leg of a flip waits for the first to fill."""

    leg: int
    side: Side
    order_qty: Decimal
    ord_type: OrdType
    time_in_force: TimeInForce
    price: Decimal | None = None
    reduce_only: bool = False
    stop_px: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    protect: Protect | None = None


class PlanEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One account. `words` is the arithmetic, for people; the numbers are what it started from."""

    account_id: AccountID
    part: int
    place: int
    broker: str
    reason: Reason
    words: str = ""
    symbol: str | None = None
    cancel_open: bool = False
    legs: tuple[Leg, ...] = ()
    source: dict[str, Source] = {}
    position: Decimal = Decimal(0)
    equity: Decimal | None = None
    price: Decimal | None = None
    market_price: Decimal | None = None
    """The broker's mark or last when the plan was made."""
    signal_price: Decimal | None = None
    cancel_after_s: int | None = None
    asked: Asked | None = None
    """Set: these legs are what a person is asked about, and nothing of the entry is done before."""

    @property
    def acts(self) -> bool:
        """Whether something is to be done at once."""
        return bool(self.legs or self.cancel_open) and self.asked is None


class Shape(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A leg but for its quantity, which is the number `lots` of each account."""

    leg: int
    side: Side
    lots: str
    ord_type: OrdType
    time_in_force: TimeInForce
    price: Decimal | None = None
    reduce_only: bool = False
    stop_px: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    protect: Protect | None = None

    def leg_of(self, quantity: Decimal) -> Leg:
        return Leg(
            leg=self.leg,
            side=self.side,
            order_qty=quantity,
            ord_type=self.ord_type,
            time_in_force=self.time_in_force,
            price=self.price,
            reduce_only=self.reduce_only,
            stop_px=self.stop_px,
            trail_amount=self.trail_amount,
            trail_percent=self.trail_percent,
            protect=self.protect,
        )


FITS = 2**63


class Listed(msgspec.Struct, frozen=True, omit_defaults=True):
    """One number of each account, as integers of 10^-scale; a single one is everybody's.

    What does not fit 64 bits stands as text, for JSON's readers know no larger integers.
    """

    values: list[int | str]
    scale: int = 0

    def at(self, index: int) -> int:
        return int(self.values[index if len(self.values) > 1 else 0])

    def decimal(self, index: int) -> Decimal:
        return decimal(self.at(index), self.scale)

    def text(self, index: int) -> str:
        return text(self.at(index), self.scale)


def listed(column: Column) -> Listed:
    values = column.values
    if isinstance(values, int):
        return Listed([values if -FITS <= values < FITS else str(values)], column.scale)
    if values.dtype != object:
        return Listed(values.tolist(), column.scale)
    fit = [value if -FITS <= value < FITS else str(value) for value in values.tolist()]
    return Listed(fit, column.scale)


class Group(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Accounts with one outcome. `place`, `account_id` and `part` are columns, and so are the numbers.

    `words` names numbers in curly brackets. `position` and `equity` are numbers too, where they are known.
    """

    reason: Reason
    broker: str
    place: list[int]
    account_id: list[AccountID]
    part: list[int]
    words: str = ""
    symbol: str | None = None
    cancel_open: bool = False
    legs: tuple[Shape, ...] = ()
    source: dict[str, Source] = {}
    price: Decimal | None = None
    market_price: Decimal | None = None
    signal_price: Decimal | None = None
    cancel_after_s: int | None = None
    numbers: dict[str, Listed] = {}
    asked: list[Asked] = []

    @property
    def acts(self) -> bool:
        """Whether something is to be done at once."""
        return bool(self.legs or self.cancel_open) and not self.asked

    @property
    def opens(self) -> bool:
        return any(shape.lots == "opening" for shape in self.legs)

    def entry(self, index: int) -> PlanEntry:
        """One account's."""
        numbers = self.numbers
        position, equity = numbers.get("position"), numbers.get("equity")
        return PlanEntry(
            account_id=self.account_id[index],
            part=self.part[index],
            place=self.place[index],
            broker=self.broker,
            reason=self.reason,
            words=self.words_of(index),
            symbol=self.symbol,
            cancel_open=self.cancel_open,
            legs=tuple(shape.leg_of(numbers[shape.lots].decimal(index)) for shape in self.legs),
            source=self.source,
            position=Decimal(0) if position is None else position.decimal(index),
            equity=None if equity is None else equity.decimal(index),
            price=self.price,
            market_price=self.market_price,
            signal_price=self.signal_price,
            cancel_after_s=self.cancel_after_s,
            asked=self.asked[index] if self.asked else None,
        )

    def words_of(self, index: int) -> str:
        if "{" not in self.words:
            return self.words
        texts = {name: number.text(index) for name, number in self.numbers.items()}
        return self.words.format_map(texts)


def chosen(groups: Iterable[Group], parts: Container[int] | None = None) -> list[PlanEntry]:
    """The entries of some groups (of these partitions), in fan-out order."""
    found = [
        (place, group, index)
        for group in groups
        for index, place in enumerate(group.place)
        if parts is None or group.part[index] in parts
    ]
    found.sort(key=itemgetter(0))
    return [group.entry(index) for _, group, index in found]


class Entries(Sequence[PlanEntry]):
    """All accounts of a plan in fan-out order, each put together when it is looked at."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        where = [
            (place, group, index)
            for group, each in enumerate(groups)
            for index, place in enumerate(each.place)
        ]
        self._where = [found[1:] for found in sorted(where)]
        self._made: dict[int, PlanEntry] = {}

    def __len__(self) -> int:
        return len(self._where)

    @overload
    def __getitem__(self, index: int) -> PlanEntry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PlanEntry]: ...
    def __getitem__(self, index: int | slice) -> PlanEntry | Sequence[PlanEntry]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        group, within = self._where[index]
        key = index % len(self._where)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._groups[group].entry(within)
        return made

    def __iter__(self) -> Iterator[PlanEntry]:
        return (self[index] for index in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(len(self))
