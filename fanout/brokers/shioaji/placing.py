"""Places one order through the SDK, once.

An order (`submit`), step by step; what a crash after each leaves behind:

1. Checked by our rules (rules.py). Nothing left.
2. It has account and contract to itself: one order in flight on each, from here to step 6.
3. The broker's limits have room (calls.py).
4. One last look: its lease holds, it was not handed over before, nobody was told that it is absent.
5. The journal says that it is handed over (journal.py), and place_order is called. *Crash: doubt.*
6. Not PendingSubmit any more, by an event or by update_status, or `ack_wait_s` is over: doubt.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime
from decimal import Decimal
from typing import Any

from fanout.brokers.shioaji import accounting, errors, reading, rules
from fanout.brokers.shioaji.calls import ALL, OPENS_SHARE, Slow
from fanout.brokers.shioaji.contracts import Contract
from fanout.brokers.shioaji.desk import Desk, ms
from fanout.brokers.shioaji.messages import Whose
from fanout.brokers.shioaji.names import custom_field
from fanout.brokers.shioaji.port import SdkAccount, SdkTrade
from fanout.brokers.shioaji.reading import Seen, Unreadable
from fanout.order import Order
from fanout.ports import Acked, InDoubt, Outcome, RateLimited, Rejected, Unsent
from tenancy.errors import Unavailable
from tenancy.pause import pause

LOOK_AGAIN_S = 0.5
"""Without an event the order's own status is asked for so often while it is PendingSubmit."""


class _Stopped(Exception):
    """The last look said no: what is answered instead."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


class Placing:
    """The steps above."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def submit(self, whose: Whose, order: Order, not_after: datetime) -> Outcome:
        """The steps above."""
        account = self._desk.accounts.get(whose.number)
        if account is None:
            words = f"not sent: {whose.number} is no account of this person"
            return Rejected(code="account", kind="permission", text=words, left=False)
        contract = self._desk.table.get(order.symbol)
        refusal = rules.refusal(order, contract)  # 1.
        if refusal is not None or contract is None:
            assert refusal is not None
            return refusal
        try:
            async with self._desk.alone(whose.number, contract.code):  # 2.
                return await self._place(whose, account, order, contract, not_after)
        except TimeoutError:
            return Unsent(cause=f"another order of {order.symbol} is still under way")
        except Unavailable as why:  # before it was handed over: afterwards nothing raises
            return Unsent(cause=str(why))

    async def _place(
        self,
        whose: Whose,
        account: SdkAccount,
        order: Order,
        contract: Contract,
        not_after: datetime,
    ) -> Outcome:
        qty = order.order_qty
        if order.reduce_only:
            reducible = rules.reducible(order, await self._held(account, contract))
            if isinstance(reducible, Rejected):
                return reducible
            qty = reducible
        try:
            theirs = self._order(order, qty, contract, account)
        except Exception as error:
            text = f"not sent: {errors.words(error)}"
            return Rejected(code="sdk", kind="other", text=text, left=False)

        def last_look() -> None:  # 4., 5.
            self._may_go(whose, order, not_after)
            self._desk.journal.handed(whose.number, order.cl_ord_id)

        def place() -> SdkTrade:
            return self._desk.sdk.place_order(
                self._desk.table.raw(contract),
                theirs,
                timeout=ms(self._desk.settings.order_timeout_s),
            )

        try:
            trade = await self._desk.calls.order(
                place,
                patience_s=self._desk.settings.queue_wait_s,
                share=ALL if order.reduce_only else OPENS_SHARE,
                last_look=last_look,
            )
        except Slow as why:
            return RateLimited(retry_after_s=why.wait_s)
        except _Stopped as why:
            return why.outcome
        except Exception as error:
            return errors.after_place(error)
        return await self._acknowledged(whose, order, trade)

    def _may_go(self, whose: Whose, order: Order, not_after: datetime) -> None:
        """Raises _Stopped."""
        if self._desk.clock.now() >= not_after:
            raise _Stopped(Unsent(cause="its lease ended before it could be sent"))
        if self._desk.journal.was_handed(whose.number, order.cl_ord_id):
            words = "not sent again: this session has handed it to SinoPac before"
            raise _Stopped(
                Rejected(code="sent_before", kind="duplicate_id", text=words, left=False)
            )
        if self._desk.journal.is_gone(whose.number, order.cl_ord_id):
            raise _Stopped(Unsent(cause="it was said to be absent, so it is not sent any more"))

    async def _acknowledged(self, whose: Whose, order: Order, trade: SdkTrade) -> Outcome:
        """6."""
        try:
            at_once = reading.seen(trade)
            self._desk.journal.known(whose.number, order.cl_ord_id, at_once.id)
            seen = await self._settled(trade, at_once, order)
        except Unreadable as why:
            return InDoubt(cause=str(why), not_after=None)
        if seen.status == "Failed" and not reading.filled(seen)[0]:
            text = seen.text or "SinoPac gives no reason"
            return Rejected(code=seen.status_code or "Failed", kind=errors.kind_of(text), text=text)
        report = self._desk.report(seen, order)
        if report is None:
            cause = f"SinoPac has it as {seen.status} and has not acknowledged it"
            return InDoubt(cause=cause, not_after=None)
        return Acked(report=report)

    async def _settled(self, trade: SdkTrade, seen: Seen, order: Order) -> Seen:
        """As it is once it is acknowledged, or final where it must be at once; or as it is by then."""
        at_once = order.ord_type == "market" or order.time_in_force in ("ioc", "fok")
        ends = asyncio.get_running_loop().time() + self._desk.settings.ack_wait_s
        with self._desk.news.of(seen.id) as heard:
            while True:
                # Cleared before the look: what is told after it is waited for.
                heard.clear()
                seen = reading.seen(self._desk.fresh(trade, seen.id))
                report = self._desk.report(seen, order)
                if report is not None and (not at_once or reading.is_done(report)):
                    return seen
                left = ends - asyncio.get_running_loop().time()
                if left <= 0:
                    return seen
                if not await pause(heard, min(left, LOOK_AGAIN_S)):
                    # Not answered, or no room for the question: the events may still tell.
                    with contextlib.suppress(Unavailable):
                        await self._desk.update(trade=trade)

    def _order(self, order: Order, qty: Decimal, contract: Contract, account: SdkAccount) -> Any:
        """The SDK's own order. Raises what its constructors raise: nothing has left."""
        tif = rules.ROD[rules.TIF[order.ord_type][order.time_in_force]]
        shared: dict[str, Any] = {
            "action": "Buy" if order.side == "buy" else "Sell",
            "price": 0.0
            if order.price is None or order.ord_type == "market"
            else float(order.price),
            "quantity": int(qty / contract.unit),
            "price_type": "MKT" if order.ord_type == "market" else "LMT",
            "time_in_force": tif,
            "custom_field": custom_field(order.cl_ord_id),
            "account": account,
        }
        if contract.kind == "stock":
            lot = "IntradayOdd" if contract.odd else "Common"
            return self._desk.module.StockOrder(**shared, order_lot=lot, order_cond="Cash")
        return self._desk.module.FuturesOrder(
            **shared, octype="Cover" if order.reduce_only else "Auto"
        )

    async def _held(self, account: SdkAccount, contract: Contract) -> Decimal:
        rows = accounting.positions(await self._desk.rows(account))
        return sum((row.qty for row in rows if row.symbol == contract.code), Decimal(0))
