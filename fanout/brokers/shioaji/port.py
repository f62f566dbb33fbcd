"""Exactly what we use of the SDK `shioaji` 1.7: its client, the orders it takes, what it answers, what it raises.

The session (session.py) speaks to this and to nothing else of the SDK, so that a scripted exchange can
stand in for it (loadtest/exchanges/shioaji). tests/contract/test_shioaji_conformance.py holds both
to the installed package: each signature, each enum's word, each exception, each field.

All times in `timeout` are milliseconds. Prices are floats there, and nowhere else in the product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol


class Word(Protocol):
    """A member of one of the SDK's enums."""

    @property
    def value(self) -> str: ...


class SdkAccount(Protocol):
    account_type: Word
    person_id: str
    broker_id: str
    account_id: str
    signed: bool


class SdkContract(Protocol):
    """A stock, a future or an option of the contract table."""

    security_type: Word
    exchange: Word
    code: str
    symbol: str
    name: str
    category: str
    delivery_date: str
    strike_price: float
    option_right: Word
    underlying_kind: str
    unit: float
    multiplier: int
    limit_up: float
    limit_down: float
    reference: float
    target_code: str


class SdkOrder(Protocol):
    """As it came back: `OrderResult`."""

    id: str
    seqno: str
    ordno: str
    action: Word
    price: float
    quantity: int
    price_type: Word | None
    time_in_force: Word | None
    custom_field: str | None
    account: SdkAccount | None
    order_lot: Word | None


class SdkDeal(Protocol):
    seq: str
    price: float
    quantity: int
    ts: float


class SdkStatus(Protocol):
    """`OrderStatusInfo`."""

    id: str
    status: Word
    status_code: str | None
    order_datetime: datetime | None
    msg: str | None
    modified_price: float | None
    order_quantity: int | None
    deal_quantity: int | None
    cancel_quantity: int | None
    deals: Sequence[SdkDeal]


class SdkTrade(Protocol):
    contract: Any
    order: SdkOrder
    status: SdkStatus


class SdkHealth(Protocol):
    """Of the SDK's own copy of the trades: whether it can be trusted."""

    @property
    def state(self) -> Word: ...
    @property
    def reasons(self) -> Sequence[Any]: ...


class SdkUsage(Protocol):
    connections: int
    bytes: int
    limit_bytes: int


class SdkPosition(Protocol):
    code: str
    direction: Word
    quantity: int
    price: float
    last_price: float
    pnl: float


class SdkMargin(Protocol):
    equity: float
    available_margin: float
    initial_margin: float
    future_open_position: float


class SdkBalance(Protocol):
    acc_balance: float
    errmsg: str


class SdkSnapshot(Protocol):
    code: str
    ts: int
    close: float
    buy_price: float
    sell_price: float


class SdkContracts(Protocol):
    """The table: `stocks`, `futures`, `options`, each read by code with `get`."""

    @property
    def stocks(self) -> Any: ...
    @property
    def futures(self) -> Any: ...
    @property
    def options(self) -> Any: ...


class Sdk(Protocol):
    """`shioaji.Shioaji`. It dials out when it is made and when it logs in."""

    def login(
        self,
        api_key: str,
        secret_key: str,
        subscribe_trade: bool = True,
        receive_window: int = 30000,
        force_refresh: bool = False,
    ) -> list[SdkAccount]: ...
    def logout(self) -> None: ...
    def activate_ca(self, ca_path: str, ca_passwd: str, person_id: str | None = None) -> bool: ...
    def usage(self, timeout: int | None = 30000, cb: Any = None) -> SdkUsage: ...
    def fetch_contracts(
        self,
        contract_download: bool | None = False,
        contracts_timeout: int | None = 30000,
        contracts_cb: Any = None,
    ) -> SdkContracts: ...
    @property
    def contracts(self) -> SdkContracts: ...
    def snapshots(
        self, contracts: list[Any], timeout: int | None = 30000, cb: Any = None
    ) -> list[SdkSnapshot]: ...
    def place_order(
        self, contract: Any, order: Any, timeout: int | None = 30000, cb: Any = None
    ) -> SdkTrade: ...
    def update_order(
        self,
        trade: Any,
        price: float | None = None,
        qty: int | None = None,
        timeout: int | None = 30000,
        cb: Any = None,
    ) -> SdkTrade: ...
    def cancel_order(self, trade: Any, timeout: int | None = 30000, cb: Any = None) -> SdkTrade: ...
    def update_status(
        self,
        account: Any = None,
        *,
        trade: Any = None,
        timeout: int | None = 30000,
        cb: Any = None,
    ) -> None: ...
    def list_trades(self) -> list[SdkTrade]: ...
    def trade_cache_health(self, account: Any) -> SdkHealth: ...
    def list_positions(
        self, account: Any = None, unit: Any = None, timeout: int | None = 30000, cb: Any = None
    ) -> list[SdkPosition]: ...
    def margin(
        self, account: Any = None, timeout: int | None = 30000, cb: Any = None
    ) -> SdkMargin: ...
    def account_balance(
        self, account: Any = None, timeout: int | None = 30000, cb: Any = None
    ) -> SdkBalance: ...
    def set_order_callback(self, callback: Callable[[Any, Mapping[str, Any]], None]) -> None: ...
    def set_session_down_callback(self, callback: Callable[[], None]) -> None: ...


class SdkModule(Protocol):
    """The module itself: `import shioaji`, or what the setting `sdk` names in its place."""

    @property
    def Shioaji(self) -> Callable[..., Sdk]: ...
    @property
    def StockOrder(self) -> Callable[..., Any]: ...
    @property
    def FuturesOrder(self) -> Callable[..., Any]: ...


WORDS: Mapping[str, tuple[str, ...]] = {
    "Action": ("Buy", "Sell"),
    "StockPriceType": ("LMT", "MKT"),
    "FuturesPriceType": ("LMT", "MKT"),
    "TimeInForce": ("ROD", "IOC", "FOK"),
    "StockOrderLot": ("Common", "IntradayOdd"),
    "StockOrderCond": ("Cash",),
    "FuturesOCType": ("Auto", "Cover"),
    "OrderStatus": (
        "Cancelled", "Filled", "PartFilled", "Inactive", "Failed",
        "PendingSubmit", "PreSubmitted", "Submitted",
    ),
    "OrderState": ("SORDER", "SDEAL", "FORDER", "FDEAL"),
    "OpType": ("New", "Cancel", "UpdatePrice", "UpdateQty", "Reject"),
    "TradeCacheHealthState": ("Unknown", "Healthy", "Degraded"),
    "Unit": ("Common", "Share"),
    "SecurityType": ("STK", "FUT", "OPT"),
}  # fmt: skip
"""Each enum's words that we send or understand."""

RAISED: Mapping[str, str] = {
    "TokenError": "AuthError",
    "AuthError": "ShioajiError",
    "SystemMaintenance": "ShioajiError",
    "ServerError": "ShioajiError",
    "ValidationError": "ShioajiError",
    "BadRequestError": "ShioajiError",
    "CaError": "ShioajiError",
    "AccountNotSignError": "ShioajiError",
    "AccountNotProvideError": "ShioajiError",
    "ShioajiValueError": "ShioajiError",
    "ShioajiTypeError": "ShioajiError",
    "OrderOutcomeUnknownError": "ResponseError",
    "ResponseError": "ShioajiError",
    "ShioajiConnectionError": "ShioajiError",
    "ShioajiTimeoutError": "ShioajiError",
    "ShioajiError": "Exception",
}
"""Each exception that errors.py sorts, and what it is a kind of. Looked up by name: the SDK is not imported."""
