"""Price-triggered spot orders: they wait outside the book, hold back nothing, and are placed when touched.

They have no client id: `text` says only where they came from. What they place may be refused then,
and the trigger is `failed` with Gate's words.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.orders import Arrival
from loadtest.exchanges.gateio.refusal import Refusal, invalid
from loadtest.exchanges.gateio.spot_exchange import SpotExchange
from loadtest.exchanges.gateio.spot_orders import NewSpotOrder, number, unreadable


class _Trigger(msgspec.Struct):
    price: str
    rule: str
    expiration: int


class _Put(msgspec.Struct):
    side: str
    price: str
    amount: str
    account: str
    type: str = "limit"
    time_in_force: str = "gtc"
    text: str = "api"


class _Body(msgspec.Struct):
    trigger: _Trigger
    put: _Put
    market: str


class Triggered(msgspec.Struct, kw_only=True, eq=False):
    """One of them, with whose it is."""

    id: int
    account: Account
    market: str
    trigger: _Trigger
    put: _Put
    ctime: float
    status: str = "open"
    reason: str = ""
    ftime: float = 0.0
    fired_order_id: int = 0


class SpotTriggers:
    """All price-triggered orders of the venue."""

    def __init__(self, spot: SpotExchange) -> None:
        self._spot = spot
        self._all: dict[int, Triggered] = {}
        spot.on_price.append(self.touch)

    def create(self, account: Account, body: bytes) -> Triggered:
        """Raises Refusal."""
        try:
            it = msgspec.json.decode(body, type=_Body)
        except msgspec.DecodeError as error:
            raise unreadable(error) from None
        price, last = number("trigger.price", it.trigger.price), self._spot.book(it.market).last
        if it.trigger.rule not in (">=", "<="):
            raise invalid("trigger.rule", it.trigger.rule)
        if price <= last if it.trigger.rule == ">=" else price >= last:
            raise invalid("trigger.price", f"{price}: on the wrong side of the last price {last}")
        if it.put.account not in ("normal", "unified") or it.put.side not in ("buy", "sell"):
            raise invalid("put", it.put.account)
        if it.put.time_in_force not in ("gtc", "ioc") or it.put.type not in ("limit", "market"):
            raise invalid("put.time_in_force", it.put.time_in_force)
        number("put.amount", it.put.amount)
        made = Triggered(
            id=len(self._all) + 1,
            account=account,
            market=it.market,
            trigger=it.trigger,
            put=it.put,
            ctime=self._spot.now(),
        )
        self._all[made.id] = made
        return made

    def of(self, account: Account, status: str, market: str | None) -> list[Triggered]:
        """Newest first. Raises Refusal."""
        if status not in ("open", "finished"):
            raise invalid("status", status)
        return [
            one
            for one in reversed(self._all.values())
            if one.account is account
            and market in (None, one.market)
            and (one.status == "open") == (status == "open")
        ]

    def find(self, account: Account, ident: str) -> Triggered:
        """Raises ORDER_NOT_FOUND."""
        found = self._all.get(int(ident)) if ident.isascii() and ident.isdigit() else None
        if found is None or found.account is not account:
            raise Refusal("ORDER_NOT_FOUND", f"price-triggered order {ident} not found")
        return found

    def cancel(self, account: Account, ident: str) -> Triggered:
        """Raises ORDER_NOT_FOUND, also for one that has ended."""
        found = self.find(account, ident)
        if found.status != "open":
            raise Refusal("ORDER_NOT_FOUND", f"price-triggered order {ident} is {found.status}")
        self._end(found, "cancelled", "")
        return found

    def touch(self, pair: str) -> None:
        """The price of `pair` moved."""
        last, now = self._spot.book(pair).last, self._spot.now()
        for one in self._all.values():
            if one.market != pair or one.status != "open":
                continue
            if now > one.ctime + one.trigger.expiration:
                self._end(one, "expired", "")
                continue
            price = Decimal(one.trigger.price)
            if last >= price if one.trigger.rule == ">=" else last <= price:
                self._fire(one)

    def _fire(self, one: Triggered) -> None:
        market = one.put.type == "market"
        wanted = NewSpotOrder(
            pair=one.market,
            side=one.put.side,
            amount=Decimal(one.put.amount),
            price=None if market else Decimal(one.put.price),
            tif="ioc" if market else one.put.time_in_force,
            text=one.put.text,
            account="unified" if one.put.account == "unified" else "spot",
        )
        try:
            arrival = Arrival(0, self._spot.monotonic(), self._spot.now())
            one.fired_order_id = self._spot.place(one.account, wanted, arrival).id
            self._end(one, "finish", "")
        except Refusal as refusal:
            self._end(one, "failed", f"{refusal.label}: {refusal.message}")

    def _end(self, one: Triggered, status: str, reason: str) -> None:
        one.status, one.reason, one.ftime = status, reason, self._spot.now()


def shown(it: Triggered) -> dict[str, Any]:
    """As Gate's JSON."""
    return {
        "id": it.id,
        "user": it.account.uid,
        "market": it.market,
        "trigger": msgspec.to_builtins(it.trigger),
        "put": msgspec.to_builtins(it.put),
        "ctime": int(it.ctime),
        "ftime": int(it.ftime),
        "fired_order_id": it.fired_order_id,
        "status": it.status,
        "reason": it.reason,
    }
