"""What the SDK's callbacks tell: who waits for an order is woken, who watches an account gets a hint.

The callbacks come from the SDK's own thread, out of order and sometimes twice: one `event_id` is heard
once. Nothing in them is believed: a hint says *ask*. Deals of futures do not name the order as we do;
SinoPac's id does, by the journal.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from fanout.abilities import Hint, HintKind
from fanout.brokers.shioaji.journal import Journal
from fanout.brokers.shioaji.messages import Whose

HEARD_MOST = 10_000
log = structlog.get_logger()


class Told:
    """One event, as far as a hint needs it."""

    def __init__(self, state: Any, event: Mapping[str, Any]) -> None:
        self.kind: HintKind = (
            "fill" if str(getattr(state, "value", state)).endswith("DEAL") else "order"
        )
        deal = self.kind == "fill"
        account = event if deal else event["order"]["account"]
        self.event_id = str(event.get("event_id") or "")
        self.order_id = str(event["trade_id"] if deal else event["order"]["id"])
        self.account = f"{account['broker_id']}-{account['account_id']}"
        contract = event if deal else event["contract"]
        self.symbol = str(contract.get("full_code") or contract["code"])


class News:
    """Events in, wake-ups and hints out."""

    def __init__(self, loop: asyncio.AbstractEventLoop, journal: Journal) -> None:
        self._loop, self._journal = loop, journal
        self._heard: OrderedDict[str, None] = OrderedDict()
        self._waiting: dict[str, list[asyncio.Event]] = {}
        self._watchers: dict[int, tuple[Whose, Callable[[Hint], None]]] = {}
        self._next = 0

    def heard(self, state: Any, event: Mapping[str, Any]) -> None:
        """The order callback; in the SDK's thread."""
        try:
            told = Told(state, event)
        except Exception as error:  # an event that nobody foresaw: all that is open is asked about
            log.warning("shioaji_event_unreadable", error=repr(error))
            self.gap()
            return
        self._wake(self._pass, told)

    def gap(self) -> None:
        """Something may have been missed. From any thread."""
        self._wake(self._pass_gap)

    def _wake(self, then: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(then, *args)
        except RuntimeError:  # of a loop that ended, the SDK's thread outlives it by a moment
            if not self._loop.is_closed():
                raise

    def _pass(self, told: Told) -> None:
        if told.event_id:
            if told.event_id in self._heard:
                return
            self._heard[told.event_id] = None
            if len(self._heard) > HEARD_MOST:
                self._heard.popitem(last=False)
        for waiting in self._waiting.get(told.order_id, ()):
            waiting.set()
        name = self._journal.cl_ord_id(told.account, told.order_id)
        for whose, pass_on in list(self._watchers.values()):
            if whose.number == told.account:
                pass_on(
                    Hint(
                        kind=told.kind,
                        account_id=whose.account_id,  # type: ignore[arg-type]
                        cl_ord_id=name,
                        symbol=told.symbol,
                    )
                )

    def _pass_gap(self) -> None:
        for whose, pass_on in list(self._watchers.values()):
            pass_on(Hint(kind="gap", account_id=whose.account_id))  # type: ignore[arg-type]
        for waiting in self._waiting.values():
            for event in waiting:
                event.set()

    @contextmanager
    def of(self, order_id: str) -> Iterator[asyncio.Event]:
        """Set whenever something is told of this order."""
        event = asyncio.Event()
        self._waiting.setdefault(order_id, []).append(event)
        try:
            yield event
        finally:
            self._waiting[order_id].remove(event)
            if not self._waiting[order_id]:
                del self._waiting[order_id]

    @contextmanager
    def watching(self, whose: Whose, pass_on: Callable[[Hint], None]) -> Iterator[None]:
        """Hints of this account until the block is left; the first is a gap."""
        self._next += 1
        key = self._next
        self._watchers[key] = (whose, pass_on)
        pass_on(Hint(kind="gap", account_id=whose.account_id))  # type: ignore[arg-type]
        try:
            yield
        finally:
            del self._watchers[key]
