"""What Gate.io says of an account: positions, equity, margin settings. Pure; raises only Unreadable.

Where an account's equity stands depends on its kind (`margin_mode` of the futures account, gate-api 7.2.161):

    0, classic                        total + unrealised_pnl: `total` is the wallet
    0 with enable_evolved_classic     cross_margin_balance, which has the unrealised profit in it
    3, unified, one currency          equity of the settlement currency in unified/accounts
    1, 2, unified, all currencies     unified_account_total_equity in unified/accounts: US dollars

A position whose mode is not the account's (settings.py) is Unreadable: signs and `reduce_only` mean
something else there.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from fanout.brokers.gate.reading import Unreadable, decode, finite, optional
from fanout.ports import BrokerPosition, Equity, PositionSide

SIDES: dict[str, PositionSide] = {"single": "net", "dual_long": "long", "dual_short": "short"}
ONE_CURRENCY = 3
ALL_CURRENCIES = (1, 2)
UNIFIED_CURRENCY = "USD"


class Position(msgspec.Struct):
    """One side of one contract. `leverage` 0 is cross, with `cross_leverage_limit`."""

    contract: str
    size: Decimal
    mode: str = "single"
    entry_price: Decimal | None = None
    unrealised_pnl: Decimal | None = None
    leverage: Decimal | None = None
    cross_leverage_limit: Decimal | None = None
    update_id: int | None = None

    @property
    def margin_mode(self) -> str | None:
        if self.leverage is None:
            return None
        return "isolated" if self.leverage else "cross"

    @property
    def own_leverage(self) -> Decimal | None:
        if self.leverage:
            return finite(self.leverage, "leverage")
        return None if not self.cross_leverage_limit else finite(self.cross_leverage_limit, "limit")


class FuturesAccount(msgspec.Struct):
    total: Decimal
    unrealised_pnl: Decimal
    available: Decimal
    currency: str
    in_dual_mode: bool = False
    position_mode: str = "single"
    margin_mode: int = 0
    enable_evolved_classic: bool = False
    cross_margin_balance: Decimal | None = None
    cross_available: Decimal | None = None
    cross_unrealised_pnl: Decimal | None = None

    @property
    def hedge(self) -> bool:
        return self.in_dual_mode or self.position_mode != "single"

    @property
    def unified(self) -> bool:
        """Whether unified/accounts has to be asked for the equity."""
        return self.margin_mode in (*ALL_CURRENCIES, ONE_CURRENCY)


class _Balance(msgspec.Struct):
    equity: Decimal
    available_margin: Decimal | None = None
    available: Decimal | None = None


class _Unified(msgspec.Struct):
    balances: dict[str, _Balance] = {}
    unified_account_total_equity: Decimal | None = None
    total_available_margin: Decimal | None = None


def positions(body: bytes, *, hedge: bool = False) -> tuple[list[BrokerPosition], int]:
    """Of one page: what is held (signed lots, in hedge mode by side), and how many rows it had.

    Raises Unreadable for a position in the other mode.
    """
    rows = decode(body, list[Position])
    return [_held(one, hedge) for one in rows if one.size], len(rows)


def _held(seen: Position, hedge: bool) -> BrokerPosition:
    side = SIDES.get(seen.mode)
    if side is None:
        raise Unreadable(f"{seen.contract} is in {seen.mode!r} mode, which is not known here")
    if (side != "net") != hedge:
        is_, not_ = ("hedge", "one_way") if side != "net" else ("one_way", "hedge")
        raise Unreadable(
            f"{seen.contract} is in {seen.mode} mode: position_mode is {not_!r} in the account's"
            f" settings; say {is_!r} there, or change the account at Gate.io"
        )
    size = finite(seen.size, "size")
    if (side == "long" and size < 0) or (side == "short" and size > 0):
        raise Unreadable(f"{seen.contract} {seen.mode} has size {size}")
    mode = seen.margin_mode
    return BrokerPosition(
        symbol=seen.contract,
        qty=size,
        avg_px=optional(seen.entry_price, "entry_price"),
        unrealised_pnl=optional(seen.unrealised_pnl, "unrealised_pnl"),
        side=side,
        margin_mode="isolated" if mode == "isolated" else "cross" if mode == "cross" else None,
        leverage=seen.own_leverage,
        version=seen.update_id,
    )


def arranged(body: bytes, *, hedge: bool) -> list[Position]:
    """One contract's margin mode and leverage: one entry, or two in hedge mode. Raises Unreadable."""
    return decode(body, list[Position]) if hedge else [decode(body, Position)]


def futures_account(body: bytes) -> FuturesAccount:
    return decode(body, FuturesAccount)


def equity(seen: FuturesAccount, now: datetime) -> Equity:
    """Of an account that is not unified. Raises Unreadable."""
    if seen.enable_evolved_classic:
        return _evolved(seen, now)
    unrealised = finite(seen.unrealised_pnl, "unrealised_pnl")
    return Equity(
        equity=finite(seen.total, "total") + unrealised,
        available=finite(seen.available, "available"),
        unrealised=unrealised,
        currency=seen.currency.upper(),
        as_of=now,
    )


def _evolved(seen: FuturesAccount, now: datetime) -> Equity:
    if seen.cross_margin_balance is None or seen.cross_available is None:
        raise Unreadable("an evolved classic account without cross_margin_balance")
    return Equity(
        equity=finite(seen.cross_margin_balance, "cross_margin_balance"),
        available=finite(seen.cross_available, "cross_available"),
        unrealised=finite(seen.cross_unrealised_pnl or Decimal(0), "cross_unrealised_pnl"),
        currency=seen.currency.upper(),
        as_of=now,
    )


def unified_equity(body: bytes, account: FuturesAccount, now: datetime) -> Equity:
    """Of a unified account; `account`: what the futures account said. Raises Unreadable."""
    seen = decode(body, _Unified)
    currency = UNIFIED_CURRENCY
    whole, free = seen.unified_account_total_equity, seen.total_available_margin
    if account.margin_mode == ONE_CURRENCY:
        currency = account.currency.upper()
        own = seen.balances.get(currency)
        whole = None if own is None else own.equity
        free = None if own is None else own.available_margin or own.available
    if whole is None or free is None:
        raise Unreadable(f"a unified account without equity in {currency}")
    return Equity(
        equity=finite(whole, "equity"),
        available=finite(free, "available"),
        unrealised=finite(account.unrealised_pnl, "unrealised_pnl"),
        currency=currency,
        as_of=now,
    )
