"""What execution needs from the world: a broker, stated by the side that needs it.

The one question of every answer is *may the order exist?* `submit` never raises for what a
broker or a network does: it returns an Outcome that answers the question, and what it cannot
classify is InDoubt. An adapter never retries by itself. What only some brokers can do is in
fanout/abilities.py; `Caps` says who can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

import msgspec

from fanout.order import Order, OrdState, TimeInForce
from fanout.proof import Proof
from tenancy.values import AccountID, TenantID


class BrokerAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account as an adapter needs it. `credential` is opaque here: the signer's business."""

    account_id: AccountID
    tenant_id: TenantID
    currency: str
    stated_equity: Decimal | None
    leverage: Decimal
    settings: dict[str, Any]
    api_key: str | None = None
    credential: bytes | None = None  # sealed; useless outside the HSM


InstrumentKind = Literal["spot", "stock", "perpetual", "future", "option"]


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """What one lot is. `multiplier`: units of the underlying in one lot (spec sizing.md, `m`)."""

    symbol: str
    multiplier: Decimal
    lot_step: Decimal
    min_qty: Decimal
    max_qty: Decimal
    tick: Decimal
    currency: str
    last_price: Decimal | None
    mark_price: Decimal | None
    as_of: datetime
    bid: Decimal | None = None
    ask: Decimal | None = None
    tick_table: tuple[tuple[Decimal, Decimal], ...] = ()
    """(from which price on, tick), ascending; empty: `tick` at every price."""
    min_notional: Decimal = Decimal(0)
    """The least that an order must be worth, in `currency`."""
    limit_up: Decimal | None = None
    limit_down: Decimal | None = None
    """No order above or below them is taken today; None: the broker states none."""
    kind: InstrumentKind = "perpetual"
    underlying: str | None = None
    """Of an option or a future, as a sender names it."""
    option_type: Literal["call", "put"] | None = None
    strike: Decimal | None = None
    expires_on: date | None = None
    stands_for: str | None = None
    """Of a continuous future: the symbol of the contract that is really traded."""

    @property
    def reference(self) -> Decimal | None:
        """The broker's mark, else its last price; None where it has neither."""
        for price in (self.mark_price, self.last_price):
            if price is not None and price > 0:
                return price
        return None

    def tick_at(self, price: Decimal) -> Decimal:
        """The step that prices have at `price`: the last row of the table at or below it, else `tick`."""
        step = self.tick
        for least, its_step in self.tick_table:
            if price < least:
                break
            step = its_step
        return step


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker says of one order now (FIX ExecutionReport). Cumulative, never a difference."""

    cl_ord_id: str
    broker_order_id: str
    ord_status: OrdState  # NEW, PARTIALLY_FILLED, FILLED, CANCELED, EXPIRED or REJECTED
    cum_qty: Decimal  # lots, ≥ 0
    avg_px: Decimal | None
    text: str
    transact_time: datetime
    raw: bytes  # the broker's bytes, for the audit log; never holds a secret


# ------------------------------------------------------------------ may the order exist?


class Acked(msgspec.Struct, frozen=True, tag=True):
    """Yes: the broker has it."""

    report: Report


RejectKind = Literal[
    "funds", "risk", "price", "size", "instrument", "session_closed", "duplicate_id",
    "post_only", "permission", "other",
]  # fmt: skip


class Rejected(msgspec.Struct, frozen=True, tag=True):
    """No, final, on the broker's word."""

    code: str  # the broker's label
    kind: RejectKind
    text: str  # the broker's own words
    left: bool = True
    """False: the adapter said no by the broker's rules, and nothing was sent."""


class Unsent(msgspec.Struct, frozen=True, tag=True):
    """No: the request provably never left. May be sent again before its deadline."""

    cause: str


class RateLimited(msgspec.Struct, frozen=True, tag=True):
    """No: 429 on submit. Wait, send again if the deadline allows."""

    retry_after_s: float


class AuthFailed(msgspec.Struct, frozen=True, tag=True):
    """No: the account is stopped until a person or the clock is put right."""

    kind: Literal["key", "sign", "ip", "clock", "locked", "token"]
    text: str
    left: bool = True
    """False: there was nothing to sign with, and nothing was sent."""


class Maintenance(msgspec.Struct, frozen=True, tag=True):
    """No: the venue says that it is closed for maintenance."""

    until: datetime | None
    text: str


class InDoubt(msgspec.Struct, frozen=True, tag=True):
    """Perhaps. After `not_after` the broker will not take the request any more (server deadline)."""

    cause: str
    not_after: datetime | None
    raw: bytes = b""


Outcome = Acked | Rejected | Unsent | RateLimited | AuthFailed | Maintenance | InDoubt


# ------------------------------------------------------------------ look-ups


class Found(msgspec.Struct, frozen=True, tag=True):
    report: Report


class AbsentProven(msgspec.Struct, frozen=True, tag=True):
    """The order does not exist and cannot come to exist any more."""

    evidence: str


class AbsentUnproven(msgspec.Struct, frozen=True, tag=True):
    """The broker does not know it, or did not answer, which proves nothing: ask later."""

    why: str


Lookup = Found | AbsentProven | AbsentUnproven


class CancelDone(msgspec.Struct, frozen=True, tag=True):
    report: Report


class CancelTooLate(msgspec.Struct, frozen=True, tag=True):
    """Already final, or not there."""

    text: str


class CancelUnknown(msgspec.Struct, frozen=True, tag=True):
    """No clear answer: ask with find()."""

    cause: str


CancelOutcome = CancelDone | CancelTooLate | CancelUnknown


PositionSide = Literal["net", "long", "short"]


class BrokerPosition(msgspec.Struct, frozen=True, kw_only=True):
    symbol: str
    qty: Decimal  # signed lots: a short is negative, in hedge mode, too
    avg_px: Decimal | None
    unrealised_pnl: Decimal | None
    side: PositionSide = "net"
    """`long` and `short` in hedge mode, where one symbol may have both."""
    margin_mode: Literal["cross", "isolated"] | None = None
    leverage: Decimal | None = None
    """None where the broker does not say, or where it is cross and has none of its own."""
    version: int | None = None
    """Where the broker numbers a position's states: a lower number is older."""


class Equity(msgspec.Struct, frozen=True, kw_only=True):
    """In `currency`. `equity` includes `unrealised` profit."""

    equity: Decimal
    available: Decimal
    currency: str
    as_of: datetime
    unrealised: Decimal = Decimal(0)


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """What a broker can do, for plans and for docs/brokers.md."""

    ord_types: frozenset[str]
    times_in_force: Mapping[str, Mapping[str, TimeInForce]]
    """By order type: what is sent for which time in force that is asked. fanout/time_in_force.py."""
    extended_hours: bool = False
    """Whether stocks trade before and after the regular session here."""
    reduce_only: bool
    server_deadline: bool
    unique_client_ids: bool
    equity: bool
    credential: bool = True  # an account trades with an enrolled key only
    secret_stays_inside: bool = True
    """The HSM signs with the API secret. False: the broker's own SDK has to see it (fanout/brokers/sealing.py)."""
    orders_per_s: float  # per account; the adapter's lane budget
    statement: bool = False
    """It keeps a record of an account's fills that can be asked for by time (fanout/abilities.py `Statement`)."""
    balances: bool = False
    """What is held is assets, not positions (spot): `HasBalances`."""
    amend: bool = False
    """It can change quantity or price of what rests: `Amends`."""
    batch_max: int = 1
    """So many orders fit into one request (`Batches`); 1: it has no such thing."""
    cancel_all: bool = False
    """It can cancel all that is open of an account, in an instrument or in all: `CancelsAll`."""
    protects: bool = False
    """It holds stops and targets of its own behind a position: `Protects`."""
    dead_man: bool = False
    """It cancels an account's orders when we have been silent for a set time: `DeadMan`."""
    tells: bool = False
    """It tells by itself what happens to orders, fills and positions: `Tells`."""
    one_in_flight: bool = False
    """At most one order of an account and contract may be under way at a time."""
    remembers: bool = True
    """False: its book lives in our process, so what was done and not recorded never happened."""

    def lacks_key(self, account: BrokerAccount) -> bool:
        """Whether it says nothing of the account: none of its keys is live."""
        return self.credential and account.credential is None


class Broker(Protocol):
    """What an adapter owes us. Every adapter passes the cases of tests/acceptance/."""

    name: str
    caps: Caps
    request_timeout_s: float
    """No request of submit() is under way longer than this; leases outlive it."""

    async def open(self) -> None:
        """Connect what is kept connected. Raises Unavailable."""
        ...

    async def close(self) -> None: ...

    async def instruments(self) -> Mapping[str, Instrument]:
        """All tradable instruments by symbol, with reference prices. Raises Unavailable."""
        ...

    async def turn(self, account: BrokerAccount, *, closes: bool = False) -> None:
        """Return when this account may place one more order within the broker's rate limits.

        `closes`: the order only reduces, and goes before those that open.
        """
        ...

    async def submit(self, account: BrokerAccount, order: Order, *, not_after: datetime) -> Outcome:
        """Send the order once. Never raises for what broker or network do.

        `not_after`: when our lease ends. Where the broker knows a server deadline the request
        carries the earlier of it and its own, so that a process that was stopped between the
        look at the lease and the send cannot place an order that somebody else places again.
        """
        ...

    async def cancel(self, account: BrokerAccount, order: Order) -> CancelOutcome: ...

    async def find(self, account: BrokerAccount, order: Order, *, sent_by: datetime) -> Lookup:
        """Is it there? `sent_by`: the latest moment at which a request may have left.

        AbsentProven only when the broker's rules make it a proof: waits out a server
        deadline and asks twice itself where that is needed.
        """
        ...

    async def open_orders(self, account: BrokerAccount) -> Sequence[Report]:
        """Raises Unavailable."""
        ...

    async def positions(self, account: BrokerAccount) -> Sequence[BrokerPosition]:
        """Raises Unavailable."""
        ...

    async def equity(self, account: BrokerAccount) -> Equity | None:
        """None where the broker has no such thing. Raises Unavailable."""
        ...

    async def prove(
        self, account: BrokerAccount, *, test_order: str | None, not_after: datetime
    ) -> Proof:
        """May the key that `account` carries be used? It need not be the account's live one.

        Scopes first: one that can withdraw or transfer, or whose scopes are not all known, is
        NotProven. Then a signed read of the account that it trades for. `test_order`: the name,
        ≤ 26 of [0-9a-z], of an order of the smallest size to place far from the market, post-only,
        before `not_after`, and to cancel; one of that name left by a crash is cancelled first.
        Raises Unavailable where there was no clear answer: nothing is known, ask again.
        """
        ...


class RequestSigner(Protocol):
    """What an adapter needs of the HSM: a signature over a request it describes, never a secret."""

    async def sign_request(
        self,
        account: BrokerAccount,
        *,
        scheme: str,
        method: str,
        path: str,
        query: str,
        body: bytes,
        timestamp: int,
    ) -> str:
        """The signature in the scheme's own text form. Raises Unavailable, or SigningRefused by policy."""
        ...
