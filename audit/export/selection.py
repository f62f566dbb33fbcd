"""Which records an export is about: what was asked for, and whether a record belongs to it. Pure.

Within one member any of its values is enough, and all members that are given must agree: account A
or B, and since Monday. Nothing given is the whole log.

- `orders`: the record tells that order's story.
- `accounts`, `people`, `strategies`: the leaf names the id (whose account, who acted), or the payload
  does, wherever in it; for a strategy also every record of its orders. What was erased is found by
  its leaf alone.
- `since`, `until`: the *recording* time, from `since` on and before `until`. Recording time never
  runs backwards within a log, so such a choice is a range of indices without a gap, and that nothing
  is left out of it can be proven. When it happened stands in each record beside it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr

from audit.record import Kind, time_text
from tenancy.values import utc

MOST_VALUES = 1000
Time = Annotated[datetime, Meta(tz=True)]
OrderIDs = Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=MOST_VALUES)]
IDs = Annotated[tuple[UUID, ...], Meta(max_length=MOST_VALUES)]


class Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was asked for. All of it is optional; see the module."""

    orders: OrderIDs = ()
    accounts: IDs = ()
    strategies: IDs = ()
    people: IDs = ()
    kinds: Annotated[tuple[Kind, ...], Meta(max_length=len(Kind))] = ()
    since: Time | None = None
    until: Time | None = None

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            if (at := getattr(self, name)) is not None:
                force_setattr(self, name, utc(at, name))
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise ValueError("until: it is not after since")

    @property
    def is_range(self) -> bool:
        """Whether time alone decides, so that completeness can be proven."""
        return not (self.orders or self.accounts or self.strategies or self.people or self.kinds)

    @property
    def reads_payloads(self) -> bool:
        """Whether a record's payload may decide that it belongs."""
        return bool(self.accounts or self.strategies or self.people)

    def words(self) -> str:
        """What was asked for, as a sentence's end."""
        said = []
        for name in ("orders", "accounts", "strategies", "people", "kinds"):
            values = getattr(self, name)
            if values:
                said.append(f"{name} {', '.join(map(str, values))}")
        if self.since is not None:
            said.append(f"recorded since {self.since.isoformat()}")
        if self.until is not None:
            said.append(f"recorded before {self.until.isoformat()}")
        return "; ".join(said) or "the whole log"


def recorded(moment: datetime) -> str:
    """That moment as leaves spell it: text order is time order."""
    seconds = int(moment.timestamp())
    return time_text(seconds * 1_000_000_000 + moment.microsecond * 1000)


class Chooser:
    """Says of each record whether it belongs. `Selection`'s orders and times are the reader's to apply."""

    def __init__(self, selection: Selection) -> None:
        self._kinds = frozenset(kind.value for kind in selection.kinds)
        self._orders = frozenset(selection.orders)
        self._strategies = bool(selection.strategies)
        self._needles = [
            [str(value).encode() for value in values]
            for values in (selection.accounts, selection.people, selection.strategies)
            if values
        ]

    def takes(
        self, members: dict[str, Any], leaf: bytes, payload: bytes | None, owned: Collection[str]
    ) -> bool:
        """`owned`: those orders, among the records at hand, that are of the strategies asked for."""
        if self._kinds and members["k"] not in self._kinds:
            return False
        if self._orders and members.get("oid") not in self._orders:
            return False
        last = len(self._needles) - 1
        for at, needles in enumerate(self._needles):
            named = any(one in leaf or (payload is not None and one in payload) for one in needles)
            if not named and not (self._strategies and at == last and members.get("oid") in owned):
                return False
        return True
