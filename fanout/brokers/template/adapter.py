"""The template as a Broker (fanout/ports.py): the part that decides what to ask, and when no is a proof.

An absence is proven by the broker's own rules: names of orders are unique for ever, a request is not taken
after its X-Expires by the broker's clock, and every answer says that clock. So a *not found* whose own X-Now
is past the deadline that the order carried is a proof: it is not there, and cannot come any more. However
wrong the clock of this host is: it only says which deadline was sent, and the broker's says that it is past.

It claims no ability of fanout/abilities.py, so it has none of their methods.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from fanout.brokers.sealing import stays_inside
from fanout.brokers.template import wire
from fanout.brokers.template.client import NoAnswer, NotSent, TemplateClient
from fanout.brokers.template.settings import TemplateSettings
from fanout.budget import Budgets, Pace
from fanout.order import FINAL, Order
from fanout.ports import (
    AbsentProven,
    AbsentUnproven,
    AuthFailed,
    BrokerAccount,
    BrokerPosition,
    CancelDone,
    CancelOutcome,
    CancelTooLate,
    CancelUnknown,
    Caps,
    Equity,
    Found,
    InDoubt,
    Instrument,
    Lookup,
    Outcome,
    Rejected,
    Report,
    RequestSigner,
    Unsent,
)
from fanout.proof import NotProven, Proof, Proven
from tenancy.clock import Clock
from tenancy.errors import Unavailable

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

TRADES = "trade"
KNOWN_SCOPES = frozenset({TRADES, "read"})
"""A scope that nobody has heard of may be the one that moves money."""


class TemplateBroker:
    """Places, cancels, finds and reads."""

    name = "template"

    def __init__(
        self,
        settings: TemplateSettings,
        signer: RequestSigner,
        clock: Clock,
        *,
        sleep: Sleep = asyncio.sleep,
        budgets: Pace | None = None,
    ) -> None:
        self._settings, self._clock, self._sleep = settings, clock, sleep
        self._client = TemplateClient(settings, signer, clock)
        self._budgets: Pace = budgets or Budgets(
            limit=settings.orders_per_s, window_s=1.0, burst=settings.orders_burst
        )
        self._exptime = timedelta(milliseconds=settings.exptime_ms)
        self._table: Mapping[str, Instrument] = {}
        self._table_at_s = float("-inf")
        # Signing comes first and may be slow; a lease must outlive both.
        self.request_timeout_s = settings.sign_timeout_s + settings.request_timeout_s
        self.caps = Caps(
            ord_types=frozenset(wire.TIF),
            times_in_force=wire.TIF,
            reduce_only=True,
            server_deadline=True,
            unique_client_ids=True,
            equity=True,
            secret_stays_inside=stays_inside(self.name),
            orders_per_s=float(settings.orders_per_s),
        )

    def __repr__(self) -> str:
        return f"TemplateBroker({self._client!r})"

    async def open(self) -> None:
        """Raises Unavailable."""
        await self._client.open()
        try:
            await self.instruments()
        except BaseException:
            await self._client.close()
            raise

    async def close(self) -> None:
        await self._client.close()

    # -------------------------------------------------------------- orders

    async def turn(self, account: BrokerAccount, *, closes: bool = False) -> None:
        await self._budgets.wait(account.account_id, closes=closes)

    async def submit(self, account: BrokerAccount, order: Order, *, not_after: datetime) -> Outcome:
        """1. What the broker has no word for is refused here, for good.
        2. Sign, with the earlier of the broker's deadline and our lease.
        3. Look at the lease once more: signing may have been slow.
        4. One POST, never a second.
        5. Judge the answer (wire.py); what is no answer is doubt.
        """
        if account.api_key is None or account.credential is None:
            text = f"account {account.account_id} has no credential"
            return AuthFailed(kind="key", text=text, left=False)
        try:
            request = wire.place(order)
        except wire.Unsupported as why:
            return Rejected(code=why.code, kind="other", text=f"not sent: {why}", left=False)
        deadline = min(self._clock.now() + self._exptime, not_after)
        try:
            headers = await self._client.sign(account, request, expires=deadline)
            if self._clock.now() >= deadline:
                return Unsent(cause="its deadline came before it could be sent")
            answer = await self._client.send(request, headers)
        except NotSent as why:
            return Unsent(cause=str(why))
        except NoAnswer as why:
            return InDoubt(cause=str(why), not_after=deadline)
        return wire.placed(answer, order, not_after=deadline, now=self._clock.now())

    async def cancel(self, account: BrokerAccount, order: Order) -> CancelOutcome:
        try:
            answer = await self._client.ask(account, wire.one_order("DELETE", order))
            code, text = wire.error_of(answer)
            if answer.status == 200:
                return CancelDone(report=wire.report(answer.body, order))
        except (NotSent, NoAnswer, wire.Unreadable) as why:
            return CancelUnknown(cause=str(why))
        if code in ("final", "unknown_order"):
            return CancelTooLate(text=text)
        return CancelUnknown(cause=f"status {answer.status} {code}".rstrip())

    async def find(self, account: BrokerAccount, order: Order, *, sent_by: datetime) -> Lookup:
        """Twice at most: at once, and where it is not there, after its deadline."""
        deadline = sent_by + self._exptime
        seen = await self._look(account, order, deadline)
        wait_s = (deadline - self._clock.now()).total_seconds()
        if isinstance(seen, AbsentUnproven) and wait_s > 0:
            await self._sleep(wait_s + 0.001)  # the broker's clock counts whole milliseconds
            seen = await self._look(account, order, deadline)
        return seen

    async def _look(self, account: BrokerAccount, order: Order, deadline: datetime) -> Lookup:
        try:
            answer = await self._client.ask(account, wire.one_order("GET", order))
            if answer.status == 200:
                return Found(report=wire.report(answer.body, order))
        except (NotSent, NoAnswer, wire.Unreadable) as why:
            return AbsentUnproven(why=str(why))
        code, _ = wire.error_of(answer)
        if (answer.status, code) != (404, "unknown_order"):
            return AbsentUnproven(why=f"status {answer.status} {code}".rstrip())
        if answer.now is None or answer.now <= deadline:
            return AbsentUnproven(
                why="not there, but its deadline is not past by the broker's clock"
            )
        return AbsentProven(evidence=f"not found at {answer.now}, its deadline was {deadline}")

    # -------------------------------------------------------------- the account

    async def open_orders(self, account: BrokerAccount) -> Sequence[Report]:
        rows = await self._read(account, wire.OPEN_ORDERS, wire.reports)
        return [row for row in rows if row.ord_status not in FINAL]

    async def positions(self, account: BrokerAccount) -> Sequence[BrokerPosition]:
        return await self._read(account, wire.POSITIONS, wire.positions)

    async def equity(self, account: BrokerAccount) -> Equity | None:
        now = self._clock.now()
        return await self._read(account, wire.ACCOUNT, lambda body: wire.equity(body, now))

    async def prove(
        self, account: BrokerAccount, *, test_order: str | None, not_after: datetime
    ) -> Proof:
        """Its scopes, all known, and trading among them. No test order: nothing here is post-only."""
        if test_order is not None:
            words = "there is no post-only order, so a test order might fill"
            return NotProven(code="test_order", words=words)
        user, scopes = await self._read(account, wire.KEY, wire.key)
        unknown = sorted(set(scopes) - KNOWN_SCOPES)
        said = tuple(scopes)
        if unknown:
            words = f"the key can do more than trade, or what nobody knows: {', '.join(unknown)}"
            return NotProven(code="scope_unknown", words=words, scopes=said, broker_user=user)
        if TRADES not in scopes:
            words = "the key cannot trade"
            return NotProven(code="cannot_trade", words=words, scopes=said, broker_user=user)
        return Proven(scopes=said, checks=("scopes", "signed_read"), broker_user=user)

    async def instruments(self) -> Mapping[str, Instrument]:
        """Never older than instruments_max_age_s. Raises Unavailable."""
        if self._clock.monotonic() - self._table_at_s > self._settings.instruments_max_age_s:
            asked_at_s, asked_at = self._clock.monotonic(), self._clock.now()
            try:
                answer = await self._client.send(wire.INSTRUMENTS, {})
            except NoAnswer as why:
                raise Unavailable(f"template instruments: {why}") from why
            self._table = self._readable(answer, lambda body: wire.instruments(body, asked_at))
            self._table_at_s = asked_at_s
        return self._table

    async def _read(
        self, account: BrokerAccount, request: wire.Request, read: Callable[[bytes], T]
    ) -> T:
        """Raises Unavailable."""
        try:
            answer = await self._client.ask(account, request)
        except NoAnswer as why:
            raise Unavailable(f"template {request.path}: {why}") from why
        return self._readable(answer, read)

    @staticmethod
    def _readable(answer: wire.Answer, read: Callable[[bytes], T]) -> T:
        if answer.status != 200:
            code, text = wire.error_of(answer)
            raise Unavailable(f"template: status {answer.status} {code} {text}".rstrip())
        try:
            return read(answer.body)
        except wire.Unreadable as why:
            raise Unavailable(f"template: {why}") from why
