"""Stops and targets that Gate.io holds itself: place, list, take back (triggers.py says what they are).

Gate has no id of ours for a price-triggered order, no server deadline for it and no OCO. So:

1. One request per leg, the stop first, each sent once within the lease.
2. Refused or unsent at the first leg: nothing stands, and that is the answer.
3. Anything unclear, or a second leg that did not go, is InDoubt: ask `protections`, and `unprotect`
   what should not stand. Never placed again before that.
4. When one of two is triggered, the other stays: whoever asked for them takes it back. It can only
   reduce, so until then it opens nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from fanout.abilities import Protection
from fanout.brokers.gate import labels, verdict
from fanout.brokers.gate.client import NoAnswer, NotSent
from fanout.brokers.gate.reading import Answer, Unreadable, label_of
from fanout.brokers.gate.request import PAGE, Request, Unsupported
from fanout.brokers.gate.venue_time import Departure
from fanout.brokers.gateio import triggers
from fanout.brokers.gateio.limits import Door
from fanout.brokers.gateio.orders import Answered, Orders, no_credential, not_gates
from fanout.brokers.gateio.settings import GateioSettings
from fanout.brokers.gateio.triggers import Kind, Leg
from fanout.order import OrdState
from fanout.ports import (
    Acked,
    BrokerAccount,
    CancelDone,
    CancelOutcome,
    CancelTooLate,
    CancelUnknown,
    InDoubt,
    Outcome,
    Report,
    Unsent,
)
from tenancy.errors import Unavailable

PAGES_MAX = 10


class Protector:
    """The numbered steps above."""

    def __init__(self, door: Door, orders: Orders, settings: GateioSettings) -> None:
        self._door = door
        self._orders = orders
        self._settle = settings.settle
        self._clock_error_s = settings.clock_error_ms / 1000

    async def protect(
        self, account: BrokerAccount, wanted: Protection, *, not_after: datetime
    ) -> Outcome:
        missing = no_credential(account)
        if missing is not None:
            return missing
        try:
            legs = triggers.legs(self._settle, wanted)
        except Unsupported as why:
            return not_gates(why)
        departure = await self._orders.depart(not_after)
        if isinstance(departure, Unsent):
            return departure
        placed: list[str] = []
        for leg in legs:
            outcome = await self._place(account, leg, departure)
            if isinstance(outcome, str):
                placed.append(outcome)
            elif not placed:
                return outcome  # 2.
            else:
                cause = f"{placed[0]} stands, and {leg.words} not for sure: {outcome}"
                return InDoubt(cause=cause, not_after=None)  # 3.
        return Acked(report=self._standing(wanted, placed, legs))

    async def _place(self, account: BrokerAccount, leg: Leg, departure: Departure) -> str | Outcome:
        """The name under which it stands, or why not."""
        await self._door.limits.of(leg.request).wait(account.account_id)
        left = await self._orders.leave(account, leg.request, departure, bounded=False)
        if not isinstance(left, Answered):
            return left
        if left.answer.status in (200, 201):
            try:
                return triggers.made(leg.kind, left.answer.body)
            except Unreadable as why:
                return InDoubt(cause=str(why), not_after=None, raw=left.answer.body)
        outcome = verdict.not_placed(
            left.answer,
            labels.REJECTED,
            not_after=left.deadline,
            now=self._door.client.time.now(),
            clock_error_s=self._clock_error_s,
        )
        if isinstance(outcome, InDoubt):
            return InDoubt(cause=outcome.cause, not_after=None, raw=outcome.raw)
        return outcome

    def _standing(self, wanted: Protection, placed: list[str], legs: list[Leg]) -> Report:
        return Report(
            cl_ord_id=wanted.cl_ord_id,
            broker_order_id="+".join(placed),
            ord_status=OrdState.NEW,
            cum_qty=Decimal(0),
            avg_px=None,
            text=", ".join(leg.words for leg in legs),
            transact_time=self._door.client.time.now(),
            raw=b"",
        )

    # -------------------------------------------------------------- looking

    async def protections(self, account: BrokerAccount, symbol: str) -> Sequence[Report]:
        """All that wait in this contract, whoever placed them. Raises Unavailable."""
        found: list[Report] = []
        for page in range(PAGES_MAX):
            request = triggers.list_price_orders(self._settle, symbol, page * PAGE)
            rows = _read_all(await self._read(account, request), "price")
            found += rows
            if len(rows) < PAGE:
                break
        else:
            raise Unavailable(f"more than {PAGES_MAX * PAGE} price-triggered orders in {symbol}")
        request = triggers.list_trails(self._settle, symbol, 1)
        rows = _read_all(await self._read(account, request), "trail")
        if len(rows) >= PAGE:
            raise Unavailable(f"{PAGE} or more trailing orders in {symbol}")
        return found + rows

    async def _read(self, account: BrokerAccount, request: Request) -> bytes:
        try:
            answer = await self._door.ask(account, request)
        except NoAnswer as why:
            raise Unavailable(f"Gate.io did not answer: {why}") from why
        if answer.status != 200:
            label, text = label_of(answer)
            raise Unavailable(f"Gate.io {request.path}: status {answer.status} {label} {text}")
        return answer.body

    # -------------------------------------------------------------- taking back

    async def unprotect(self, account: BrokerAccount, broker_order_id: str) -> CancelOutcome:
        """Each part of a joint name; done only where Gate says so of every one."""
        try:
            parts = triggers.split(broker_order_id)
        except Unsupported as why:
            return CancelTooLate(text=str(why))
        outcomes = [await self._take_back(account, kind, number) for kind, number in parts]
        for outcome in outcomes:
            if isinstance(outcome, CancelUnknown):
                return outcome
        late = [one.text for one in outcomes if isinstance(one, CancelTooLate)]
        if late:
            return CancelTooLate(text="; ".join(late))
        return outcomes[0]

    async def _take_back(self, account: BrokerAccount, kind: Kind, number: str) -> CancelOutcome:
        try:
            answer = await self._door.ask(account, triggers.take_back(self._settle, kind, number))
        except (NotSent, NoAnswer) as why:
            return CancelUnknown(cause=str(why))
        if answer.status == 200:
            try:
                now = self._door.client.time.now()
                return CancelDone(report=triggers.taken_back(kind, number, answer.body, now))
            except Unreadable as why:
                return CancelUnknown(cause=str(why))
        return _not_taken_back(f"{kind}/{number}", answer)


def _not_taken_back(name: str, answer: Answer) -> CancelOutcome:
    label, text = label_of(answer)
    gone = answer.status == 404 or label.endswith(("NOT_FOUND", "FINISHED"))
    if 400 <= answer.status < 500 and label and gone:
        return CancelTooLate(text=f"{name}: {label}: {text}")
    return CancelUnknown(cause=f"{name}: status {answer.status} {label}".rstrip())


def _read_all(body: bytes, kind: Kind) -> list[Report]:
    """Raises Unavailable: what cannot be read may stand there."""
    try:
        return triggers.price_orders(body) if kind == "price" else triggers.trails(body)
    except Unreadable as why:
        raise Unavailable(f"Gate.io {kind} orders: {why}") from why
