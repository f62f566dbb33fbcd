"""What some brokers can do beside the rest: one protocol per ability, `Caps` says who has it.

A caller looks at `Caps` and then uses the broker as that protocol (`tests/unit/fanout/test_abilities.py`
holds every adapter to what its Caps claim). The rules of fanout/ports.py hold here, too: nothing is sent
twice, nothing raises for what broker or network do unless it says so, and what is unclear is not a yes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol

import msgspec

from fanout.order import Order, Side
from fanout.ports import BrokerAccount, CancelOutcome, Outcome, Report
from tenancy.values import AccountID

# ------------------------------------------------------------------ what they answer


class BrokerFill(msgspec.Struct, frozen=True, kw_only=True):
    """One trade of an account, as its broker's own record has it. `qty` in lots, > 0."""

    trade_id: str
    broker_order_id: str
    cl_ord_id: str | None
    """None: the order was not ours."""
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    at: datetime
    liquidation: bool = False
    """The broker says that it closed the position itself (liquidation, auto-deleveraging)."""


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one asset an account has. `total` = `available` + what its open orders hold."""

    asset: str
    total: Decimal
    available: Decimal


class Amended(msgspec.Struct, frozen=True, tag=True):
    """The order stands as it was asked for."""

    report: Report


class AmendRefused(msgspec.Struct, frozen=True, tag=True):
    """It stands as it stood, on the broker's word; `too_late`: it is final, or not there."""

    code: str
    text: str
    too_late: bool = False


class AmendUnknown(msgspec.Struct, frozen=True, tag=True):
    """No clear answer: ask with find() before anything else is done to the order."""

    cause: str


AmendOutcome = Amended | AmendRefused | AmendUnknown


# ------------------------------------------------------------------ abilities


class Statement(Protocol):
    """What a broker with `Caps.statement` owes beside the rest."""

    async def fills(
        self, account: BrokerAccount, *, since: datetime, until: datetime
    ) -> Sequence[BrokerFill]:
        """Every trade of the account in [since, until), whoever ordered it. Raises Unavailable."""
        ...


class Amends(Protocol):
    """What a broker with `Caps.amend` owes beside the rest."""

    async def amend(
        self,
        account: BrokerAccount,
        order: Order,
        *,
        order_qty: Decimal | None,
        price: Decimal | None,
        not_after: datetime,
    ) -> AmendOutcome:
        """Change what rests; None leaves it as it is. `order_qty`: total lots, filled ones included.

        Never raises for what broker or network do, and never sends twice.
        """
        ...


class Batches(Protocol):
    """What a broker with `Caps.batch_max` > 1 owes beside the rest."""

    async def submit_batch(
        self, account: BrokerAccount, orders: Sequence[Order], *, not_after: datetime
    ) -> Sequence[Outcome]:
        """Send up to `batch_max` orders of one account once; their outcomes, in that order.

        One outcome each: where the answer as a whole is unclear, all of them are InDoubt.
        """
        ...


class CancelsAll(Protocol):
    """What a broker with `Caps.cancel_all` owes beside the rest."""

    async def cancel_all(self, account: BrokerAccount, symbol: str | None) -> bool:
        """Cancel all that is open, in one instrument or in all; True on the broker's word that it did.

        False says nothing: each order is asked for with find(), as after any cancel.
        """
        ...


class Protection(msgspec.Struct, frozen=True, kw_only=True):
    """A stop and a target that are to stand behind a position at its broker. Prices on the tick."""

    cl_ord_id: str
    """Names them at the broker as far as it lets us."""
    symbol: str
    side: Side
    """Of the orders that close: `sell` behind a long position."""
    qty: Decimal
    stop_px: Decimal | None
    target_px: Decimal | None
    trail_amount: Decimal | None = None
    """In place of `stop_px`: a stop that follows the market so far behind."""
    trail_percent: Decimal | None = None
    """As `trail_amount`, in percent of the market."""


class Protects(Protocol):
    """What a broker with `Caps.protects` owes beside the rest."""

    async def protect(
        self, account: BrokerAccount, wanted: Protection, *, not_after: datetime
    ) -> Outcome:
        """Put them there. InDoubt, or one of two placed: ask with `protections` and take back."""
        ...

    async def protections(self, account: BrokerAccount, symbol: str) -> Sequence[Report]:
        """What stands there now. Raises Unavailable."""
        ...

    async def unprotect(self, account: BrokerAccount, broker_order_id: str) -> CancelOutcome: ...


class DeadMan(Protocol):
    """What a broker with `Caps.dead_man` owes beside the rest."""

    async def dead_man(self, account: BrokerAccount, seconds: float) -> bool:
        """Have all open orders cancelled unless this is said again within `seconds`; 0 calls it off.

        Orders, not positions. False: not confirmed, so nothing may rely on it.
        """
        ...


class HasBalances(Protocol):
    """What a broker with `Caps.balances` owes beside the rest."""

    async def balances(self, account: BrokerAccount) -> Sequence[Balance]:
        """Every asset that the account has any of. Raises Unavailable."""
        ...


HintKind = Literal["order", "fill", "position", "balance", "gap"]


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """Something may have happened: ask. Never the truth, so it holds nothing to believe."""

    kind: HintKind
    account_id: AccountID
    cl_ord_id: str | None = None
    """Of order and fill, where the broker names it."""
    symbol: str | None = None
    """`gap`: the stream was cut or lost something; all that is open must be asked about."""


class Tells(Protocol):
    """What a broker with `Caps.tells` owes beside the rest."""

    def hints(self, account: BrokerAccount) -> AsyncIterator[Hint]:
        """Until the iterator is closed; begins with a `gap`, and says `gap` after each reconnection.

        Reconnects by itself with growing pauses; never raises for what broker or network do.
        """
        ...
