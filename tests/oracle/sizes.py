"""What a plan must be, account by account, by fractions alone: slow, and it shares no arithmetic with the product.

Written from spec signal.md and sizing.md, and from the decisions that docs/sizing.md states. It knows
the random worlds of tests/worlds.py: no windows, no halts, no symbol maps.
"""

from __future__ import annotations

from fractions import Fraction as F
from math import ceil, floor
from typing import Any

from fanout.market import AccountNow, Market, Usage
from fanout.signal import Signal
from tenancy.snapshot import Snapshot, Subscribed

OWN = ("subscription", "group")


def to_steps(lots: F, step: F, rounding: str) -> int:
    exact = lots / step
    if rounding == "up":
        return ceil(exact)
    return floor(exact + F(1, 2)) if rounding == "nearest" else floor(exact)


def fx(rates: Any, one: str, other: str) -> F | None:
    if one == other:
        return F(1)
    if f"{one}/{other}" in rates:
        return F(rates[f"{one}/{other}"])
    return 1 / F(rates[f"{other}/{one}"]) if f"{other}/{one}" in rates else None


class Refused(Exception):
    """With the reason's code."""


class Sizes:
    """One account under one signal: what it holds, and how many lots a quantity means to it."""

    def __init__(self, sig: Signal, snap: Snapshot, market: Market, row: Subscribed) -> None:
        self.sig, self.snap, self.row, self.set = sig, snap, row, row.settings
        self.inst = market.instruments[row.account.broker].find(sig.ticker, {})
        assert self.inst is not None
        self.now = market.accounts.get(row.account.account_id, AccountNow())
        self.usage: Usage | None = market.usage.get(row.account.account_id)
        used = self.usage or Usage()
        self.step = F(self.inst.lot_step)
        self.own = F(self.now.position) + F(self.now.under_way)
        self.others = F(used.others)
        self.other_resting = {
            "buy": F(used.others_long),
            "sell": F(used.others_short),
        }
        self.resting = {"buy": F(self.now.resting_buy), "sell": F(self.now.resting_sell)}
        self.shared = any([self.others, *self.other_resting.values()])
        by_account = self.set.position_basis.value == "account"
        self.pos = self.own + self.others if by_account else self.own
        self.reduces = row.account.broker in market.reduces
        self.rates = snap.tenant.fx_rates

    # ------------------------------------------------------------ values

    def quantity(self, asked: F | None, kind: str) -> tuple[F, str, str]:
        own = self.set.quantity
        scales = own.quantity_type in ("multiplier", "equity_ratio") and own.source in OWN
        if own.use_signal and asked is not None and not scales:
            return asked, kind, "signal"
        return F(own.value), own.quantity_type, own.source

    def order_type(self, *, opens: bool) -> str:
        own = self.set.order_type_entry if opens else self.set.order_type_exit
        return self.sig.order_type if own.use_signal and self.sig.order_type else own.value

    def stop(self) -> Any:
        own = self.set.stop_loss
        return self.sig.stop_loss if own.use_signal and self.sig.stop_loss else own.value

    @property
    def mark(self) -> F | None:
        for price in (self.inst.mark_price, self.inst.last_price, self.sig.signal_price):
            if price:
                return F(price)
        return None

    def price(self, order_type: str) -> F | None:
        limited = order_type in ("limit", "stop_limit") and self.sig.limit_price
        return F(self.sig.limit_price) if limited else self.mark

    def equity(self) -> F:
        said = self.said_equity()
        if said is None:
            raise Refused("no_equity")
        return max(said, F(0))

    def said_equity(self) -> F | None:
        if self.now.equity is None:
            stated = self.row.account.stated_equity
            return None if stated is None else F(stated)
        profit = self.now.unrealised if self.set.equity_basis.value != "with_unrealised" else 0
        return F(self.now.equity) - F(profit)

    def lot_worth(self, price: F | None) -> F:
        if price is None:
            raise Refused("no_price")
        rate = fx(self.rates, self.inst.currency, self.row.account.currency)
        if rate is None:
            raise Refused("no_fx_rate")
        return price * F(self.inst.multiplier) * rate

    def lot_risk(self, side: str, order_type: str, *, opens: bool) -> F | None:
        """None without a stop."""
        stop, price = self.stop(), self.price(order_type)
        if not opens or stop is None:
            return None
        if price is None:
            raise Refused("no_price")
        limited = order_type in ("limit", "stop_limit") and self.sig.limit_price
        base = F(self.sig.signal_price) if self.sig.signal_price and not limited else price
        if stop.stop_price is not None:
            away = (price - F(stop.stop_price)) * (1 if side == "buy" else -1)
            if away <= 0:
                raise Refused("no_stop")
        elif stop.amount or stop.trail_amount:
            away = F(stop.amount or stop.trail_amount)
        else:
            away = base * F(stop.percent or stop.trail_percent) / 100
        return self.lot_worth(away)

    # ------------------------------------------------------------ sizes

    def lots(self, asked: F | None, kind: str, side: str, *, opens: bool) -> F:
        """Before rounding; raises for what is missing."""
        q, mode, source = self.quantity(asked, kind)
        order_type = self.order_type(opens=opens)
        if mode == "fixed_quantity":
            return q
        if mode == "multiplier" or (mode == "equity_ratio" and source in OWN):
            if asked is None:
                raise Refused("no_quantity")
            if kind not in ("fixed_quantity", mode):
                raise Refused("quantity_type_unsupported")
            return asked * q if mode == "multiplier" else self.by_equity(asked * q)
        if mode == "equity_ratio":
            return self.by_equity(q)
        if mode == "percent_of_position":
            return abs(self.pos) * q / 100
        if mode in ("risk_dollar_amount", "risk_percent"):
            lot = self.lot_risk(side, order_type, opens=opens)
            if lot is None:
                raise Refused("no_stop")
        else:
            lot = self.lot_worth(self.price(order_type))
        if mode in ("dollar_amount", "risk_dollar_amount"):
            return q / lot
        leverage = F(self.row.account.leverage) if mode == "percent_of_equity" else 1
        return self.equity() * q / 100 * leverage / lot

    def by_equity(self, lots: F) -> F:
        settings = self.snap.strategy.settings
        if settings.reference_equity is None:
            raise Refused("no_equity")
        equity = self.equity()
        currency = settings.reference_currency or self.row.account.currency
        rate = fx(self.rates, currency, self.row.account.currency)
        if rate is None:
            raise Refused("no_fx_rate")
        return lots * equity / (F(settings.reference_equity) * rate)

    def steps(self, *args: Any, **kwargs: Any) -> int:
        return to_steps(self.lots(*args, **kwargs), self.step, self.set.rounding.value)
