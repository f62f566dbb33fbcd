"""The module that stands where `shioaji` stands: its client on a scripted exchange, its own orders and errors.

`Shioaji` goes to the exchange at the Unix socket named by SHIOAJI_EXCHANGE; `Sdk(link)` to one in this
process. Orders, enums and exceptions are the installed package's, which dials out only when its own
`Shioaji` is made.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import shioaji as real
from shioaji import FuturesOrder as FuturesOrder
from shioaji import StockOrder as StockOrder

from loadtest.exchanges.shioaji import objects
from loadtest.exchanges.shioaji.exchange import Refused
from loadtest.exchanges.shioaji.showing import Event

CA_PASSWD = "ca-password"  # noqa: S105 - of no certificate
FINAL = ("Filled", "Cancelled", "Failed")


class Link(Protocol):
    """The way to the exchange."""

    def open(self, tell: Callable[[list[Event]], None], down: Callable[[], None]) -> None: ...
    def call(self, op: str, *args: Any) -> Any: ...
    def close(self) -> None: ...


class Category:
    """contracts.futures and its like: by code, and by root."""

    def __init__(self, rows: list[dict[str, Any]], kind: str) -> None:
        self._rows = [row for row in rows if row["kind"] == kind]

    def get(self, key: str, default: Any = None) -> Any:
        for row in self._rows:
            if row["code"] == key:
                return objects.contract(row)
        group = [objects.contract(row) for row in self._rows if row["root"] == key]
        return group or default

    def __iter__(self) -> Iterator[Any]:
        return (objects.contract(row) for row in self._rows)


class Contracts:
    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.stocks, self.futures, self.options = (
            Category(rows, kind) for kind in ("stock", "future", "option")
        )


class Sdk:
    """The surface of `shioaji.Shioaji` that is used, on a link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._accounts: dict[str, Any] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._contracts = Contracts([])
        self._health: dict[str, Any] = {}
        self._order_callback: Callable[[Any, Any], None] | None = None
        self._down_callback: Callable[[], None] | None = None
        self._events: queue.SimpleQueue[list[Event] | str | None] = queue.SimpleQueue()
        self._teller = threading.Thread(target=self._pass_on, name="sdk-events", daemon=True)

    # -------------------------------------------------------------- session

    def login(
        self,
        api_key: str,
        secret_key: str,
        subscribe_trade: bool = True,
        receive_window: int = 30000,
        force_refresh: bool = False,
    ) -> list[Any]:
        self._link.open(self._events.put, lambda: self._events.put("down"))
        rows = self._call("login", api_key, secret_key)
        self._accounts = {
            f"{row['broker_id']}-{row['account_id']}": objects.account(row) for row in rows
        }
        self._teller.start()
        return list(self._accounts.values())

    def logout(self) -> None:
        self._events.put(None)
        self._link.close()

    def activate_ca(self, ca_path: str, ca_passwd: str, person_id: str | None = None) -> bool:
        with open(ca_path, "rb") as file:
            if not file.read(1):
                raise real.CaError("the certificate is empty")
        if ca_passwd != CA_PASSWD:
            raise real.CaPasswordError("the certificate's password is wrong")
        return True

    def usage(self, timeout: int | None = 30000, cb: Any = None) -> Any:
        return objects.UsageOut(**self._call("usage"))

    # -------------------------------------------------------------- market

    def fetch_contracts(
        self,
        contract_download: bool | None = False,
        contracts_timeout: int | None = 30000,
        contracts_cb: Any = None,
    ) -> Any:
        self._contracts = Contracts(self._call("contracts"))
        return self._contracts

    @property
    def contracts(self) -> Any:
        return self._contracts

    def snapshots(
        self, contracts: list[Any], timeout: int | None = 30000, cb: Any = None
    ) -> list[Any]:
        rows = self._call("snapshots", [contract.code for contract in contracts])
        return [objects.Snapshot(**row) for row in rows]

    # -------------------------------------------------------------- orders

    def place_order(
        self, contract: Any, order: Any, timeout: int | None = 30000, cb: Any = None
    ) -> Any:
        stock = isinstance(order, real.StockOrder)
        wanted = {
            "account": f"{order.account.broker_id}-{order.account.account_id}",
            "code": contract.code,
            "security_type": getattr(contract.security_type, "value", contract.security_type),
            "action": order.action.value,
            "price": order.price,
            "quantity": order.quantity,
            "price_type": order.price_type.value,
            "time_in_force": order.time_in_force.value,
            "lot": order.order_lot.value if stock else "",
            "octype": "" if stock else order.octype.value,
            "custom_field": order.custom_field or "",
        }
        return self._keep(self._call("place", wanted))

    def update_order(
        self,
        trade: Any,
        price: float | None = None,
        qty: int | None = None,
        timeout: int | None = 30000,
        cb: Any = None,
    ) -> Any:
        return self._keep(self._call("update", trade.order.id, price))

    def cancel_order(self, trade: Any, timeout: int | None = 30000, cb: Any = None) -> Any:
        return self._keep(self._call("cancel", trade.order.id))

    def update_status(
        self,
        account: Any = None,
        *,
        trade: Any = None,
        timeout: int | None = 30000,
        cb: Any = None,
    ) -> None:
        whose = trade.order.account if trade is not None else account
        rows = self._call("status", f"{whose.broker_id}-{whose.account_id}")
        with self._lock:
            for row in rows:
                self._rows[row["id"]] = row

    def list_trades(self) -> list[Any]:
        with self._lock:
            return [objects.trade(row, self._accounts) for row in self._rows.values()]

    def trade_cache_health(self, account: Any) -> Any:
        return objects.TradeCacheHealth(
            getattr(real.TradeCacheHealthState, self._call("health")), []
        )

    def _keep(self, row: dict[str, Any]) -> Any:
        with self._lock:
            kept = self._rows.get(row["id"])
            if kept is None or _progress(row) >= _progress(kept):
                self._rows[row["id"]] = row
        return objects.trade(row, self._accounts)

    # -------------------------------------------------------------- accounts

    def list_positions(
        self, account: Any = None, unit: Any = None, timeout: int | None = 30000, cb: Any = None
    ) -> list[Any]:
        rows = self._call("positions", f"{account.broker_id}-{account.account_id}")
        return [
            objects.Position(**(row | {"direction": real.Action(row["direction"])})) for row in rows
        ]

    def margin(self, account: Any = None, timeout: int | None = 30000, cb: Any = None) -> Any:
        return objects.Margin(**self._call("margin", f"{account.broker_id}-{account.account_id}"))

    def account_balance(
        self, account: Any = None, timeout: int | None = 30000, cb: Any = None
    ) -> Any:
        row = self._call("balance", f"{account.broker_id}-{account.account_id}")
        return objects.AccountBalance(**row)

    # -------------------------------------------------------------- events

    def set_order_callback(self, callback: Callable[[Any, Any], None]) -> None:
        self._order_callback = callback

    def set_session_down_callback(self, callback: Callable[[], None]) -> None:
        self._down_callback = callback

    def _pass_on(self) -> None:
        """The SDK's own thread: its copy first, then who asked to be called."""
        while (batch := self._events.get()) is not None:
            if isinstance(batch, str):
                if self._down_callback is not None:
                    self._down_callback()
                continue
            for _, event in batch:
                if event["_row"]["account"] in self._accounts:
                    self._keep(event["_row"])
            for state, event in batch:
                if self._order_callback is not None:
                    shown = {name: value for name, value in event.items() if name != "_row"}
                    self._order_callback(real.OrderState(state), shown)

    def _call(self, op: str, *args: Any) -> Any:
        try:
            return self._link.call(op, *args)
        except Refused as refused:
            raise getattr(real, refused.name)(str(refused)) from None


def _progress(row: dict[str, Any]) -> tuple[bool, int, bool]:
    done = sum(deal["quantity"] for deal in row["deals"]) + row["canceled"]
    return row["status"] in FINAL, done, row["status"] != "PendingSubmit"


def Shioaji(
    simulation: bool | None = None, proxy: str | None = None, vpn: bool | None = None
) -> Sdk:
    """On the exchange at SHIOAJI_EXCHANGE. Refuses to guess whether it is money."""
    from loadtest.exchanges.shioaji.wire import SocketLink

    if simulation is None:
        raise real.ShioajiValueError("simulation must be said")
    return Sdk(SocketLink(os.environ["SHIOAJI_EXCHANGE"]))
