"""Prove a key at Gate.io: read what it may do, read the account it trades for, perhaps try an order.

1. `account/detail` and `account/main_keys`: the scopes (keys.py). A key that may not ask, or whose
   answer cannot be read, is refused: its scopes are unknown.
2. `futures/…/accounts`, signed by the key: it works, and the account is in the position mode that its
   settings say, one-way where they say nothing. Of a unified account the key may read the equity, too
   (its permission `unified`, read-only). A user who never funded futures has nothing to read,
   which is no fault of the key.
3. If asked for, a test order: post-only, the smallest size, far below the market, cancelled at once.

Every question may be asked again: nothing changes at Gate in 1 and 2. In 3 the order's `text` is a
name of the credential's own, so whoever proves it again, after a crash between sending and
cancelling too, first looks for it and cancels it:

    a. by text: open → cancel. Not there: Gate has none, nor will it have one of an earlier try,
       because each carried X-Gate-Exptime and tries are further apart than that.
    b. send it once. *Crash, or an answer that is lost: it may rest there. Next time, a.*
    c. cancel it, and see that nothing of it was filled. *Crash, lost: as b.*
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

import msgspec

from fanout.brokers.gate import keys, labels
from fanout.brokers.gate.client import GateClient
from fanout.brokers.gate.questions import Questions, Refusal, check_json, refused
from fanout.brokers.gate.reading import Unreadable, decode
from fanout.brokers.gate.venue_time import Departure
from fanout.brokers.gateio import account_settings, account_wire, wire
from fanout.brokers.gateio.account_settings import AccountSettings
from fanout.ports import BrokerAccount, Instrument
from fanout.proof import NotProven, Proof
from tenancy.errors import Unavailable

FAR = Decimal("0.9")
"""Of the market's price. A buy there rests: post-only would refuse it otherwise."""


_WRONG_MODE = {
    False: "the futures account is in hedge mode: use one-way mode, or say position_mode = hedge",
    True: "the futures account is in one-way mode, and its settings say position_mode = hedge",
}


def _said(account: BrokerAccount) -> AccountSettings:
    try:
        return account_settings.read(account.settings)
    except account_settings.BadAccountSettings as why:
        raise refused("account_mode", str(why)) from why


class GateioProver:
    """The numbered steps above."""

    def __init__(
        self,
        client: GateClient,
        settle: str,
        instruments: Callable[[], Awaitable[Mapping[str, Instrument]]],
    ) -> None:
        self._client = client
        self._questions = Questions(client)
        self._settle = settle
        self._instruments = instruments

    async def prove(
        self, account: BrokerAccount, *, test_order: str | None, not_after: datetime
    ) -> Proof:
        """Raises Unavailable where Gate gave no clear answer: ask again."""
        # Before the questions: `not_after` is by a time of day that could be set during them.
        departure = None if test_order is None else await self._client.time.depart(not_after)
        try:
            said = _said(account)
            unified = said.account_kind == "unified"
            seen = await self._questions.scopes(account, "futures", unified=unified)
            if isinstance(seen, NotProven):
                return seen
            done = [*seen.checks, await self._account(account, said)]
            if test_order is not None and departure is not None:
                await self._try_order(account, test_order, departure)
                done.append("test_order")
            return msgspec.structs.replace(seen, checks=tuple(done))
        except Refusal as refusal:
            return refusal.proof

    # -------------------------------------------------------------- 2.

    async def _account(self, account: BrokerAccount, said: AccountSettings) -> str:
        answer = await self._questions.ask(
            account, account_wire.account(self._settle), "cannot_trade", but=labels.NEVER_FUNDED
        )
        if answer.status != 200:
            return "never_funded"
        check_json(answer)
        try:
            one_way = keys.in_one_way_mode(answer.body)
        except Unreadable as why:
            raise refused("account_mode", f"the futures account is unclear: {why}") from why
        if one_way == said.hedge:
            raise refused("account_mode", _WRONG_MODE[said.hedge])
        if said.account_kind == "unified":
            # Its equity stands there, so a key that may not read it would leave every order unsized.
            await self._questions.ask(account, account_wire.unified_account(), "cannot_trade")
        return "account_read"

    # -------------------------------------------------------------- 3.

    async def _try_order(self, account: BrokerAccount, name: str, departure: Departure) -> None:
        text = wire.client_text(name)
        await self._clear(account, text)  # a.
        contract = _smallest(await self._instruments(), self._settle)
        request = wire.place_far_below(self._settle, contract, _price(contract), text)
        placed = await self._questions.ask(  # b.
            account,
            request,
            "test_order",
            departure=departure,
        )
        await self._cancel(account, _read(placed.body).id)  # c.

    async def _clear(self, account: BrokerAccount, text: str) -> None:
        request = wire.one_order(self._settle, "GET", text)
        answer = await self._questions.ask(account, request, "test_order", but=labels.GONE)
        if answer.status == 200 and (left := _read(answer.body)).status == "open":
            await self._cancel(account, left.id)

    async def _cancel(self, account: BrokerAccount, order: int) -> None:
        request = wire.one_order(self._settle, "DELETE", str(order))
        ended = _read((await self._questions.ask(account, request, "test_order")).body)
        if ended.status != "finished":
            raise Unavailable(f"Gate.io still shows the test order as {ended.status}")
        if ended.left != ended.size:
            raise refused(
                "test_order", "the test order was filled: the account holds it, close it by hand"
            )


class _Placed(msgspec.Struct):
    id: int
    status: str
    size: Decimal
    left: Decimal


def _read(body: bytes) -> _Placed:
    """Raises Unavailable: an order that cannot be read may rest there, so it is looked for again."""
    try:
        return decode(body, _Placed)
    except Unreadable as why:
        raise Unavailable(f"Gate.io's answer about the test order: {why}") from why


def _smallest(known: Mapping[str, Instrument], settle: str) -> Instrument:
    """Bitcoin's contract where there is one, else the one whose least order is worth least."""
    priced = [one for one in known.values() if one.reference is not None]
    if not priced:
        raise Unavailable("no contract has a price now")
    best = known.get(f"BTC_{settle.upper()}")
    if best is not None and best.reference is not None:
        return best
    return min(priced, key=lambda one: one.min_qty * one.multiplier * (one.reference or 0))


def _price(contract: Instrument) -> Decimal:
    assert contract.reference is not None
    far = contract.reference * FAR
    return (far / contract.tick).to_integral_value(ROUND_DOWN) * contract.tick
