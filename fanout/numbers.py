"""The numbers that each account has of its own, by name: of one account, or of all of a situation. Pure.

Two classes give the same names: `Narrow` reads one account's structs, `Wide` gathers from columns
that are made once for each snapshot and each reading of the market. What is done with a number
(fanout/exact.py) does not know which of the two gave it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Generic, TypeVar

import numpy as np

from fanout.exact import Column, Truth, Whole, many, one
from fanout.market import AccountNow, Market, Usage
from tenancy.snapshot import Snapshot, Subscribed
from tenancy.values import AccountID

NOBODY = AccountNow()
UNUSED = Usage()

LIMITS = (
    "max_order_quantity",
    "max_order_notional",
    "max_position_quantity",
    "max_position_notional",
    "strategy_position_quantity",
    "strategy_position_notional",
    "max_leverage",
    "max_daily_loss",
    "max_orders_per_minute",
)


def equity_of(row: Subscribed, now: AccountNow) -> Decimal | None:
    """The broker's, with or without unrealised profit as the subscription says; else what is stated."""
    if now.equity is None:
        return row.account.stated_equity
    if row.settings.equity_basis.value == "with_unrealised":
        return now.equity
    return now.equity - now.unrealised


def _positive(number: Decimal | None) -> Decimal:
    return number if number is not None and number > 0 else Decimal(0)


def position_of(row: Subscribed, now: AccountNow, usage: Usage | None) -> Decimal:
    """Signed lots that count as the strategy's: its own, or all that the account holds."""
    if usage is None or row.settings.position_basis.value == "strategy":
        return now.expected
    return now.expected + usage.others


def _limit(name: str) -> Callable[[Subscribed], Decimal | int | None]:
    def value(row: Subscribed) -> Decimal | int | None:
        limit = getattr(row.limits, name)
        return None if limit is None else limit.value

    return value


SET_UP: dict[str, Callable[[Subscribed], Decimal | int | None]] = {
    "quantity": lambda row: row.settings.quantity.value,
    "block_ratio": lambda row: row.settings.block_ratio.value,
    "leverage": lambda row: row.account.leverage,
    **{name: _limit(name) for name in LIMITS},
}
"""What people set up: these hold as long as the snapshot does."""

HAPPENS: dict[str, Callable[[Subscribed, AccountNow, Usage | None], Decimal | int | None]] = {
    "equity": lambda row, now, usage: _positive(equity_of(row, now)),
    "said_equity": lambda row, now, usage: equity_of(row, now),
    "available": lambda row, now, usage: _positive(now.available),
    "position": position_of,
    "held": lambda row, now, usage: abs(position_of(row, now, usage)),
    "own": lambda row, now, usage: now.expected,
    "resting_buy": lambda row, now, usage: now.resting_buy,
    "resting_sell": lambda row, now, usage: now.resting_sell,
    "others": lambda row, now, usage: (usage or UNUSED).others,
    "others_resting_buy": lambda row, now, usage: (usage or UNUSED).others_resting_buy,
    "others_resting_sell": lambda row, now, usage: (usage or UNUSED).others_resting_sell,
    "worth_elsewhere": lambda row, now, usage: (usage or UNUSED).worth_elsewhere,
    "orders_last_minute": lambda row, now, usage: (usage or UNUSED).orders_last_minute,
    "loss_today": lambda row, now, usage: (usage or UNUSED).loss_today,
    "risk_open": lambda row, now, usage: (usage or UNUSED).risk_open,
}
"""What brokers and the book say, when a plan is made."""


class Narrow:
    """One account's."""

    __slots__ = ("_row", "_now", "_usage", "rows")

    def __init__(self, index: int, row: Subscribed, now: AccountNow, usage: Usage | None) -> None:
        self.rows: Any = (index,)
        self._row, self._now, self._usage = row, now, usage

    def get(self, name: str) -> Column:
        set_up = SET_UP.get(name)
        value = (
            set_up(self._row)
            if set_up is not None
            else HAPPENS[name](self._row, self._now, self._usage)
        )
        return one(0 if value is None else value)

    def part(self, where: Truth) -> Narrow | None:
        """Itself, or nothing."""
        return self if where else None


class Wide:
    """Those of all accounts of a situation, in fan-out order."""

    __slots__ = ("_all", "rows")

    def __init__(self, everybody: Everybody, rows: Any) -> None:
        self._all = everybody
        self.rows = rows

    def get(self, name: str) -> Column:
        column = self._all.get(name)
        return Column(column.values[self.rows], column.scale)

    def part(self, where: Truth) -> Wide | None:
        """Of those accounts for which it is so; None where there is none."""
        if where.__class__ is bool:
            return self if where else None
        rows = self.rows[where]
        return Wide(self._all, rows) if len(rows) else None


Numbers = Narrow | Wide


def of_part(values: Whole, where: Truth) -> Whole:
    """What belongs to the accounts of `part(where)`."""
    if isinstance(values, int) or isinstance(where, bool):
        return values
    return values[where]


class Everybody:
    """Each number as one column over all rows of a snapshot, made when it is first asked for."""

    def __init__(self, snapshot: Snapshot, market: Market) -> None:
        self._set_up = SET_UP_COLUMNS.get(snapshot)
        self.rows: Sequence[Subscribed] = snapshot.rows
        accounts, usage = market.accounts, market.usage
        ids = self._set_up.accounts
        self.now = [accounts.get(each, NOBODY) for each in ids]
        self.usage = [usage.get(each) for each in ids] if usage else [None] * len(ids)
        self._columns: dict[str, Column] = {}

    def get(self, name: str) -> Column:
        if name in SET_UP:
            return self._set_up.get(name)
        if name not in self._columns:
            read = HAPPENS[name]
            numbers = map(read, self.rows, self.now, self.usage)
            self._columns[name] = many(list(numbers))
        return self._columns[name]

    @property
    def cohorts(self) -> Any:
        return self._set_up.cohorts


class SetUp:
    """The columns of a snapshot, and its cohorts: rows that differ in nothing but numbers."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._rows = snapshot.rows
        self.accounts: list[AccountID] = [row.account.account_id for row in snapshot.rows]
        self.parts: list[int] = [row.account.part for row in snapshot.rows]
        self.cohorts = _cohorts(snapshot.rows)
        self._columns: dict[str, Column] = {}

    def get(self, name: str) -> Column:
        if name not in self._columns:
            self._columns[name] = many([SET_UP[name](row) for row in self._rows])
        return self._columns[name]


def _cohorts(rows: Sequence[Subscribed]) -> Any:
    """A code for each row: the same for two that one judgement is right for."""
    seen: dict[int, Any] = {}  # by identity: thousands of rows share a few documents
    codes: dict[Any, int] = {}
    result = []
    for row in rows:
        settings = seen.get(id(row.settings))
        if settings is None:
            settings = seen[id(row.settings)] = _settings_key(row)
        limits = seen.get(id(row.limits))
        if limits is None:
            limits = seen[id(row.limits)] = tuple(
                None if limit is None else limit.source
                for limit in (getattr(row.limits, name) for name in LIMITS)
            ) + (row.limits.price_collar_percent, row.limits.over_limit)
        account, group = row.account, row.group
        key = (
            settings, limits, account.broker, account.currency, account.state, account.archived,
            account.sealed is None, row.enabled,
            None if group is None else (group.state, group.archived),
        )  # fmt: skip
        result.append(codes.setdefault(key, len(codes)))
    return np.array(result, dtype=np.int64)


def _settings_key(row: Subscribed) -> bytes:
    """All settings but the numbers that have columns."""
    import msgspec

    quantity = msgspec.structs.replace(row.settings.quantity, value=Decimal(0))
    ratio = type(row.settings.block_ratio)(Decimal(0), "product")
    alike = msgspec.structs.replace(row.settings, quantity=quantity, block_ratio=ratio)
    return msgspec.json.encode(alike, order="deterministic")


T = TypeVar("T", bound=object)
K = TypeVar("K")


class Kept(Generic[K, T]):
    """What was made of a thing, for as long as the thing itself is there."""

    def __init__(self, make: Callable[[K], T]) -> None:
        self._make = make
        self._made: dict[int, tuple[weakref.ref[Any], T]] = {}

    def get(self, thing: K) -> T:
        found = self._made.get(id(thing))
        if found is not None and found[0]() is thing:
            return found[1]
        made = self._make(thing)
        identity = id(thing)
        self._made[identity] = (weakref.ref(thing, lambda _: self._made.pop(identity, None)), made)
        return made


SET_UP_COLUMNS: Kept[Snapshot, SetUp] = Kept(SetUp)
