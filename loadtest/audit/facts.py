"""What the auditor compares: plain facts, as each side of the story tells them.

Quantities are exact decimals in lots (contracts); `size` and `qty` carry the side's sign. Ids are
text, as they are written in every place where they appear.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

OPEN = frozenset({"held", "waiting", "intent", "new", "partially_filled", "in_doubt"})
NEVER_THERE = frozenset({"held", "waiting", "denied", "unsent", "absent", "rejected"})
"""States that say: the exchange does not have this attempt."""
SENT_ANEW = frozenset({"absent"})
"""States after which a later attempt may follow. What stands behind a position is held again after any end."""

Kind = Literal["lost", "doubled", "unexplained"]


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong, in one line that names the ids."""

    kind: Kind
    line: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.line}"


@dataclass(frozen=True)
class Noted:
    """What the sender wrote down of one POST. `status` 0: no answer."""

    message_id: str
    body: str
    status: int
    signal_id: str | None


@dataclass(frozen=True)
class Signal:
    """One row of `signals`."""

    signal_id: str
    message_id: str
    state: str
    body: str


@dataclass(frozen=True)
class Leg:
    """One order that a plan wants."""

    signal_id: str
    account_id: str
    leg: int
    broker: str
    symbol: str
    side: str
    order_qty: Decimal
    ord_type: str
    reduce_only: bool
    protected: bool = False  # stop and target are to stand behind its fills
    asked: bool = False  # nothing may be sent before a person says yes


@dataclass(frozen=True)
class Plan:
    """One row of `plans`. `sha256`: of the plan's bytes as they lie in the row."""

    signal_id: str
    sha256: str
    legs: tuple[Leg, ...]
    rotation: int = 0  # of its strategy's plans, the how manieth


@dataclass(frozen=True)
class Order:
    """One row of `orders`: one attempt."""

    cl_ord_id: str
    order_id: str
    signal_id: str
    strategy_id: str
    account_id: str
    leg: int
    attempt: int
    broker: str
    symbol: str
    side: str
    order_qty: Decimal
    ord_type: str
    reduce_only: bool
    state: str
    cum_qty: Decimal
    text: str
    cancel_wanted: bool = False
    reported: Decimal = Decimal(0)  # the sum of last_qty over execution_reports
    role: str = "main"
    asked_type: str | None = None
    """Of one that the gateway held and let go: what was asked for."""
    sent: bool = True  # a request for it may have left

    @property
    def signed(self) -> Decimal:
        return self.cum_qty if self.side == "buy" else -self.cum_qty


@dataclass(frozen=True)
class Executed:
    """One order as the exchange has it."""

    order_id: int
    key: str
    text: str
    contract: str
    size: Decimal
    filled: Decimal
    status: str

    @property
    def cl_ord_id(self) -> str:
        return self.text.removeprefix("t-")


@dataclass(frozen=True)
class Record:
    """One audit record. `payload` is None where it cannot be read; `opens`: it fits its commitment."""

    log_id: str
    index: int
    kind: str
    oid: str | None
    payload: dict[str, Any] | None
    opens: bool = True


@dataclass(frozen=True)
class Drift:
    """One row of `drifts`: the book and the broker differed, or (`shortfall`) both lack what a signal wanted."""

    drift_id: str
    account_id: str
    kind: str
    subject: str
    cause: str
    state: str


@dataclass(frozen=True)
class Verified:
    """What the verifier said of one log's files, and how many records the rows had before and after."""

    log_id: str
    verdict: str
    size: int
    rows: int
    rows_after: int


@dataclass(frozen=True)
class Facts:
    """Everything, of a system that has settled."""

    noted: tuple[Noted, ...] = ()
    signals: tuple[Signal, ...] = ()
    plans: tuple[Plan, ...] = ()
    orders: tuple[Order, ...] = ()
    positions: dict[tuple[str, str, str], Decimal] = field(default_factory=dict)
    """(account, strategy, symbol) → signed lots."""
    executed: tuple[Executed, ...] = ()
    held: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    """(key, contract) → signed lots, at the exchange."""
    keys: dict[str, str] = field(default_factory=dict)
    """The exchange's key of each account that trades there."""
    yeses: frozenset[tuple[str, str]] = frozenset()
    """(signal, account) for which a person said yes, in time and for good."""
    drifts: tuple[Drift, ...] = ()
    working: int = 0
    """Uses of the kill switch that have not come to an end."""
    records: tuple[Record, ...] = ()
    inbox: int = 0
    logs: tuple[Verified, ...] = ()


def grouped(orders: Iterable[Order]) -> dict[str, list[Order]]:
    """The attempts of each order, in their order."""
    groups: dict[str, list[Order]] = {}
    for order in sorted(orders, key=lambda o: (o.order_id, o.attempt)):
        groups.setdefault(order.order_id, []).append(order)
    return groups
