"""Do a log's records tell one story: right log, no gap, time never backwards, each order in a chain?

Told in stretches, so that several processes can listen at once. Within a stretch everything is
checked here; what a stretch takes up from before it (the time, each order's first record in it) is
left in its `Account` and checked when the accounts are put together, in order. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from audit import record
from audit.malformed import Malformed
from audit.verdict import INCONSISTENT, Verdict


@dataclass(slots=True)
class Told:
    """One order's records within a stretch: where it begins, what it takes up, where it ends."""

    first_index: int
    first_on: int
    first_op: str | None
    last_on: int
    last_hash: bytes
    closed: bool


@dataclass
class Account:
    """What a stretch told, for those who come after it."""

    first_index: int | None = None
    first_recorded: str = ""
    last_recorded: str = ""
    orders: dict[str, Told] = field(default_factory=dict)


class Listener:
    """Hears the records of one stretch, one after the other."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self.account = Account()

    def hear(self, verdict: Verdict, entry: bytes, digest: bytes, index: int) -> None:
        try:
            leaf = record.glance(entry)
        except Malformed as error:
            verdict.find(INCONSISTENT, f"record {index}: {error}", index)
            return
        account = self.account
        if leaf.i != index:
            _wrong(verdict, index, f"says that it is number {leaf.i}")
        elif leaf.log != self._origin:
            _wrong(verdict, index, f"belongs to log {leaf.log}")
        elif leaf.recorded < account.last_recorded:
            _wrong(verdict, index, _BACKWARDS.format(leaf.recorded))
        if account.first_index is None:
            account.first_index, account.first_recorded = index, leaf.recorded
        if leaf.recorded > account.last_recorded:
            account.last_recorded = leaf.recorded
        if leaf.oid is not None and leaf.on is not None:
            self._follow(verdict, leaf, digest, index, leaf.oid, leaf.on)

    def _follow(
        self, verdict: Verdict, leaf: record.Glance, digest: bytes, index: int, oid: str, on: int
    ) -> None:
        told = self.account.orders.get(oid)
        closed = leaf.kind == _CLOSE
        if told is None:
            self.account.orders[oid] = Told(index, on, leaf.op, on, digest, closed)
            return
        if on != told.last_on + 1 or leaf.op != told.last_hash.hex():
            _wrong(verdict, index, _BROKEN.format(oid, told.last_on))
        told.last_on, told.last_hash, told.closed = on, digest, closed


class Story:
    """The whole log's story, put together from its stretches."""

    def __init__(self) -> None:
        self._recorded = ""
        self._heads: dict[str, tuple[int, bytes, bool]] = {}

    def go_on(self, verdict: Verdict, account: Account) -> None:
        """Check what this stretch took up from those before it."""
        if account.first_index is not None and account.first_recorded < self._recorded:
            _wrong(verdict, account.first_index, _BACKWARDS.format(account.first_recorded))
        self._recorded = max(self._recorded, account.last_recorded)
        for oid, told in account.orders.items():
            number, digest, _ = self._heads.get(oid, (0, None, False))
            before = None if digest is None else digest.hex()
            if told.first_on != number + 1 or told.first_op != before:
                _wrong(verdict, told.first_index, _BROKEN.format(oid, number))
            self._heads[oid] = (told.last_on, told.last_hash, told.closed)

    def orders(self) -> tuple[int, int]:
        """How many orders were told of, and how many of those without a close."""
        return len(self._heads), sum(not closed for _, _, closed in self._heads.values())


_CLOSE = record.Kind.ORDER_CLOSE.value
_BACKWARDS = "was recorded at {}, before its predecessor"
_BROKEN = "does not continue order {} after its number {}"


def _wrong(verdict: Verdict, index: int, what: str) -> None:
    verdict.find(INCONSISTENT, f"record {index}: {what}", index)
