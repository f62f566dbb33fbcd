"""Asks brokers what became of orders that may or may not exist there: the answers, and who waits for one.

A proof of absence takes a broker's longest request twice over (about 2 s at Gate). A process that died
may leave a hundred doubts in one lane, since intents are written ahead of the orders before them; asked about
one after the other they would keep their account from trading for minutes. So those that are next in a
lane are asked about ahead of their turn (`ahead`), `AHEAD` at once. Only the asking: what was heard is learned
in the lane's order, by who holds the lease then (carry.py), and an answer is used once.

An answer does not spoil by waiting: who is absent for good stays so, and what was found is followed until
it is final. But a person's decision is weighed against an answer from after it: `find(anew=True)`.

Asking changes nothing at a broker. A crash leaves nothing behind here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from fanout.order import Order
from fanout.ports import Broker, BrokerAccount, Lookup

AHEAD = 16
"""How many doubts of one lane are asked about at once, the one at its turn among them."""


class Asking:
    """The questions that are under way."""

    def __init__(
        self, brokers: Mapping[str, Broker], current: Callable[[BrokerAccount], BrokerAccount]
    ) -> None:
        """`current`: the account as it is now, each time that its broker is spoken to."""
        self._brokers = brokers
        self._current = current
        self._doubted: dict[str, tuple[Order, BrokerAccount, asyncio.Event]] = {}
        self._ahead: dict[str, asyncio.Task[Lookup]] = {}

    def __repr__(self) -> str:
        return f"Asking(doubted={len(self._doubted)}, ahead={len(self._ahead)})"

    def ahead(self, account: BrokerAccount, order: Order, sent_by: datetime) -> None:
        """Begin to ask before its turn; `find` will give the answer. To be called with the lease held."""
        if order.cl_ord_id not in self._ahead:
            asked = self._ask(account, order, sent_by)
            self._ahead[order.cl_ord_id] = asyncio.create_task(asked)

    async def find(
        self, account: BrokerAccount, order: Order, *, sent_by: datetime, anew: bool = False
    ) -> Lookup:
        """The broker's answer, that from ahead if there is one and it is not to be asked `anew`.

        Raises what the adapter raises.
        """
        begun = self._ahead.pop(order.cl_ord_id, None)
        if begun is None:
            return await self._ask(account, order, sent_by)
        if anew:
            begun.cancel()
            return await self._ask(account, order, sent_by)
        return await begun

    def forget(self, order: Order) -> None:
        """Nobody will want the answer that was asked for ahead, nor hear of it if it failed."""
        if (begun := self._ahead.pop(order.cl_ord_id, None)) is not None:
            begun.cancel()

    def hurry(self, cl_ord_id: str) -> None:
        """Somebody has heard of that order: if it is in doubt, ask again now."""
        if (doubt := self._doubted.get(cl_ord_id)) is not None:
            doubt[2].set()

    def in_doubt(self) -> list[tuple[Order, BrokerAccount]]:
        """The orders whose turn it is to be asked about."""
        return [(order, account) for order, account, _ in self._doubted.values()]

    @contextlib.contextmanager
    def doubted(self, order: Order, account: BrokerAccount) -> Iterator[asyncio.Event]:
        """While an order is in doubt; the event is set when it is worth asking again (`hurry`)."""
        hurried = asyncio.Event()
        self._doubted[order.cl_ord_id] = order, account, hurried
        try:
            yield hurried
        finally:
            del self._doubted[order.cl_ord_id]

    async def _ask(self, account: BrokerAccount, order: Order, sent_by: datetime) -> Lookup:
        broker = self._brokers[order.broker]
        return await broker.find(self._current(account), order, sent_by=sent_by)
