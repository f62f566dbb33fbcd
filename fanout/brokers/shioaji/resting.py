"""Changes what rests at SinoPac: cancels it, or gives it another limit. Only its own status is believed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import structlog

from fanout.abilities import Amended, AmendOutcome, AmendRefused, AmendUnknown
from fanout.brokers.shioaji import errors, reading, rules
from fanout.brokers.shioaji.calls import ALL, Slow
from fanout.brokers.shioaji.desk import Desk, ms
from fanout.brokers.shioaji.messages import Whose
from fanout.brokers.shioaji.placing import LOOK_AGAIN_S
from fanout.brokers.shioaji.port import SdkTrade
from fanout.brokers.shioaji.reading import Seen, Several, Unreadable
from fanout.order import Order
from fanout.ports import CancelDone, CancelOutcome, CancelTooLate, CancelUnknown, Report
from tenancy.errors import Unavailable
from tenancy.pause import pause

log = structlog.get_logger()


class Resting:
    """What rests."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def cancel(self, whose: Whose, order: Order) -> CancelOutcome:
        """CancelDone only when SinoPac's status says so; PendingSubmit after it is no answer."""
        contract = self._desk.table.get(order.symbol)
        try:
            async with self._desk.alone(
                whose.number, order.symbol if contract is None else contract.code
            ):
                return await self._cancel(whose, order)
        except (TimeoutError, Slow, Unreadable, Unavailable) as why:
            return CancelUnknown(cause=str(why) or "another order is still under way")

    async def _cancel(self, whose: Whose, order: Order) -> CancelOutcome:
        trade = await self._desk.theirs(whose, order)
        if isinstance(trade, Several):
            return CancelUnknown(cause=trade.why)
        if trade is None:
            if self._desk.never_left(whose, order):
                return CancelTooLate(text="it was never sent")
            return CancelUnknown(cause="SinoPac does not list it")
        before = self._desk.report(reading.seen(trade), order)
        if reading.is_done(before):
            return CancelTooLate(text=f"it is {before.ord_status if before else ''}")
        try:
            await self._change(lambda limit: self._desk.sdk.cancel_order(trade, timeout=limit))
        except (Slow, Unavailable):
            raise
        except Exception as error:
            log.info("shioaji_cancel", cl_ord_id=order.cl_ord_id, error=errors.words(error))
        after = self._desk.report(
            await self._changed(trade, reading.seen(trade), reading.is_done), order
        )
        if after is None or not reading.is_done(after):
            return CancelUnknown(cause="SinoPac has not said that it is cancelled")
        if after.ord_status == "filled":
            return CancelTooLate(text="it was filled")
        return CancelDone(report=after)

    async def reprice(
        self, whose: Whose, order: Order, price: Decimal, not_after: datetime
    ) -> AmendOutcome:
        """A new limit for what rests. Amended only when SinoPac's copy has it."""
        contract = self._desk.table.get(order.symbol)
        refusal = rules.refusal(msgspec.structs.replace(order, price=price), contract)
        if refusal is not None or contract is None:
            assert refusal is not None
            return AmendRefused(code=refusal.code, text=refusal.text)
        try:
            async with self._desk.alone(whose.number, contract.code):
                return await self._reprice(whose, order, price, not_after)
        except Slow as why:
            return AmendRefused(code="rate_limited", text=str(why))
        except (TimeoutError, Unreadable, Unavailable) as why:
            return AmendUnknown(cause=str(why) or "another order is still under way")

    async def _reprice(
        self, whose: Whose, order: Order, price: Decimal, not_after: datetime
    ) -> AmendOutcome:
        trade = await self._desk.theirs(whose, order)
        if trade is None or isinstance(trade, Several):
            return AmendUnknown(cause="SinoPac does not list it")
        if reading.is_done(self._desk.report(reading.seen(trade), order)):
            return AmendRefused(code="final", text="it is final", too_late=True)
        if self._desk.clock.now() >= not_after:
            return AmendRefused(code="lease", text="its lease ended before it could be sent")
        try:
            await self._change(
                lambda limit: self._desk.sdk.update_order(trade, price=float(price), timeout=limit)
            )
        except (Slow, Unavailable):
            raise
        except Exception as error:
            return AmendUnknown(cause=errors.words(error))
        seen = await self._changed(trade, reading.seen(trade), lambda _: False, price)
        report = self._desk.report(seen, order)
        if report is not None and seen.price == price and not reading.is_done(report):
            return Amended(report=report)
        return AmendUnknown(cause=f"SinoPac has it at {seen.price}, {seen.status}")

    async def _change(self, call: Callable[[int], Any]) -> None:
        limit = ms(self._desk.settings.order_timeout_s)
        await self._desk.calls.order(
            lambda: call(limit), patience_s=self._desk.settings.queue_wait_s, share=ALL
        )

    async def _changed(
        self,
        trade: SdkTrade,
        seen: Seen,
        enough: Callable[[Report | None], bool],
        price: Decimal | None = None,
    ) -> Seen:
        """As SinoPac's own status has it, asked until it is enough or `ack_wait_s` is over."""
        ends = asyncio.get_running_loop().time() + self._desk.settings.ack_wait_s
        with self._desk.news.of(seen.id) as heard:
            while True:
                heard.clear()
                await self._desk.update(trade=trade)
                seen = reading.seen(self._desk.fresh(trade, seen.id))
                report = reading.report(seen, "", seen.qty, self._desk.clock.now())
                left = ends - asyncio.get_running_loop().time()
                if enough(report) or (price is not None and seen.price == price) or left <= 0:
                    return seen
                await pause(heard, min(left, LOOK_AGAIN_S))
