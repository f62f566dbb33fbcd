"""Prove a key at Gate.io for spot: what it may do, the account it trades for, perhaps try an order.

1. `account/detail` and `account/main_keys`: the scopes (gate/keys.py).
2. `spot/accounts`, signed by the key: it works.
3. If asked for, a test order: post-only, the smallest that Gate takes, far below the market, cancelled at
   once. `text` finds it while it is open, which is all that is needed to clear one that a crash left:

    a. by text: open → cancel. Not there: Gate has none that rests, nor will it have one of an earlier
       try, because each carried X-Gate-Exptime and tries are further apart than that.
    b. send it once. *Crash, or an answer that is lost: it may rest there. Next time, a.*
    c. cancel it, and see that nothing of it was filled. *Crash, lost: as b.*

As fanout/brokers/gateio/proving.py, for another market. Asking changes nothing at Gate in 1 and 2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_DOWN, Decimal

import msgspec

from fanout.brokers.gate import labels
from fanout.brokers.gate.client import GateClient
from fanout.brokers.gate.questions import Questions, Refusal, check_json, refused
from fanout.brokers.gate.reading import Unreadable, decode
from fanout.brokers.gate.request import client_text
from fanout.brokers.gate.venue_time import Departure
from fanout.brokers.gateio_spot import state, wire
from fanout.ports import BrokerAccount, Instrument
from fanout.proof import NotProven, Proof
from tenancy.errors import Unavailable

FAR = Decimal("0.9")
"""Of the market's price. A buy there rests: post-only would refuse it otherwise."""


class SpotProver:
    """The numbered steps above."""

    def __init__(
        self, client: GateClient, instruments: Callable[[], Awaitable[Mapping[str, Instrument]]]
    ) -> None:
        self._client = client
        self._questions = Questions(client)
        self._instruments = instruments

    async def prove(
        self, account: BrokerAccount, *, test_order: str | None, not_after: datetime
    ) -> Proof:
        """Raises Unavailable where Gate gave no clear answer: ask again."""
        # Before the questions: `not_after` is by a time of day that could be set during them.
        departure = None if test_order is None else await self._client.time.depart(not_after)
        try:
            seen = await self._questions.scopes(account, "spot")
            if isinstance(seen, NotProven):
                return seen
            await self._account(account)
            done = [*seen.checks, "account_read"]
            if test_order is not None and departure is not None:
                await self._try_order(account, test_order, departure)
                done.append("test_order")
            return msgspec.structs.replace(seen, checks=tuple(done))
        except Refusal as refusal:
            return refusal.proof

    async def _account(self, account: BrokerAccount) -> None:
        answer = await self._questions.ask(account, wire.balances(), "cannot_trade")
        check_json(answer)
        try:
            state.balances(answer.body)
        except Unreadable as why:
            raise refused("account_mode", f"the spot account is unclear: {why}") from why

    async def _try_order(self, account: BrokerAccount, name: str, departure: Departure) -> None:
        text = client_text(name)
        pair = _cheapest(await self._instruments())
        await self._clear(account, pair, text)  # a.
        price = _price(pair)
        request = wire.place_far_below(pair.symbol, _least(pair, price), price, text)
        placed = await self._questions.ask(
            account, request, "test_order", departure=departure
        )  # b.
        await self._cancel(account, pair, _read(placed.body).id)  # c.

    async def _clear(self, account: BrokerAccount, pair: Instrument, text: str) -> None:
        request = wire.one_order("GET", pair.symbol, text)
        answer = await self._questions.ask(account, request, "test_order", but=labels.GONE)
        if answer.status == 200 and (left := _read(answer.body)).status == "open":
            await self._cancel(account, pair, left.id)

    async def _cancel(self, account: BrokerAccount, pair: Instrument, order: str) -> None:
        request = wire.one_order("DELETE", pair.symbol, order)
        ended = _read((await self._questions.ask(account, request, "test_order")).body)
        if ended.status == "open":
            raise Unavailable("Gate.io still shows the test order as open")
        if ended.left != ended.amount:
            raise refused("test_order", "the test order was filled: the account holds it, sell it")


class _Placed(msgspec.Struct):
    id: str
    status: str
    amount: Decimal
    left: Decimal


def _read(body: bytes) -> _Placed:
    """Raises Unavailable: an order that cannot be read may rest there, so it is looked for again."""
    try:
        return decode(body, _Placed)
    except Unreadable as why:
        raise Unavailable(f"Gate.io's answer about the test order: {why}") from why


def _cheapest(known: Mapping[str, Instrument]) -> Instrument:
    """Bitcoin's pair where there is one, so that it is the same one next time, else the first by name."""
    priced = sorted(name for name, one in known.items() if one.reference is not None)
    if not priced:
        raise Unavailable("no pair has a price now")
    bitcoin = [name for name in priced if name.startswith("BTC_")]
    return known[(bitcoin or priced)[0]]


def _price(pair: Instrument) -> Decimal:
    assert pair.reference is not None
    return (pair.reference * FAR / pair.tick).to_integral_value(ROUND_DOWN) * pair.tick


def _least(pair: Instrument, price: Decimal) -> Decimal:
    wanted = max(pair.min_qty, pair.min_notional / price)
    return (wanted / pair.lot_step).to_integral_value(ROUND_CEILING) * pair.lot_step
