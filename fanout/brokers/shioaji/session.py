"""One person's session: what a worker may ask of it.

Orders are placed by placing.py and changed by resting.py.

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

from datetime import datetime
from decimal import Decimal

from fanout.abilities import AmendOutcome
from fanout.brokers.shioaji import accounting, reading
from fanout.brokers.shioaji.calls import Slow
from fanout.brokers.shioaji.desk import Desk, ms
from fanout.brokers.shioaji.messages import Whose
from fanout.brokers.shioaji.placing import Placing
from fanout.brokers.shioaji.reading import Several, Unreadable
from fanout.brokers.shioaji.resting import Resting
from fanout.order import Order
from fanout.ports import (
    AbsentProven,
    AbsentUnproven,
    BrokerPosition,
    CancelOutcome,
    Equity,
    Found,
    Instrument,
    Lookup,
    Outcome,
    Report,
)
from tenancy.errors import Unavailable


class Session:
    """Of a logged-in SDK. Never logs in again: that is another process."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._placing, self._resting = Placing(desk), Resting(desk)
        self.news, self.accounts = desk.news, desk.accounts
        self.table, self.calls = desk.table, desk.calls

    def close(self) -> None:
        """Log out; what is under way is not waited for."""
        self._desk.sdk.logout()
        self._desk.calls.close()

    async def submit(self, whose: Whose, order: Order, not_after: datetime) -> Outcome:
        return await self._placing.submit(whose, order, not_after)

    async def cancel(self, whose: Whose, order: Order) -> CancelOutcome:
        return await self._resting.cancel(whose, order)

    async def reprice(
        self, whose: Whose, order: Order, price: Decimal, not_after: datetime
    ) -> AmendOutcome:
        return await self._resting.reprice(whose, order, price, not_after)

    async def find(self, whose: Whose, order: Order) -> Lookup:
        """See above."""
        if self._desk.never_left(whose, order):
            return AbsentProven(
                evidence=f"since {self._desk.journal.since:%Y-%m-%d %H:%M:%S} UTC this person's session"
                " has not handed it to SinoPac, and never will"
            )
        try:
            trade = await self._desk.theirs(whose, order)
        except (Slow, Unreadable, Unavailable) as why:
            return AbsentUnproven(why=str(why))
        if isinstance(trade, Several):
            return AbsentUnproven(why=trade.why)
        if trade is None:
            return AbsentUnproven(
                why="SinoPac does not list it today, and cannot say that it will not come"
            )
        seen = reading.seen(trade)
        report = self._desk.report(seen, order)
        if report is None:
            return AbsentUnproven(why=f"SinoPac has it as {seen.status}, not acknowledged")
        self._desk.journal.known(whose.number, order.cl_ord_id, seen.id)
        return Found(report=report)

    async def open_orders(self, whose: Whose) -> list[Report]:
        """Raises Unavailable. An order that is not ours goes by its own name, or by none."""
        await self._desk.refresh(whose)
        found = []
        for trade in self._desk.sdk.list_trades():
            seen = reading.seen(trade)
            if seen.account != whose.number:
                continue
            name = self._desk.journal.cl_ord_id(whose.number, seen.id) or seen.custom_field
            report = reading.report(seen, name, seen.qty, self._desk.clock.now())
            if report is not None and not reading.is_done(report):
                found.append(report)
        return found

    async def positions(self, whose: Whose) -> list[BrokerPosition]:
        """Raises Unavailable."""
        return accounting.positions(await self._desk.rows(self._desk.account(whose)))

    async def equity(self, whose: Whose) -> Equity | None:
        """accounting.py. Raises Unavailable."""
        account, now = self._desk.account(whose), self._desk.clock.now()
        if self._desk.settings.simulation:
            return accounting.stated(whose.stated_equity, now)
        patience = self._desk.settings.query_timeout_s
        with accounting.answered():
            if reading.word(account.account_type) == "F":
                margin = await self._desk.calls.accounting(
                    lambda: self._desk.sdk.margin(account, timeout=ms(patience)),
                    patience_s=patience,
                )
                return accounting.of_margin(margin, now)
            balance = await self._desk.calls.accounting(
                lambda: self._desk.sdk.account_balance(account, timeout=ms(patience)),
                patience_s=patience,
            )
        return accounting.of_balance(balance, await self._desk.rows(account), now)

    async def instruments(self) -> list[Instrument]:
        """Raises Unavailable."""
        return await self._desk.table.instruments()
