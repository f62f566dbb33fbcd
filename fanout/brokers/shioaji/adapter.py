"""Shioaji as a Broker (fanout/ports.py): the person's session process is asked, and its silence is doubt.

The session (session.py) holds the broker's rules, its limits and the record of what was sent; here an
account is told to which session it belongs (settings `person` and `account`), and a lost session is
sorted by what may have left: nothing reached it, Unsent; perhaps, InDoubt.

Absence: session.py says when it is proven. Stops: SinoPac has none, so they are the gateway's, and live
and die with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from fanout.abilities import AmendOutcome, AmendRefused, AmendUnknown, Hint
from fanout.brokers.sealing import stays_inside
from fanout.brokers.shioaji import messages as m
from fanout.brokers.shioaji import rules
from fanout.brokers.shioaji.client import NoAnswer, NotSent, SessionClient, trial
from fanout.brokers.shioaji.settings import ORDER_OPS_S, ShioajiSettings
from fanout.order import Order
from fanout.ports import (
    AbsentUnproven,
    AuthFailed,
    BrokerAccount,
    BrokerPosition,
    CancelOutcome,
    CancelUnknown,
    Caps,
    Equity,
    InDoubt,
    Instrument,
    Lookup,
    Outcome,
    Rejected,
    Report,
    Unsent,
)
from fanout.proof import NotProven, Proof
from tenancy.clock import Clock
from tenancy.errors import Unavailable

T = TypeVar("T")
AGAIN_S = (0.2, 0.5, 1.0, 2.0, 5.0)
TRIAL_S = 60.0

Sleep = Callable[[float], Awaitable[None]]


class NoSession(Exception):
    """The account's settings name no session of this host."""


class ShioajiBroker:
    """Places, cancels, finds and reads at SinoPac."""

    name = "shioaji"

    def __init__(
        self, settings: ShioajiSettings, clock: Clock, *, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._settings, self._clock, self._sleep = settings, clock, sleep
        self._clients = {
            person.name: SessionClient(settings.socket(person.name)) for person in settings.persons
        }
        self.request_timeout_s = settings.submit_timeout_s
        self.caps = Caps(
            ord_types=frozenset(rules.TIF),
            times_in_force=rules.TIF,
            reduce_only=True,
            server_deadline=False,
            unique_client_ids=True,
            equity=True,
            secret_stays_inside=stays_inside(self.name),
            orders_per_s=settings.order_ops / ORDER_OPS_S / 2,
            amend=True,
            tells=True,
            one_in_flight=True,
        )

    def __repr__(self) -> str:
        return f"ShioajiBroker({list(self._clients.values())!r})"

    async def open(self) -> None:
        """One session at least answers. Raises Unavailable."""
        await self.instruments()

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    # -------------------------------------------------------------- orders

    async def turn(self, account: BrokerAccount, *, closes: bool = False) -> None:
        """The limit is a person's, over all processes: the session waits, or says RateLimited."""

    async def submit(self, account: BrokerAccount, order: Order, *, not_after: datetime) -> Outcome:
        """One request, never a second. The session looks at `not_after` once more, right before the SDK."""
        if account.api_key is None or account.credential is None:
            text = f"account {account.account_id} has no credential"
            return AuthFailed(kind="key", text=text, left=False)
        if self._clock.now() >= not_after:
            return Unsent(cause="its lease ended before it could be sent")
        try:
            client, whose = self._of(account)
        except NoSession as why:
            return Rejected(
                code="no_session", kind="permission", text=f"not sent: {why}", left=False
            )
        try:
            return await client.ask(
                lambda id: m.Submit(id, whose, order, not_after),
                Outcome,  # type: ignore[arg-type]
                self.request_timeout_s,
            )
        except NotSent as why:
            return Unsent(cause=str(why))
        except Exception as why:
            return InDoubt(cause=f"{why}", not_after=None)

    async def cancel(self, account: BrokerAccount, order: Order) -> CancelOutcome:
        try:
            client, whose = self._of(account)
            return await client.ask(
                lambda id: m.Cancel(id, whose, order),
                CancelOutcome,  # type: ignore[arg-type]
                self.request_timeout_s,
            )
        except Exception as why:
            return CancelUnknown(cause=str(why))

    async def amend(
        self,
        account: BrokerAccount,
        order: Order,
        *,
        order_qty: Decimal | None,
        price: Decimal | None,
        not_after: datetime,
    ) -> AmendOutcome:
        """The price alone: at SinoPac a quantity can only shrink, and by a difference, not to a value."""
        if order_qty is not None or price is None:
            return AmendRefused(code="unsupported", text="SinoPac changes the price alone")
        try:
            client, whose = self._of(account)
            return await client.ask(
                lambda id: m.Reprice(id, whose, order, price, not_after),
                AmendOutcome,  # type: ignore[arg-type]
                self.request_timeout_s,
            )
        except (NotSent, NoSession) as why:
            return AmendRefused(code="unsent", text=str(why))
        except Exception as why:
            return AmendUnknown(cause=str(why))

    async def find(self, account: BrokerAccount, order: Order, *, sent_by: datetime) -> Lookup:
        """session.py says when an absence is proven. Where no session answers nothing is."""
        try:
            client, whose = self._of(account)
            return await client.ask(
                lambda id: m.Find(id, whose, order),
                Lookup,  # type: ignore[arg-type]
                self.request_timeout_s,
            )
        except Exception as why:
            return AbsentUnproven(why=str(why))

    # -------------------------------------------------------------- the account

    async def open_orders(self, account: BrokerAccount) -> Sequence[Report]:
        return await self._read(account, m.OpenOrders, list[Report])

    async def positions(self, account: BrokerAccount) -> Sequence[BrokerPosition]:
        return await self._read(account, m.Positions, list[BrokerPosition])

    async def equity(self, account: BrokerAccount) -> Equity | None:
        return await self._read(account, m.EquityOf, Equity)

    async def prove(
        self, account: BrokerAccount, *, test_order: str | None, not_after: datetime
    ) -> Proof:
        """A login with it is the proof (serving.py). No test order: nothing here is post-only."""
        try:
            self._of(account)
        except NoSession as why:
            return NotProven(code="cannot_trade", words=str(why))
        if test_order is not None:
            words = "SinoPac has no post-only order, so a test order might fill"
            return NotProven(code="test_order", words=words)
        if account.api_key is None or account.credential is None:
            raise Unavailable("there is no key to prove")
        try:
            return await self._read(account, m.Prove, Proof)  # type: ignore[arg-type]
        except Unavailable:
            return await self._try(account, account.api_key, account.credential)

    async def _try(self, account: BrokerAccount, api_key: str, sealed: bytes) -> Proof:
        """Another key than the one that is logged in: a session of its own, for as long as this takes."""
        name = str(account.settings.get("person"))
        asked = m.Trial(1, api_key, sealed)
        try:
            async with asyncio.timeout(TRIAL_S):
                tried, connection = await trial(self._settings.keeper(name), asked)
        except TimeoutError:
            raise Unavailable("the key could not be tried in time") from None
        client = SessionClient(self._settings.socket(f"{name}.trial"))
        try:
            if tried.refused:
                return NotProven(code="key", words="SinoPac refuses the key, or its certificate")
            _, whose = self._of(account)
            return await client.ask(lambda id: m.Prove(id, whose), Proof, self._query_s)  # type: ignore[arg-type]
        except (NotSent, NoAnswer) as why:
            raise Unavailable(f"Shioaji: {why}") from why
        finally:
            await client.close()
            connection.close()

    async def instruments(self) -> Mapping[str, Instrument]:
        """Of the first session that answers: the table is the exchange's, not a person's. Raises Unavailable."""
        why = "no session is configured"
        for client in self._clients.values():
            try:
                rows = await client.ask(m.Instruments, list[Instrument], self._query_s)
            except (NotSent, NoAnswer, Unavailable) as error:
                why = str(error)
                continue
            return {row.symbol: row for row in rows}
        raise Unavailable(f"no session of Shioaji answers: {why}")

    async def hints(self, account: BrokerAccount) -> AsyncIterator[Hint]:
        """The session's first word on each connection is a gap."""
        tries = 0
        while True:
            try:
                client, whose = self._of(account)
                async for hint in client.watch(whose):
                    tries = 0
                    yield hint
            except (NotSent, NoSession):
                pass
            await self._sleep(AGAIN_S[min(tries, len(AGAIN_S) - 1)])
            tries += 1

    # -------------------------------------------------------------- to whom

    @property
    def _query_s(self) -> float:
        return 2 * self._settings.query_timeout_s + 1.0

    async def _read(
        self, account: BrokerAccount, make: Callable[[int, m.Whose], m.Request], kind: type[T]
    ) -> T:
        """Raises Unavailable."""
        try:
            client, whose = self._of(account)
            return await client.ask(lambda id: make(id, whose), kind, self._query_s)
        except (NotSent, NoAnswer, NoSession) as why:
            raise Unavailable(f"Shioaji: {why}") from why

    def _of(self, account: BrokerAccount) -> tuple[SessionClient, m.Whose]:
        """Raises NoSession."""
        name, number = account.settings.get("person"), account.settings.get("account")
        client = self._clients.get(str(name))
        person = self._settings.person(str(name))
        if client is None or person is None or not number:
            raise NoSession(
                "the account's settings need `person`, a name of [brokers.shioaji], and `account`,"
                f" SinoPac's number as F002000-1234567; they say {name!r} and {number!r}"
            )
        if person.tenant != account.tenant_id:
            raise NoSession(f"person {name!r} belongs to another tenant")
        return client, m.Whose(
            account_id=account.account_id,
            tenant_id=account.tenant_id,
            number=str(number),
            api_key=account.api_key,
            stated_equity=account.stated_equity,
        )
