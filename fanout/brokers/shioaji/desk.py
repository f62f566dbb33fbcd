"""What a session's requests stand on: the SDK, the limits, the record; and how an order is looked up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import structlog

from fanout.brokers.shioaji import accounting, reading
from fanout.brokers.shioaji.calls import LOOKS_SHARE, Calls
from fanout.brokers.shioaji.journal import Journal
from fanout.brokers.shioaji.messages import Whose
from fanout.brokers.shioaji.names import broker_name, custom_field
from fanout.brokers.shioaji.news import News
from fanout.brokers.shioaji.port import Sdk, SdkAccount, SdkModule, SdkTrade
from fanout.brokers.shioaji.reading import Seen, Several, Wanted
from fanout.brokers.shioaji.settings import ShioajiSettings
from fanout.brokers.shioaji.table import Table
from fanout.order import Order
from fanout.ports import Report
from tenancy.clock import Clock
from tenancy.errors import Unavailable

log = structlog.get_logger()


def ms(seconds: float) -> int:
    """As the SDK counts its time-outs."""
    return int(seconds * 1000)


class Desk:
    """A logged-in SDK, spoken to by one loop."""

    def __init__(
        self,
        sdk: Sdk,
        module: SdkModule,
        accounts: Sequence[SdkAccount],
        settings: ShioajiSettings,
        journal: Journal,
        clock: Clock,
        calls: Calls,
    ) -> None:
        self.sdk, self.module, self.settings = sdk, module, settings
        self.journal, self.clock, self.calls = journal, clock, calls
        self.accounts: Mapping[str, SdkAccount] = {
            reading.account_name(account): account for account in accounts
        }
        self.table = Table(sdk, settings, calls, clock)
        self.news = News(asyncio.get_running_loop(), journal)
        self._taken: dict[tuple[str, str], asyncio.Lock] = {}
        sdk.set_order_callback(self.news.heard)
        sdk.set_session_down_callback(self._down)

    def _down(self) -> None:
        """The SDK's connection is gone. By its thread."""
        log.error("shioaji_session_down")
        self.news.gap()

    @asynccontextmanager
    async def alone(self, number: str, code: str) -> AsyncIterator[None]:
        """One order of an account and contract at a time. Raises TimeoutError after `queue_wait_s`."""
        lock = self._taken.setdefault((number, code), asyncio.Lock())
        async with asyncio.timeout(self.settings.queue_wait_s):
            await lock.acquire()
        try:
            yield
        finally:
            lock.release()

    async def update(self, *, account: Any = None, trade: Any = None) -> None:
        patience = self.settings.query_timeout_s
        kwargs = {"account": account} if trade is None else {"trade": trade}
        with accounting.answered():
            await self.calls.order(
                lambda: self.sdk.update_status(**kwargs, timeout=ms(patience)),
                patience_s=patience,
                share=LOOKS_SHARE,
            )

    async def refresh(self, whose: Whose) -> None:
        """SinoPac's own list into the SDK's copy, and the copy is whole. Raises Unavailable."""
        account = self.account(whose)
        await self.update(account=account)
        health = self.sdk.trade_cache_health(account)
        if reading.word(health.state) == "Degraded":
            raise Unavailable("the SDK says of its own list of orders that it is not whole")

    async def theirs(self, whose: Whose, order: Order) -> SdkTrade | Several | None:
        """The SDK's trade of this order, after a fresh look. Raises Unavailable, Slow, Unreadable."""
        if self.journal.never_left(whose.number, order.cl_ord_id, self._intent(order)):
            return None
        await self.refresh(whose)
        trades = [(trade, reading.seen(trade)) for trade in self.sdk.list_trades()]
        found = reading.match(
            self.wanted(whose, order),
            [seen for _, seen in trades],
            self.journal.others(whose.number, order.cl_ord_id),
        )
        if found is None or isinstance(found, Several):
            return found
        return next(trade for trade, seen in trades if seen is found)

    def wanted(self, whose: Whose, order: Order) -> Wanted:
        contract = self.table.get(order.symbol)
        name = broker_name(order.broker_order_id or "")
        return Wanted(
            order=order,
            account=whose.number,
            code=order.symbol if contract is None else contract.code,
            custom_field=custom_field(order.cl_ord_id),
            since=self._intent(order) - timedelta(seconds=1),  # SinoPac's times are whole seconds
            id=self.journal.broker_id(whose.number, order.cl_ord_id) if name is None else name.id,
            day="" if name is None else f"{name.day:%Y%m%d}",
        )

    def _intent(self, order: Order) -> datetime:
        return order.intent_at - timedelta(milliseconds=self.settings.clock_error_ms)

    def never_left(self, whose: Whose, order: Order) -> bool:
        if order.broker_order_id is not None:
            return False
        return self.journal.never_left(whose.number, order.cl_ord_id, self._intent(order))

    def fresh(self, trade: SdkTrade, broker_id: str) -> SdkTrade:
        """The SDK's own copy as it is now; the one that we have where it lists it no more."""
        for each in self.sdk.list_trades():
            if (each.order.id or each.status.id) == broker_id:
                return each
        return trade

    def report(self, seen: Seen, order: Order) -> Report | None:
        return reading.report(seen, order.cl_ord_id, order.order_qty, self.clock.now())

    def account(self, whose: Whose) -> SdkAccount:
        account = self.accounts.get(whose.number)
        if account is None:
            raise Unavailable(f"{whose.number} is no account of this person at SinoPac")
        return account

    async def rows(self, account: SdkAccount) -> list[Any]:
        unit = "Share" if reading.word(account.account_type) == "S" else "Common"
        patience = self.settings.query_timeout_s
        with accounting.answered():
            return await self.calls.accounting(
                lambda: self.sdk.list_positions(account, unit=unit, timeout=ms(patience)),
                patience_s=patience,
            )
