"""One person's session: what a worker may ask of it, and the order of the steps of an order.

An order (`submit`), step by step; what a crash after each leaves behind:

1. Checked by our rules (rules.py). Nothing left.
2. It has account and contract to itself: one order in flight on each, from here to step 6.
3. The broker's limits have room (calls.py).
4. One last look: its lease holds, it was not handed over before, nobody was told that it is absent.
5. The journal says that it is handed over (journal.py), and place_order is called. *Crash: doubt.*
6. Not PendingSubmit any more, by an event or by update_status, or `ack_wait_s` is over: doubt.

**When is an absence proven?** SinoPac offers nothing to prove it with: no deadline on a request, names
that are not unique, a record (`update_status`) of a trading day that says nothing about what is still
on its way. So of an order that was handed over, `find` says Found or AbsentUnproven, and a person
decides. What never left this process is another matter: everything for a person goes through this one
session, and its journal says from `since` on what was handed over. An order whose intent is younger
(by more than the clocks may differ) and is not in it has not left, and is never taken from then on: the
tombstone is written before the answer. That is AbsentProven, without asking the broker.

An order that was acknowledged is found by SinoPac's id in its trading day. After it, SinoPac does not
list it: AbsentUnproven. What rests at the end of its session has expired (reading.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import structlog

from fanout.abilities import Amended, AmendOutcome, AmendRefused, AmendUnknown
from fanout.brokers.shioaji import accounting, errors, reading, rules
from fanout.brokers.shioaji.calls import ALL, LOOKS_SHARE, OPENS_SHARE, Calls, Slow
from fanout.brokers.shioaji.contracts import Contract
from fanout.brokers.shioaji.journal import Journal
from fanout.brokers.shioaji.messages import Whose
from fanout.brokers.shioaji.names import broker_name, custom_field
from fanout.brokers.shioaji.news import News
from fanout.brokers.shioaji.port import Sdk, SdkAccount, SdkModule, SdkTrade
from fanout.brokers.shioaji.reading import Seen, Several, Unreadable, Wanted
from fanout.brokers.shioaji.settings import ShioajiSettings
from fanout.brokers.shioaji.table import Table
from fanout.order import Order
from fanout.ports import (
    AbsentProven,
    AbsentUnproven,
    Acked,
    BrokerPosition,
    CancelDone,
    CancelOutcome,
    CancelTooLate,
    CancelUnknown,
    Equity,
    Found,
    InDoubt,
    Instrument,
    Lookup,
    Outcome,
    RateLimited,
    Rejected,
    Report,
    Unsent,
)
from tenancy.clock import Clock
from tenancy.errors import Unavailable

LOOK_AGAIN_S = 0.5
"""Without an event the order's own status is asked for so often while it is PendingSubmit."""

log = structlog.get_logger()


class _Stopped(Exception):
    """The last look said no: what is answered instead."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


class Session:
    """A logged-in SDK, spoken to by one loop. Never logs in again: that is another process."""

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
        self._sdk, self._module, self._settings = sdk, module, settings
        self._journal, self._clock, self.calls = journal, clock, calls
        self.accounts: Mapping[str, SdkAccount] = {
            reading.account_name(account): account for account in accounts
        }
        self.table = Table(sdk, settings, calls, clock)
        self.news = News(asyncio.get_running_loop(), journal)
        self._taken: dict[tuple[str, str], asyncio.Lock] = {}
        sdk.set_order_callback(self.news.heard)
        sdk.set_session_down_callback(self._down)

    def close(self) -> None:
        """Log out; what is under way is not waited for."""
        self._sdk.logout()
        self.calls.close()

    def _down(self) -> None:
        """The SDK's connection is gone. By its thread."""
        log.error("shioaji_session_down")
        self.news.gap()

    # -------------------------------------------------------------- orders

    async def submit(self, whose: Whose, order: Order, not_after: datetime) -> Outcome:
        """The steps above."""
        account = self.accounts.get(whose.number)
        if account is None:
            words = f"not sent: {whose.number} is no account of this person"
            return Rejected(code="account", kind="permission", text=words, left=False)
        contract = self.table.get(order.symbol)
        refusal = rules.refusal(order, contract)  # 1.
        if refusal is not None or contract is None:
            assert refusal is not None
            return refusal
        try:
            async with self._alone(whose.number, contract.code):  # 2.
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
            self._journal.handed(whose.number, order.cl_ord_id)

        def place() -> SdkTrade:
            return self._sdk.place_order(
                self.table.raw(contract), theirs, timeout=_ms(self._settings.order_timeout_s)
            )

        try:
            trade = await self.calls.order(
                place,
                patience_s=self._settings.queue_wait_s,
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
        if self._clock.now() >= not_after:
            raise _Stopped(Unsent(cause="its lease ended before it could be sent"))
        if self._journal.was_handed(whose.number, order.cl_ord_id):
            words = "not sent again: this session has handed it to SinoPac before"
            raise _Stopped(
                Rejected(code="sent_before", kind="duplicate_id", text=words, left=False)
            )
        if self._journal.is_gone(whose.number, order.cl_ord_id):
            raise _Stopped(Unsent(cause="it was said to be absent, so it is not sent any more"))

    async def _acknowledged(self, whose: Whose, order: Order, trade: SdkTrade) -> Outcome:
        """6."""
        try:
            at_once = reading.seen(trade)
            self._journal.known(whose.number, order.cl_ord_id, at_once.id)
            seen = await self._settled(trade, at_once, order)
        except Unreadable as why:
            return InDoubt(cause=str(why), not_after=None)
        if seen.status == "Failed" and not reading.filled(seen)[0]:
            text = seen.text or "SinoPac gives no reason"
            return Rejected(code=seen.status_code or "Failed", kind=errors.kind_of(text), text=text)
        report = self._report(seen, order)
        if report is None:
            cause = f"SinoPac has it as {seen.status} and has not acknowledged it"
            return InDoubt(cause=cause, not_after=None)
        return Acked(report=report)

    async def _settled(self, trade: SdkTrade, seen: Seen, order: Order) -> Seen:
        """As it is once it is acknowledged, or final where it must be at once; or as it is by then."""
        at_once = order.ord_type == "market" or order.time_in_force in ("ioc", "fok")
        ends = asyncio.get_running_loop().time() + self._settings.ack_wait_s
        with self.news.of(seen.id) as heard:
            while True:
                # Cleared before the look: what is told after it is waited for.
                heard.clear()
                seen = reading.seen(self._fresh(trade, seen.id))
                report = self._report(seen, order)
                if report is not None and (not at_once or reading.is_done(report)):
                    return seen
                left = ends - asyncio.get_running_loop().time()
                if left <= 0:
                    return seen
                try:
                    await asyncio.wait_for(heard.wait(), min(left, LOOK_AGAIN_S))
                except TimeoutError:
                    # Not answered, or no room for the question: the events may still tell.
                    with contextlib.suppress(Unavailable):
                        await self._update(trade=trade)

    def _fresh(self, trade: SdkTrade, broker_id: str) -> SdkTrade:
        """The SDK's own copy as it is now; the one that we have where it lists it no more."""
        for each in self._sdk.list_trades():
            if (each.order.id or each.status.id) == broker_id:
                return each
        return trade

    def _report(self, seen: Seen, order: Order) -> Report | None:
        return reading.report(seen, order.cl_ord_id, order.order_qty, self._clock.now())

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
            return self._module.StockOrder(**shared, order_lot=lot, order_cond="Cash")
        return self._module.FuturesOrder(**shared, octype="Cover" if order.reduce_only else "Auto")

    # -------------------------------------------------------------- what rests

    async def cancel(self, whose: Whose, order: Order) -> CancelOutcome:
        """CancelDone only when SinoPac's status says so; PendingSubmit after it is no answer."""
        contract = self.table.get(order.symbol)
        try:
            async with self._alone(
                whose.number, order.symbol if contract is None else contract.code
            ):
                return await self._cancel(whose, order)
        except (TimeoutError, Slow, Unreadable, Unavailable) as why:
            return CancelUnknown(cause=str(why) or "another order is still under way")

    async def _cancel(self, whose: Whose, order: Order) -> CancelOutcome:
        trade = await self._theirs(whose, order)
        if isinstance(trade, Several):
            return CancelUnknown(cause=trade.why)
        if trade is None:
            if self._never_left(whose, order):
                return CancelTooLate(text="it was never sent")
            return CancelUnknown(cause="SinoPac does not list it")
        before = self._report(reading.seen(trade), order)
        if reading.is_done(before):
            return CancelTooLate(text=f"it is {before.ord_status if before else ''}")
        try:
            await self._change(lambda ms: self._sdk.cancel_order(trade, timeout=ms))
        except (Slow, Unavailable):
            raise
        except Exception as error:
            log.info("shioaji_cancel", cl_ord_id=order.cl_ord_id, error=errors.words(error))
        after = self._report(
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
        contract = self.table.get(order.symbol)
        refusal = rules.refusal(msgspec.structs.replace(order, price=price), contract)
        if refusal is not None or contract is None:
            assert refusal is not None
            return AmendRefused(code=refusal.code, text=refusal.text)
        try:
            async with self._alone(whose.number, contract.code):
                return await self._reprice(whose, order, price, not_after)
        except Slow as why:
            return AmendRefused(code="rate_limited", text=str(why))
        except (TimeoutError, Unreadable, Unavailable) as why:
            return AmendUnknown(cause=str(why) or "another order is still under way")

    async def _reprice(
        self, whose: Whose, order: Order, price: Decimal, not_after: datetime
    ) -> AmendOutcome:
        trade = await self._theirs(whose, order)
        if trade is None or isinstance(trade, Several):
            return AmendUnknown(cause="SinoPac does not list it")
        if reading.is_done(self._report(reading.seen(trade), order)):
            return AmendRefused(code="final", text="it is final", too_late=True)
        if self._clock.now() >= not_after:
            return AmendRefused(code="lease", text="its lease ended before it could be sent")
        try:
            await self._change(
                lambda ms: self._sdk.update_order(trade, price=float(price), timeout=ms)
            )
        except (Slow, Unavailable):
            raise
        except Exception as error:
            return AmendUnknown(cause=errors.words(error))
        seen = await self._changed(trade, reading.seen(trade), lambda _: False, price)
        report = self._report(seen, order)
        if report is not None and seen.price == price and not reading.is_done(report):
            return Amended(report=report)
        return AmendUnknown(cause=f"SinoPac has it at {seen.price}, {seen.status}")

    async def _change(self, call: Callable[[int], Any]) -> None:
        ms = _ms(self._settings.order_timeout_s)
        await self.calls.order(lambda: call(ms), patience_s=self._settings.queue_wait_s, share=ALL)

    async def _changed(
        self,
        trade: SdkTrade,
        seen: Seen,
        enough: Callable[[Report | None], bool],
        price: Decimal | None = None,
    ) -> Seen:
        """As SinoPac's own status has it, asked until it is enough or `ack_wait_s` is over."""
        ends = asyncio.get_running_loop().time() + self._settings.ack_wait_s
        with self.news.of(seen.id) as heard:
            while True:
                heard.clear()
                await self._update(trade=trade)
                seen = reading.seen(self._fresh(trade, seen.id))
                report = reading.report(seen, "", seen.qty, self._clock.now())
                left = ends - asyncio.get_running_loop().time()
                if enough(report) or (price is not None and seen.price == price) or left <= 0:
                    return seen
                try:
                    await asyncio.wait_for(heard.wait(), min(left, LOOK_AGAIN_S))
                except TimeoutError:
                    continue

    async def _theirs(self, whose: Whose, order: Order) -> SdkTrade | Several | None:
        """The SDK's trade of this order, after a fresh look. Raises Unavailable, Slow, Unreadable."""
        if self._journal.never_left(whose.number, order.cl_ord_id, self._intent(order)):
            return None
        await self._refresh(whose)
        trades = [(trade, reading.seen(trade)) for trade in self._sdk.list_trades()]
        found = reading.match(
            self._wanted(whose, order),
            [seen for _, seen in trades],
            self._journal.others(whose.number, order.cl_ord_id),
        )
        if found is None or isinstance(found, Several):
            return found
        return next(trade for trade, seen in trades if seen is found)

    # -------------------------------------------------------------- doubt

    async def find(self, whose: Whose, order: Order) -> Lookup:
        """See above."""
        if self._never_left(whose, order):
            return AbsentProven(
                evidence=f"since {self._journal.since:%Y-%m-%d %H:%M:%S} UTC this person's session"
                " has not handed it to SinoPac, and never will"
            )
        try:
            trade = await self._theirs(whose, order)
        except (Slow, Unreadable, Unavailable) as why:
            return AbsentUnproven(why=str(why))
        if isinstance(trade, Several):
            return AbsentUnproven(why=trade.why)
        if trade is None:
            return AbsentUnproven(
                why="SinoPac does not list it today, and cannot say that it will not come"
            )
        seen = reading.seen(trade)
        report = self._report(seen, order)
        if report is None:
            return AbsentUnproven(why=f"SinoPac has it as {seen.status}, not acknowledged")
        self._journal.known(whose.number, order.cl_ord_id, seen.id)
        return Found(report=report)

    def _never_left(self, whose: Whose, order: Order) -> bool:
        if order.broker_order_id is not None:
            return False
        return self._journal.never_left(whose.number, order.cl_ord_id, self._intent(order))

    def _intent(self, order: Order) -> datetime:
        return order.intent_at - timedelta(milliseconds=self._settings.clock_error_ms)

    def _wanted(self, whose: Whose, order: Order) -> Wanted:
        contract = self.table.get(order.symbol)
        name = broker_name(order.broker_order_id or "")
        return Wanted(
            order=order,
            account=whose.number,
            code=order.symbol if contract is None else contract.code,
            custom_field=custom_field(order.cl_ord_id),
            since=self._intent(order) - timedelta(seconds=1),  # SinoPac's times are whole seconds
            id=self._journal.broker_id(whose.number, order.cl_ord_id) if name is None else name.id,
            day="" if name is None else f"{name.day:%Y%m%d}",
        )

    # -------------------------------------------------------------- the account

    async def open_orders(self, whose: Whose) -> list[Report]:
        """Raises Unavailable. An order that is not ours goes by its own name, or by none."""
        await self._refresh(whose)
        found = []
        for trade in self._sdk.list_trades():
            seen = reading.seen(trade)
            if seen.account != whose.number:
                continue
            name = self._journal.cl_ord_id(whose.number, seen.id) or seen.custom_field
            report = reading.report(seen, name, seen.qty, self._clock.now())
            if report is not None and not reading.is_done(report):
                found.append(report)
        return found

    async def positions(self, whose: Whose) -> list[BrokerPosition]:
        """Raises Unavailable."""
        return accounting.positions(await self._positions(self._account(whose)))

    async def equity(self, whose: Whose) -> Equity | None:
        """accounting.py. Raises Unavailable."""
        account, now = self._account(whose), self._clock.now()
        if self._settings.simulation:
            return accounting.stated(whose.stated_equity, now)
        patience = self._settings.query_timeout_s
        ms = _ms(patience)
        with accounting.answered():
            if reading.word(account.account_type) == "F":
                margin = await self.calls.accounting(
                    lambda: self._sdk.margin(account, timeout=ms), patience_s=patience
                )
                return accounting.of_margin(margin, now)
            balance = await self.calls.accounting(
                lambda: self._sdk.account_balance(account, timeout=ms), patience_s=patience
            )
        return accounting.of_balance(balance, await self._positions(account), now)

    async def instruments(self) -> list[Instrument]:
        """Raises Unavailable."""
        return await self.table.instruments()

    def _account(self, whose: Whose) -> SdkAccount:
        account = self.accounts.get(whose.number)
        if account is None:
            raise Unavailable(f"{whose.number} is no account of this person at SinoPac")
        return account

    async def _positions(self, account: SdkAccount) -> list[Any]:
        unit = "Share" if reading.word(account.account_type) == "S" else "Common"
        patience = self._settings.query_timeout_s
        with accounting.answered():
            return await self.calls.accounting(
                lambda: self._sdk.list_positions(account, unit=unit, timeout=_ms(patience)),
                patience_s=patience,
            )

    async def _held(self, account: SdkAccount, contract: Contract) -> Decimal:
        rows = accounting.positions(await self._positions(account))
        return sum((row.qty for row in rows if row.symbol == contract.code), Decimal(0))

    async def _refresh(self, whose: Whose) -> None:
        """SinoPac's own list into the SDK's copy, and the copy is whole. Raises Unavailable."""
        account = self._account(whose)
        await self._update(account=account)
        health = self._sdk.trade_cache_health(account)
        if reading.word(health.state) == "Degraded":
            raise Unavailable("the SDK says of its own list of orders that it is not whole")

    async def _update(self, *, account: Any = None, trade: Any = None) -> None:
        patience = self._settings.query_timeout_s
        kwargs = {"account": account} if trade is None else {"trade": trade}
        with accounting.answered():
            await self.calls.order(
                lambda: self._sdk.update_status(**kwargs, timeout=_ms(patience)),
                patience_s=patience,
                share=LOOKS_SHARE,
            )

    @asynccontextmanager
    async def _alone(self, number: str, code: str) -> AsyncIterator[None]:
        """One order of an account and contract at a time. Raises TimeoutError after `queue_wait_s`."""
        lock = self._taken.setdefault((number, code), asyncio.Lock())
        async with asyncio.timeout(self._settings.queue_wait_s):
            await lock.acquire()
        try:
            yield
        finally:
            lock.release()


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
