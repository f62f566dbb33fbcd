"""The numbers that each account has of its own, by name: of one account, or of all of a situation. Pure.

Two classes give the same names: `Narrow` reads one account's structs, `Wide` gathers from columns
that are made once for each snapshot and each reading of the market. What is done with a number
(fanout/exact.py) does not know which of the two gave it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import cached_property
from itertools import repeat
from operator import attrgetter, is_not
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from fanout.exact import Column, Truth, Whole, at_scale, many, one, packed, total
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
    "stated_equity": lambda row: row.account.stated_equity,
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
    "others_long": lambda row, now, usage: (usage or UNUSED).others_long,
    "others_short": lambda row, now, usage: (usage or UNUSED).others_short,
    "worth_elsewhere": lambda row, now, usage: (usage or UNUSED).worth_elsewhere,
    "orders_last_minute": lambda row, now, usage: (usage or UNUSED).orders_last_minute,
    "loss_today": lambda row, now, usage: (usage or UNUSED).loss_today,
    "risk_open": lambda row, now, usage: (usage or UNUSED).risk_open,
}
"""What brokers and the book say, when a plan is made."""


class Narrow:
    """One account's."""

    __slots__ = ("_now", "_row", "_usage", "rows")

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

    @property
    def who(self) -> tuple[list[AccountID], list[int]]:
        """The accounts' ids and partitions."""
        return [self._row.account.account_id], [self._row.account.part]

    def spread(self, value: Whole) -> Whole:
        return value

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

    @property
    def who(self) -> tuple[list[AccountID], list[int]]:
        """The accounts' ids and partitions."""
        set_up = self._all.set_up
        return set_up.identities[self.rows].tolist(), set_up.parts[self.rows].tolist()

    def spread(self, value: Whole) -> Whole:
        """One number for all of them as a column."""
        return packed([value]).repeat(len(self.rows)) if isinstance(value, int) else value

    def part(self, where: Truth) -> Wide | None:
        """Of those accounts for which it is so (or whose indexes these are); None where there is none."""
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
        self.set_up = SET_UP_COLUMNS.get(snapshot)
        ids, usage = self.set_up.accounts, market.usage
        if list(market.accounts) == ids:  # the snapshot's own, in its order: no id need be hashed
            self.now = list(market.accounts.values())
        else:
            self.now = list(map(market.accounts.get, ids, repeat(NOBODY)))
        self.usage = [usage.get(each) for each in ids] if usage else None
        self._columns: dict[str, Column] = {}
        self._raw: dict[str, list[Any]] = {}

    def get(self, name: str) -> Column:
        if name in SET_UP:
            return self.set_up.get(name)
        made = self._columns.get(name)
        if made is None:
            made = self._columns[name] = self._make(name)
        return made

    def _make(self, name: str) -> Column:
        if name == "own":
            return total(*self._of_now("position", "under_way"))
        if name == "position":
            return self._position()
        if name == "held":
            column = self.get("position")
            return Column(abs(column.values), column.scale)
        if name == "said_equity":
            return self._said_equity()
        if name == "equity":
            column = self.get("said_equity")
            return Column(np.maximum(column.values, 0), column.scale)
        if name == "available":
            (column,) = self._of_now(name)
            return Column(np.maximum(column.values, 0), column.scale)
        if name in ("resting_buy", "resting_sell"):
            return self._of_now(name)[0]
        used = self.usage or [None] * len(self.now)
        return many([None if each is None else getattr(each, name) for each in used])

    def _of_now(self, *names: str) -> list[Column]:
        return [many(self._said(name)) for name in names]

    def _said(self, name: str) -> list[Any]:
        """What is known of each account now."""
        said = self._raw.get(name)
        if said is None:
            said = self._raw[name] = list(map(attrgetter(name), self.now))
        return said

    def knows(self, name: str) -> Any:
        """Where the broker said it."""
        return self.flags(map(is_not, self._said(name), repeat(None)))

    def _position(self) -> Column:
        """The strategy's own, and others' where all that the account holds counts."""
        own = self.get("own")
        if self.usage is None or not self.set_up.of_account.any():
            return own
        others = self.get("others")
        counted = np.where(self.set_up.of_account, others.values, 0)
        return total(own, Column(counted, others.scale))

    def _said_equity(self) -> Column:
        equity, stated = self._of_now("equity")[0], self.set_up.get("stated_equity")
        if self.set_up.without_unrealised.any():
            (profit,) = self._of_now("unrealised")
            counted = np.where(self.set_up.without_unrealised, profit.values, 0)
            equity = total(equity, Column(-counted, profit.scale))
        if self.knows_equity.all():
            return equity
        scale = max(equity.scale, stated.scale)
        values = at_scale(equity, scale).values, at_scale(stated, scale).values
        return Column(np.where(self.knows_equity, *values), scale)

    @cached_property
    def knows_equity(self) -> Any:
        return self.knows("equity")

    def used(self, index: int) -> Usage | None:
        return None if self.usage is None else self.usage[index]

    def flags(self, answers: Iterable[bool]) -> Any:
        return np.fromiter(answers, dtype=bool, count=len(self.now))


class SetUp:
    """The columns of a snapshot, and its cohorts: rows that differ in nothing but numbers."""

    def __init__(self, snapshot: Snapshot) -> None:
        rows = self._rows = snapshot.rows
        self.accounts: list[AccountID] = [row.account.account_id for row in rows]
        self.identities = np.empty(len(rows), dtype=object)
        self.identities[:] = self.accounts
        self.parts = np.array([row.account.part for row in rows], dtype=np.int64)
        self.cohorts = _cohorts(rows)
        self.of_account = np.array([row.settings.position_basis.value == "account" for row in rows])
        self.without_unrealised = np.array(
            [row.settings.equity_basis.value != "with_unrealised" for row in rows]
        )
        self.states_equity = np.array([row.account.stated_equity is not None for row in rows])
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
            limits = seen[id(row.limits)] = _limits_key(row)
        account, group = row.account, row.group
        key = (
            settings, limits, account.broker, account.currency, account.state, account.archived,
            account.sealed is None, account.hedged, row.enabled,
            None if group is None else (group.state, group.archived),
        )  # fmt: skip
        result.append(codes.setdefault(key, len(codes)))
    return np.array(result, dtype=np.int64)


def _limits_key(row: Subscribed) -> Any:
    """Which limits there are, and who set each; how far they reach are numbers."""
    named = [getattr(row.limits, name) for name in LIMITS]
    sources = tuple(None if limit is None else limit.source for limit in named)
    return (sources, row.limits.price_collar_percent, row.limits.over_limit)


def _settings_key(row: Subscribed) -> bytes:
    """All settings but the numbers that have columns."""
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
