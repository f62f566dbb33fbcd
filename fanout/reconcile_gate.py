"""Nothing opens on an account until its book agrees with its broker's: the gate in front of each lane.

Agreement is a fact of one lease: whoever takes a partition over knows nothing of what its former owner
left, and compares (fanout/reconcile.py). From then on it holds for as long as the lease's epoch does. A
look-up in memory is all that an order costs; one that finds the gate shut waits here, the account is
compared before all others, and at the order's deadline it ends as `not_reconciled`.

What only closes or reduces goes; so do the kill switch's own exits, and a cancel never comes here. A
broker whose book is our own process' memory has nothing to disagree with.

Nothing is written here; a crash leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from fanout.leases import Leases
from fanout.order import Order
from fanout.switch import Switch, opens
from tenancy.clock import Clock
from tenancy.pause import pause
from tenancy.scope import TenantScope
from tenancy.values import AccountID

CODE = "not_reconciled"
LOOK_AGAIN_S = 0.25


class ReconcileGate:
    """Which accounts agree, under which epoch of their partition's lease."""

    def __init__(
        self,
        clock: Clock,
        leases: Leases,
        switch: Switch,
        remembers: Callable[[str], bool],
        wanted: Callable[[TenantScope, Order], None],
    ) -> None:
        """`remembers`: whether a broker, by name, has a book of its own. `wanted` is told once of each
        order that waits: its account comes first."""
        self._clock = clock
        self._leases = leases
        self._switch = switch
        self._remembers = remembers
        self._wanted = wanted
        self._agreed: dict[AccountID, int] = {}
        self._why: dict[AccountID, str] = {}
        self._waiting: Counter[tuple[AccountID, str]] = Counter()
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"ReconcileGate(agreed={len(self._agreed)}, waiting={self._waiting.total()})"

    def agree(self, account: AccountID, epoch: int) -> None:
        """The account's book and its broker's are the same, or what differs is explained."""
        if self._agreed.get(account) == epoch:
            return
        self._agreed[account] = epoch
        self._why.pop(account, None)
        self._changed.set()
        self._changed = asyncio.Event()

    def agreed(self, account: AccountID, epoch: int) -> bool:
        return self._agreed.get(account) == epoch

    def disagree(self, account: AccountID, why: str) -> None:
        """It is not known to agree. What agreed under this lease before goes on: a policy decides of that."""
        self._why[account] = why

    def waiting(self, account: AccountID) -> frozenset[str]:
        """Symbols in which an order of the account waits here, and nothing after it can have been sent."""
        return frozenset(symbol for (of, symbol) in self._waiting if of == account)

    def why(self, account: AccountID) -> str:
        """What an order of the account waits for, in words."""
        return self._why.get(account, "the broker has not been asked yet")

    def is_open(self, order: Order, epoch: int) -> bool:
        """Whether the order need not wait here. Stays so for as long as the lease is ours, but for the kill
        switch's own exits."""
        return (
            not opens(order)
            or self.agreed(order.account_id, epoch)
            or not self._remembers(order.broker)
            or order.signal_id in self._switch.stops.exits
        )

    async def passes(self, scope: TenantScope, order: Order, epoch: int) -> bool:
        """Return when the order may go on, or when somebody else is to end it; False: its time is over.

        The kill switch refuses what waits here, too: it is asked next, so it is let through to it. It may have
        been released by then: whoever asked it looks whether the gate `is_open`, and comes back.
        Raises LeaseLost where the partition is not ours any more.
        """
        if self.is_open(order, epoch):
            return True
        lane = order.account_id, order.symbol
        self._waiting[lane] += 1
        self._wanted(scope, order)
        try:
            return await self._wait(order, epoch)
        finally:
            self._waiting[lane] -= 1
            if not self._waiting[lane]:
                del self._waiting[lane]

    async def _wait(self, order: Order, epoch: int) -> bool:
        while not self.is_open(order, epoch):
            self._leases.require(order.part, epoch)
            if self._switch.refused_now(order) is not None:
                return True
            left_s = (order.deadline - self._clock.now()).total_seconds()
            if left_s <= 0:
                return False
            await pause(self._changed, min(left_s, LOOK_AGAIN_S))
        return True
