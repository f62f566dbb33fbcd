"""The market behind the SDK: contracts, accounts, orders, matching, events. One lock; plain dicts in and out.

It fills at the last price. A person's orders never match each other: there is one market, and it is deep.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from loadtest.exchanges.shioaji.faults import Fault, Faults
from loadtest.exchanges.shioaji.limits import CONNECTIONS, LOGINS, Limits
from loadtest.exchanges.shioaji.showing import (
    LIVE,
    Account,
    Event,
    Listed,
    Order,
    account_row,
    deal_event,
    order_event,
    order_row,
)


class Refused(Exception):
    """An exception of the SDK, by its name."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class Connection:
    """One logged-in client: where its events go."""

    def __init__(self, tell: Callable[[list[Event]], None], down: Callable[[], None]) -> None:
        self.tell, self.down = tell, down
        self.dead = False


class Exchange:
    """Everything SinoPac knows of one person."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.lock = threading.RLock()
        self.limits = Limits()
        self.faults = Faults()
        self.listed: dict[str, Listed] = {}
        self.accounts: dict[str, Account] = {}
        self.keys: dict[str, str] = {}
        self.orders: dict[str, Order] = {}
        self.connections: list[Connection] = []
        self.closed = False
        self.health = "Healthy"
        self.dwell_s = 0.0  # how long an order is under way, at least
        self.released = threading.Event()
        self._held_back: list[list[Event]] = []
        self._number = 0

    # -------------------------------------------------------------- what a test or an operator says

    def add(self, *contracts: Listed) -> None:
        for each in contracts:
            each.reference = each.reference or each.price
            each.limit_up = each.limit_up or round(each.reference * 1.1)
            each.limit_down = each.limit_down or round(each.reference * 0.9)
            self.listed[each.code] = each

    def open_account(self, account: Account) -> None:
        self.accounts[account.number] = account

    def set_price(self, code: str, price: float) -> None:
        with self.lock:
            for each in self.listed.values():
                if code in (each.code, each.target_code):
                    each.price = price
            events: list[Event] = []
            for order in list(self.orders.values()):
                if order.code == code and order.status in LIVE and not order.stuck:
                    events += self._match(order)
        self._tell(events)

    def release(self) -> None:
        """What was held back goes on: late events, orders without an acknowledgement, hung calls."""
        with self.lock:
            held, self._held_back = self._held_back, []
            events = [event for batch in held for event in batch]
            for order in self.orders.values():
                if order.stuck:
                    order.stuck = False
                    events += self._accept(order)
        self.released.set()
        self._tell(events)

    # -------------------------------------------------------------- clients

    def login(self, connection: Connection, api_key: str, secret: str) -> list[dict[str, Any]]:
        with self.lock:
            self._not_banned()
            self.limits.logins += 1
            if self.limits.logins > LOGINS:
                raise Refused("ServerError", "too many logins today")
            if self.limits.connections >= CONNECTIONS:
                raise Refused("ServerError", "Too Many Connections")
            if self.keys.get(api_key) != secret:
                raise Refused("AuthError", "the key or its secret is wrong")
            self.connections.append(connection)
            self.limits.connections += 1
            self.limits.most_connections = max(
                self.limits.most_connections, self.limits.connections
            )
            return [account_row(each) for each in self.accounts.values()]

    def logout(self, connection: Connection) -> None:
        with self.lock:
            if connection in self.connections:
                self.connections.remove(connection)
                self.limits.connections -= 1

    def usage(self) -> dict[str, int]:
        return {"connections": self.limits.connections, "bytes": 0, "limit_bytes": 1 << 29}

    # -------------------------------------------------------------- order operations

    def place(self, connection: Connection, wanted: dict[str, Any]) -> dict[str, Any]:
        key = (wanted["account"], wanted["code"])
        with self.lock:
            self.limits.enter(key)
        if self.dwell_s:
            time.sleep(self.dwell_s)
        try:
            return self._operate(connection, "place", lambda fault: self._place(wanted, fault))
        finally:
            with self.lock:
                self.limits.leave(key)

    def cancel(self, connection: Connection, order_id: str) -> dict[str, Any]:
        return self._operate(connection, "cancel", lambda _: self._cancel(order_id))

    def update(self, connection: Connection, order_id: str, price: float) -> dict[str, Any]:
        return self._operate(connection, "update", lambda _: self._update(order_id, price))

    def status(self, connection: Connection, account: str) -> list[dict[str, Any]]:
        def read(_: Fault | None) -> tuple[Any, list[Event]]:
            rows = [order_row(each) for each in self.orders.values() if each.account == account]
            return rows, []

        return self._operate(connection, "update_status", read)

    def _operate(
        self,
        connection: Connection,
        op: str,
        act: Callable[[Fault | None], tuple[Any, list[Event]]],
    ) -> Any:
        with self.lock:
            self._not_banned()
            if connection.dead or connection not in self.connections:
                raise Refused("TokenError", "the token has expired: log in again")
            if not self.limits.order_ops.count(self._now()):
                self.limits.ban(self._now())
                raise Refused("SystemMaintenance", "503: please log in again after 1 minute")
            fault = self.faults.take(op)
            kind = fault.kind if fault else ""
            self._before(connection, kind)
        if kind == "hang":
            self.released.wait()
        with self.lock:
            answer, events = act(fault)
            if kind == "degraded":
                self.health = "Degraded"
            if kind == "twice":
                events = [event for event in events for _ in range(2)]
            if kind == "deal_first":
                events = sorted(events, key=lambda event: not event[0].endswith("DEAL"))
            if kind == "late":
                self._held_back.append(events)
                events = []
        self._tell(events)
        if kind == "lose_after":
            raise Refused("ShioajiTimeoutError", f"{op}: no answer in time")
        if kind == "unknown":
            raise Refused("OrderOutcomeUnknownError", "409 OrderOutcomeUnknown")
        if kind == "cut":
            raise Refused("ShioajiConnectionError", "the connection was reset")
        return answer

    def _before(self, connection: Connection, kind: str) -> None:
        if kind == "lose_before":
            raise Refused("ShioajiTimeoutError", "no answer in time")
        if kind == "maintenance":
            raise Refused("SystemMaintenance", "503: system maintenance")
        if kind == "ban":
            self.limits.ban(self._now())
            raise Refused("SystemMaintenance", "503: please log in again after 1 minute")
        if kind == "token":
            connection.dead = True
            raise Refused("TokenError", "the token has expired: log in again")
        if kind == "down":
            connection.down()

    def _not_banned(self) -> None:
        if self._now() < self.limits.banned_until:
            self.limits.disobeyed += 1
            raise Refused("SystemMaintenance", "503: please log in again after 1 minute")

    def _place(self, wanted: dict[str, Any], fault: Fault | None) -> tuple[Any, list[Event]]:
        self._number += 1
        order = Order(
            id=f"{0x8ABC0000 + self._number:08x}",
            seqno=f"{400000 + self._number}",
            ordno=f"W{self._number:04d}",
            ordered_at=datetime.now(UTC).timestamp(),
            **wanted,
        )
        self.orders[order.id] = order
        refusal = ("F9", fault.text) if fault and fault.kind == "reject" else self._refusal(order)
        if refusal is not None:
            order.status, (order.status_code, order.msg) = "Failed", refusal
            return order_row(order), [order_event(self._event_id(), order, "New", *refusal)]
        if fault is not None and fault.kind == "pending":
            order.stuck = True
            return order_row(order), []
        before = order_row(order)
        return before, self._accept(order)

    def _accept(self, order: Order) -> list[Event]:
        order.status = "Submitted"
        return [order_event(self._event_id(), order, "New", "00", ""), *self._match(order)]

    def _refusal(self, order: Order) -> tuple[str, str] | None:
        """What the exchange says no to. The rest the SDK and SinoPac let pass."""
        contract, account = self.listed.get(order.code), self.accounts[order.account]
        if contract is None:
            return "10", "商品代碼錯誤"
        if self.closed:
            return "88", "非交易時間"
        if order.quantity <= 0:
            return "20", "委託數量錯誤"
        if order.price_type == "LMT" and not (
            contract.limit_down <= order.price <= contract.limit_up
        ):
            return "30", "委託價格超過漲跌停"
        if order.price_type == "MKT" and order.time_in_force == "ROD":
            return "31", "市價單不可為ROD"
        held = account.held.get(order.code, (0, 0.0))[0]
        signed = order.quantity if order.action == "Buy" else -order.quantity
        if order.octype == "Cover" and (held * signed >= 0 or abs(signed) > abs(held)):
            return "40", "平倉口數不足"
        if account.kind == "S" and signed < 0 and held < order.quantity * self._unit(order):
            return "41", "集保庫存不足"
        if self._cost(account, contract, held + signed, order) > account.cash:
            return "50", "保證金不足"
        return None

    def _cost(self, account: Account, contract: Listed, after: int, order: Order) -> float:
        if account.kind == "S":
            price = order.price if order.price_type == "LMT" else contract.price
            return price * order.quantity * self._unit(order) if order.action == "Buy" else 0.0
        return abs(after) * contract.margin

    @staticmethod
    def _unit(order: Order) -> int:
        return 1000 if order.security_type == "STK" and order.lot == "Common" else 1

    def _match(self, order: Order) -> list[Event]:
        price, left = self.listed[order.code].price, order.left
        crosses = order.price_type == "MKT" or (
            price <= order.limit if order.action == "Buy" else price >= order.limit
        )
        if crosses and left > 0:
            return [self._deal(order, left, price)]
        if order.time_in_force != "ROD":
            order.canceled, order.status = order.canceled + left, "Cancelled"
            return [order_event(self._event_id(), order, "Cancel", "00", "")]
        return []

    def fill(self, order_id: str, quantity: int, *, tell: bool = True) -> None:
        """A part of a resting order trades at its limit."""
        with self.lock:
            order = self.orders[order_id]
            event = self._deal(order, quantity, order.limit)
        if tell:
            self._tell([event])

    def _deal(self, order: Order, quantity: int, price: float) -> Event:
        self._number += 1
        order.deals.append(
            {
                "seq": f"{self._number:06d}", "price": price, "quantity": quantity,
                "ts": datetime.now(UTC).timestamp(),
            }
        )  # fmt: skip
        order.status = "Filled" if order.left == 0 else "PartFilled"
        account, contract = self.accounts[order.account], self.listed[order.code]
        signed = quantity * self._unit(order) * (1 if order.action == "Buy" else -1)
        held, average = account.held.get(order.code, (0, 0.0))
        closing = min(abs(held), abs(signed)) if held * signed < 0 else 0
        gain = closing * (price - average) * (1 if held > 0 else -1) * contract.multiplier
        if account.kind == "S":
            account.cash -= signed * price
        else:
            account.cash += gain
        after = held + signed
        if held * signed >= 0:
            average = (held * average + signed * price) / after
        elif held * after < 0:
            average = price
        account.held[order.code] = (after, average)
        return deal_event(self._event_id(), order, order.deals[-1])

    def _cancel(self, order_id: str) -> tuple[Any, list[Event]]:
        order = self.orders[order_id]
        if order.status not in LIVE:
            event = order_event(self._event_id(), order, "Cancel", "99", "委託已成交或已刪除")
            return order_row(order), [event]
        before = order_row(order)
        order.canceled, order.status = order.canceled + order.left, "Cancelled"
        return before, [order_event(self._event_id(), order, "Cancel", "00", "")]

    def _update(self, order_id: str, price: float) -> tuple[Any, list[Event]]:
        order = self.orders[order_id]
        if order.status not in LIVE:
            return order_row(order), [
                order_event(self._event_id(), order, "UpdatePrice", "99", "無法改價")
            ]
        order.modified_price = price
        return order_row(order), [
            order_event(self._event_id(), order, "UpdatePrice", "00", ""), *self._match(order)
        ]  # fmt: skip

    # -------------------------------------------------------------- questions

    def positions(self, account: str) -> list[dict[str, Any]]:
        with self.lock:
            self._count_question()
            return [
                {
                    "id": index, "code": code, "direction": "Buy" if qty > 0 else "Sell",
                    "quantity": abs(qty), "price": average,
                    "last_price": self.listed[code].price, "pnl": self._profit(code, qty, average),
                }
                for index, (code, (qty, average)) in enumerate(self.accounts[account].held.items())
                if qty
            ]  # fmt: skip

    def margin(self, account: str) -> dict[str, float]:
        with self.lock:
            self._count_question()
            held = self.accounts[account].held.items()
            opened = sum(self._profit(code, qty, average) for code, (qty, average) in held)
            used = sum(abs(qty) * self.listed[code].margin for code, (qty, _) in held)
            equity = self.accounts[account].cash + opened
            return {
                "equity": equity, "available_margin": equity - used, "initial_margin": used,
                "future_open_position": opened,
            }  # fmt: skip

    def balance(self, account: str) -> dict[str, Any]:
        with self.lock:
            self._count_question()
            return {"acc_balance": self.accounts[account].cash, "errmsg": "", "date": ""}

    def snapshots(self, codes: list[str]) -> list[dict[str, Any]]:
        with self.lock:
            return [
                {
                    "code": code, "ts": time.time_ns(), "close": self.listed[code].price,
                    "buy_price": self.listed[code].price, "sell_price": self.listed[code].price,
                }
                for code in codes
            ]  # fmt: skip

    def contracts(self) -> list[dict[str, Any]]:
        return [asdict(each) for each in self.listed.values()]

    def _count_question(self) -> None:
        self._not_banned()
        if not self.limits.accounting.count(self._now()):
            self.limits.ban(self._now())
            raise Refused("SystemMaintenance", "503: please log in again after 1 minute")

    def _profit(self, code: str, qty: int, average: float) -> float:
        return qty * (self.listed[code].price - average) * self.listed[code].multiplier

    def _tell(self, events: list[Event]) -> None:
        if events:
            for connection in list(self.connections):
                connection.tell(events)

    def _event_id(self) -> str:
        self._number += 1
        return f"ev-{self._number}"
