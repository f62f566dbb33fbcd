"""Gate.io futures as a Broker (fanout/ports.py) with every ability of fanout/abilities.py but balances.

One-way and hedge mode, cross and isolated margin, classic and unified accounts, main and sub-account
keys: what an account is, its own settings say (account_settings.py). This file puts the parts together:

    orders.py       place, amend, cancel, batches, countdown: sent once, judged
    doubt.py        find(): how an absence is proven
    protecting.py   stops, targets and trailing stops that Gate holds
    arranging.py    position mode, margin mode and leverage before the first order
    limits.py       Gate's limits per user id and kind of endpoint
    proving.py      may a key be used
    ../gate/        what futures and spot share: HTTP, Gate's time, keys, the WebSocket stream

In hedge mode a `reduce_only` sell reduces the long side and a `reduce_only` buy the short one; every other
order opens its own side. A plan for such an account says `reduce_only` of every exit (fanout/settle.py).

Thin: iceberg, post-only and self-trade prevention (stp_act is left out) are not asked for; orders go
over REST, never over the WebSocket; a price-triggered order's `expiration` is left to Gate; inverse
contracts (multiplier 0) and delivery futures are not traded; split positions (dual_plus) are refused;
two accounts of ours with keys of one Gate user each count a whole limit; margin is not moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from fanout.abilities import AmendOutcome, BrokerFill, Hint, Protection
from fanout.brokers.gate import keys
from fanout.brokers.gate.client import GateClient
from fanout.brokers.gate.connected import Connected, read
from fanout.brokers.gate.reading import Unreadable
from fanout.brokers.gate.stream import Channel, GateStream
from fanout.brokers.gate.table import InstrumentTable
from fanout.brokers.gateio import account_settings, account_wire, answers, holdings, statement, wire
from fanout.brokers.gateio.account_settings import BadAccountSettings
from fanout.brokers.gateio.arranging import Arranger
from fanout.brokers.gateio.doubt import PAGES_MAX, Doubt, Sleep
from fanout.brokers.gateio.limits import Door, Limits
from fanout.brokers.gateio.orders import Orders
from fanout.brokers.gateio.protecting import Protector
from fanout.brokers.gateio.proving import GateioProver
from fanout.brokers.gateio.settings import GateioSettings
from fanout.brokers.gateio.table import Contracts
from fanout.brokers.sealing import stays_inside
from fanout.budget import Pace
from fanout.order import Order
from fanout.ports import (
    BrokerAccount,
    BrokerPosition,
    CancelOutcome,
    Caps,
    Equity,
    Instrument,
    Lookup,
    Outcome,
    Report,
    RequestSigner,
)
from fanout.proof import Proof
from tenancy.clock import Clock
from tenancy.errors import Unavailable

ALL = "!all"
CHANNELS = (
    Channel("futures.orders", "order", (ALL,)),
    Channel("futures.usertrades", "fill", (ALL,)),
    Channel("futures.positions", "position", (ALL,)),
    Channel("futures.balances", "balance"),
)


class GateioBroker:
    """Places, cancels, finds, reads, protects and listens at Gate.io futures."""

    name = "gateio"

    def __init__(
        self,
        settings: GateioSettings,
        signer: RequestSigner,
        clock: Clock,
        *,
        sleep: Sleep = asyncio.sleep,
        budgets: Pace | None = None,
    ) -> None:
        """`budgets`: for placing and amending, shared with other workers; else this process counts alone."""
        self._settings = settings
        self._clock = clock
        self._client = GateClient(settings, signer, clock)
        self._limits = Limits(settings, budgets)
        self._door = Door(self._client, self._limits)
        self._orders = Orders(self._door, settings, Arranger(self._door, settings.settle, clock))
        self._doubt = Doubt(self._door, settings, clock, sleep)
        self._protector = Protector(self._door, self._orders, settings)
        self._contracts = InstrumentTable(
            self.name, Contracts(self._client, settings.settle).read, settings, clock, sleep
        )
        self._stream = GateStream(
            self.name,
            settings.stream_url,
            settings.stream,
            CHANNELS,
            ping="futures.ping",
            sign=self._client.sign_subscription,
            user_of=self._user_of,
            clock=clock,
            sleep=sleep,
        )
        self._connected = Connected(self.name, self._client, self._contracts)
        self._prover = GateioProver(self._client, settings.settle, self.instruments)
        # Signing comes first and may be slow; a lease must outlive both.
        self.request_timeout_s = settings.sign_timeout_s + settings.request_timeout_s
        self.caps = Caps(
            ord_types=frozenset(wire.TIF),
            times_in_force=wire.TIF,
            reduce_only=True,
            server_deadline=True,
            unique_client_ids=False,
            equity=True,
            statement=True,
            secret_stays_inside=stays_inside(self.name),
            orders_per_s=float(settings.orders_per_s),
            amend=True,
            batch_max=wire.BATCH_MAX,
            cancel_all=True,
            protects=True,
            dead_man=True,
            tells=True,
        )

    def __repr__(self) -> str:
        return f"GateioBroker({self._client!r}, instruments {self.instruments_age_s():.1f} s old)"

    async def open(self) -> None:
        await self._connected.open()

    async def close(self) -> None:
        await self._connected.close()

    # -------------------------------------------------------------- orders

    async def turn(self, account: BrokerAccount, *, closes: bool = False) -> None:
        """Gate's limit is per user id, which is one account of ours. Of a batch, once for each order."""
        await self._limits.placing.wait(account.account_id, closes=closes)

    async def submit(self, account: BrokerAccount, order: Order, *, not_after: datetime) -> Outcome:
        """One POST, never a second. X-Gate-Exptime runs from after the signature.

        It is cut to `not_after`: a process that slept through its lease is refused by Gate. Unsent,
        too, while this host's clock is not known to agree with Gate's: the deadline rests on it.
        """
        return await self._orders.submit(account, order, not_after=not_after)

    async def submit_batch(
        self, account: BrokerAccount, orders: Sequence[Order], *, not_after: datetime
    ) -> Sequence[Outcome]:
        """One POST of up to ten. Raises ValueError for none, too many, or a ClOrdID twice."""
        return await self._orders.submit_batch(account, orders, not_after=not_after)

    async def amend(
        self,
        account: BrokerAccount,
        order: Order,
        *,
        order_qty: Decimal | None,
        price: Decimal | None,
        not_after: datetime,
    ) -> AmendOutcome:
        return await self._orders.amend(
            account, order, order_qty=order_qty, price=price, not_after=not_after
        )

    async def cancel(self, account: BrokerAccount, order: Order) -> CancelOutcome:
        return await self._orders.cancel(account, order)

    async def cancel_batch(
        self, account: BrokerAccount, orders: Sequence[Order]
    ) -> Sequence[CancelOutcome]:
        """Up to twenty that Gate acknowledged; none of them is CancelDone, see Orders.cancel_batch."""
        return await self._orders.cancel_batch(account, orders)

    async def cancel_all(self, account: BrokerAccount, symbol: str | None) -> bool:
        return await self._orders.cancel_all(account, symbol)

    async def dead_man(self, account: BrokerAccount, seconds: float) -> bool:
        return await self._orders.dead_man(account, seconds)

    async def find(self, account: BrokerAccount, order: Order, *, sent_by: datetime) -> Lookup:
        """doubt.py. Takes at least 300 ms, and the server's deadline, for a no."""
        return await self._doubt.find(account, order, sent_by=sent_by)

    # -------------------------------------------------------------- protection

    async def protect(
        self, account: BrokerAccount, wanted: Protection, *, not_after: datetime
    ) -> Outcome:
        return await self._protector.protect(account, wanted, not_after=not_after)

    async def protections(self, account: BrokerAccount, symbol: str) -> Sequence[Report]:
        return await self._protector.protections(account, symbol)

    async def unprotect(self, account: BrokerAccount, broker_order_id: str) -> CancelOutcome:
        return await self._protector.unprotect(account, broker_order_id)

    # -------------------------------------------------------------- hints

    def hints(self, account: BrokerAccount) -> AsyncIterator[Hint]:
        return self._stream.hints(account)

    async def _user_of(self, account: BrokerAccount) -> str:
        """Whose key it is: Gate wants it in every subscription. Raises Unavailable."""
        body = await self._read(account, wire.account_detail())
        try:
            return keys.user_id(body)
        except Unreadable as why:
            raise Unavailable(f"Gate.io account/detail: {why}") from why

    # -------------------------------------------------------------- the account

    async def prove(
        self, account: BrokerAccount, *, test_order: str | None, not_after: datetime
    ) -> Proof:
        """proving.py. A lane is not needed: only the test order trades, and it never fills."""
        return await self._prover.prove(account, test_order=test_order, not_after=not_after)

    async def open_orders(self, account: BrokerAccount) -> Sequence[Report]:
        reports: list[Report] = []
        for page in range(PAGES_MAX):
            request = wire.list_open(self._settings.settle, page * wire.PAGE)
            try:
                found = answers.open_reports(await self._read(account, request))
            except Unreadable as why:
                raise Unavailable(f"Gate.io open orders: {why}") from why
            reports += found
            if len(found) < wire.PAGE:
                return reports
        raise Unavailable(f"more than {PAGES_MAX * wire.PAGE} open orders at Gate.io")

    async def fills(
        self, account: BrokerAccount, *, since: datetime, until: datetime
    ) -> Sequence[BrokerFill]:
        """statement.py. An account that was never funded has none."""

        async def ask(request: wire.Request) -> bytes:
            return await self._read(account, request, if_unfunded=b"[]")

        return await statement.fills(ask, self._settings.settle, since, until)

    async def positions(self, account: BrokerAccount) -> Sequence[BrokerPosition]:
        """Raises Unavailable, also where the account is not in the mode that its settings say."""
        held: dict[tuple[str, str], BrokerPosition] = {}
        for page in range(PAGES_MAX):
            request = account_wire.list_positions(self._settings.settle, page * wire.PAGE)
            body = await self._read(account, request, if_unfunded=b"[]")
            try:
                hedge = account_settings.read(account.settings).hedge
                found, rows = holdings.positions(body, hedge=hedge)
            except (Unreadable, BadAccountSettings) as why:
                raise Unavailable(f"Gate.io positions: {why}") from why
            held |= {(one.symbol, one.side): one for one in found}
            if rows < wire.PAGE:
                return list(held.values())
        raise Unavailable(f"more than {PAGES_MAX * wire.PAGE} positions at Gate.io")

    async def equity(self, account: BrokerAccount) -> Equity | None:
        """holdings.py says where it stands. A unified account's is in US dollars. Raises Unavailable."""
        body = await self._read(
            account, account_wire.account(self._settings.settle), if_unfunded=b""
        )
        now = self._clock.now()
        if not body:  # no futures account before the first transfer
            currency = self._settings.settle.upper()
            return Equity(equity=Decimal(0), available=Decimal(0), currency=currency, as_of=now)
        try:
            seen = holdings.futures_account(body)
            if not seen.unified:
                return holdings.equity(seen, now)
            whole = await self._read(account, account_wire.unified_account())
            return holdings.unified_equity(whole, seen, now)
        except Unreadable as why:
            raise Unavailable(f"Gate.io account: {why}") from why

    async def _read(
        self, account: BrokerAccount, request: wire.Request, *, if_unfunded: bytes | None = None
    ) -> bytes:
        return await read(self._door.ask, account, request, if_unfunded=if_unfunded)

    # -------------------------------------------------------------- instruments

    async def instruments(self) -> Mapping[str, Instrument]:
        """The contract table, never older than instruments_max_age_s. Raises Unavailable."""
        return await self._contracts.get()

    def instruments_age_s(self) -> float:
        """How old the contract table is; infinite before the first."""
        return self._contracts.age_s()
