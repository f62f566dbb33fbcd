"""What a plan must be, account by account, by fractions alone: slow, and it shares no arithmetic with the product.

Written from spec signal.md and sizing.md, and from the decisions that docs/sizing.md states. It knows
the random worlds of tests/worlds.py: no windows, no halts, no symbol maps.
"""

from __future__ import annotations

from fractions import Fraction as F
from math import ceil, floor, gcd, lcm
from typing import Any

from fanout.market import AccountNow, Market, Usage
from fanout.signal import Signal
from tenancy.snapshot import Snapshot, Subscribed

Legs = tuple[tuple[str, F, bool, F | None, F | None], ...]
"""Side, lots, reduce only, price, stop price."""
Verdict = tuple[str, Legs]
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


class Account:
    """One account under one signal."""

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
            "buy": F(used.others_resting_buy),
            "sell": F(used.others_resting_sell),
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

    # ------------------------------------------------------------ what is to be done

    def asked(self) -> tuple[F | None, str]:
        target = self.sig.target_position
        if target is None:
            q = self.sig.quantity
            return (None if q is None else F(q)), self.sig.quantity_type
        percent = self.sig.target_position_type == "percent_of_equity"
        return abs(F(target)), "percent_of_equity" if percent else "fixed_quantity"

    def table(self, pos: F) -> dict[str, Any]:
        """The position table: {'reason'} or {'side', 'close': None|'whole'|'part', 'open': None|'size'|'held'}."""
        sig, sign = self.sig, (pos > 0) - (pos < 0)
        mine = {1: "buy", -1: "sell"}.get(sign)
        against = {1: "sell", -1: "buy"}.get(sign)
        wanted = {"bullish": "buy", "long": "buy", "bearish": "sell", "short": "sell"}.get(
            sig.sentiment or ""
        )
        part = "part" if sig.quantity is not None else "whole"
        if sig.action in ("exit", "add", "reverse") and sign == 0:
            return {"reason": "no_position"}
        if sig.action == "exit":
            return {"side": against, "close": part, "open": None}
        if sig.action == "add":
            if wanted not in (None, mine):
                return {"reason": "opposite_position"}
            return {"side": mine, "close": None, "open": "size"}
        if sig.action == "reverse":
            if sig.sentiment == "flat":
                return {"side": against, "close": "whole", "open": None}
            if wanted == mine:
                return {"reason": "position_exists"}
            return {
                "side": against,
                "close": "whole",
                "open": "held" if part == "whole" else "size",
            }
        if sig.sentiment == "flat":
            if mine in (None, sig.action):
                return {"reason": "no_position"}
            return {"side": sig.action, "close": part, "open": None}
        if sign == 0:
            return {"side": sig.action, "close": None, "open": "size"}
        if mine == sig.action:
            if not self.set.allow_add_to_position.value:
                return {"reason": "position_exists"}
            return {"side": sig.action, "close": None, "open": "size"}
        swap = "size" if self.set.allow_side_swap.value else None
        return {"side": sig.action, "close": "whole", "open": swap}

    def decided(self) -> dict[str, Any]:
        """The move; one towards a target has its lots under `amount`."""
        expected = self.sig.expected_position
        if expected is None:
            return self.as_sent()
        e_sign = (expected > 0) - (expected < 0)
        q, mode, source = self.quantity(abs(F(expected)), "fixed_quantity")
        scaled = mode in ("multiplier", "equity_ratio") and source in OWN
        same = source == "signal" and self.asked()[1] == "fixed_quantity"
        e: F | None
        if e_sign == 0:
            e, fits = F(0), self.pos == 0
        elif same or scaled:
            size = abs(F(expected)) if same else abs(F(expected)) * q
            if mode == "equity_ratio":
                size = self.by_equity(size)
            e = e_sign * to_steps(size, self.step, self.set.rounding.value) * self.step
            fits = e == self.pos
        else:
            e, fits = None, (self.pos > 0) - (self.pos < 0) == e_sign
        if fits:
            return self.as_sent()
        if self.set.position_mismatch.value == "refuse":
            return {"reason": "position_mismatch"}
        if self.sig.target_position is not None:
            return self.as_sent()
        after = self.table(F(e_sign))
        if after.get("reason") == "opposite_position":
            return after
        if "reason" in after:
            return self.towards(F(0) if e_sign == 0 else self.known(e))
        if after["close"] == "whole" and after["open"] is None:
            return self.towards(F(0))
        if after["open"] == "held":
            return self.towards(-self.known(e))
        side = 1 if after["side"] == "buy" else -1
        adds = after["close"] is None and e_sign != 0
        relative = after["close"] == "part" or adds
        subtracts = after["close"] == "whole" and self.set.subtract_exit_quantity.value
        if (relative or subtracts) and e is None:
            return {"reason": "position_mismatch"}
        if self.is_block():
            return {"reason": "quantity_type_unsupported"}
        towards = "buy" if (e_sign if after["close"] == "part" else side) > 0 else "sell"
        size = self.steps(*self.asked(), towards, opens=True) * self.step
        if after["close"] == "part":
            assert e is not None
            return self.towards(e_sign * max(abs(e) - size, F(0)))
        if after["close"] is None:
            return self.towards((e or F(0)) + side * size)
        held = abs(self.known(e)) if subtracts else F(0)
        return self.towards(side * max(size - held, F(0)))

    @staticmethod
    def known(e: F | None) -> F:
        if e is None:
            raise Refused("position_mismatch")
        return e

    def is_block(self) -> bool:
        return self.quantity(*self.asked())[1].startswith("block")

    def as_sent(self) -> dict[str, Any]:
        target = self.sig.target_position
        if target is None:
            return self.table(self.pos)
        if target == 0:
            return self.towards(F(0))
        sign = 1 if target > 0 else -1
        if self.is_block():
            return {"reason": "quantity_type_unsupported"}
        side = "buy" if sign > 0 else "sell"
        return self.towards(sign * self.steps(*self.asked(), side, opens=True) * self.step)

    def towards(self, target: F) -> dict[str, Any]:
        pos = self.pos
        if target == pos:
            return {"reason": "on_target"}
        if pos == 0 or (target * pos > 0 and abs(target) > abs(pos)):
            side = "buy" if target > pos else "sell"
            return {"side": side, "close": None, "open": "amount", "amount": abs(target - pos)}
        side = "sell" if pos > 0 else "buy"
        if target == 0:
            return {"side": side, "close": "whole", "open": None, "amount": F(0)}
        if target * pos > 0:
            return {"side": side, "close": "part", "open": None, "amount": abs(pos - target)}
        opens = "amount" if self.set.allow_side_swap.value else None
        return {"side": side, "close": "whole", "open": opens, "amount": abs(target)}

    # ------------------------------------------------------------ may it, and how much of it

    def verdict(self, block: int | None = None) -> Any:
        """(reason, legs), or a dict: the account takes part in a block, and waits for its steps."""
        try:
            return self._verdict(block)
        except Refused as refused:
            return str(refused), ()

    def _verdict(self, block: int | None) -> Any:
        doubt = self.now.in_doubt
        if doubt and (not self.reduces or self.shared):
            return "in_doubt", ()
        try:
            move = self.decided()
        except Refused as refused:
            move = {"reason": str(refused)}
        if "reason" in move:
            return ("in_doubt" if doubt else move["reason"]), ()
        side, opens = move["side"], move["open"] is not None
        if opens:
            self.may_open(side, doubt)
        for leg_opens in ([False] if move["close"] else []) + ([True] if opens else []):
            self.prices(side, opens=leg_opens)
        order_type = self.order_type(opens=opens)
        price = self.price(order_type)
        if opens and self.inst.min_notional and price is None:
            raise Refused("no_price")
        aimed = "amount" in move
        steps, whole = 0, False
        if aimed:
            steps = floor(move["amount"] / self.step)
        elif move["open"] == "held":
            steps = floor(abs(self.pos) / self.step)
        elif opens or move["close"] == "part":
            _, mode, source = self.quantity(*self.asked())
            scales = mode in ("multiplier", "equity_ratio")
            whole = not opens and source != "signal" and not scales
            if not whole and mode.startswith("block"):
                if block is None:
                    return self.share(mode)
                steps = block
            elif not whole:
                steps = self.steps(*self.asked(), side, opens=opens)
        held, lots = abs(self.pos), steps * self.step
        closing = F(0)
        minimum = F(self.inst.min_qty)
        least = max(1, ceil(minimum / self.step)) * self.step
        if move["close"] == "whole" or (move["close"] and whole):
            closing = held
        elif move["close"] == "part":
            closing = min(held, move["amount"] if aimed else lots)
            if closing < least and closing < held:
                closing = min(held, least) if self.set.below_minimum.value == "raise" else F(0)
        opening, reason = 0, None
        if opens:
            opening, reason = self.opened(
                steps, closing, side, order_type, price, aimed or move["open"] == "held"
            )
        if reason is not None:
            cuts = self.row.limits.over_limit.value == "cut" and reason in CUTTING
            if not (cuts and closing > 0):
                return reason, ()
            opening = 0
        legs = []
        if closing > 0:
            net = (self.own + self.others) * (1 if self.pos > 0 else -1)
            legs.append(
                (side, closing, net >= closing or not self.shared, *self.sent(side, opens=False))
            )
        if opening > 0:
            legs.append((side, opening * self.step, False, *self.sent(side, opens=True)))
        if not legs:
            swap = move["close"] == "whole" and not opens
            assert not swap
            return "below_minimum", ()
        waits = self.set.needs_approval.value
        return ("awaits_approval" if waits else "order"), tuple(legs)

    def may_open(self, side: str, doubt: bool) -> None:
        if doubt:
            raise Refused("in_doubt")
        if self.set.direction.value == {"buy": "short", "sell": "long"}[side]:
            raise Refused("direction_not_allowed")
        flat = self.sig.bid_ask_spread_filter
        share = self.set.max_spread_percent.value
        if flat is None and share is None:
            return
        if self.inst.bid is None:
            raise Refused("no_quote")
        bid, ask = F(self.inst.bid), F(self.inst.ask)
        if flat is not None and ask - bid > F(flat):
            raise Refused("spread_too_wide")
        if share is not None and (ask - bid) / ((ask + bid) / 2) * 100 > F(share):
            raise Refused("spread_too_wide")

    def prices(self, side: str, *, opens: bool) -> dict[str, F]:
        order_type = self.order_type(opens=opens)
        tick, market = F(self.inst.tick), self.mark
        up = side == "buy"
        found = {}
        if order_type in ("limit", "stop_limit"):
            price = F(self.sig.limit_price) if self.sig.limit_price else market
            if price is None:
                raise Refused("no_price")
            found["price"] = (floor(price / tick) if up else ceil(price / tick)) * tick
        if order_type in ("stop", "stop_limit"):
            price = F(self.sig.stop_price) if self.sig.stop_price else market
            if price is None:
                raise Refused("no_price")
            found["stop"] = (ceil(price / tick) if up else floor(price / tick)) * tick
        if order_type == "trailing_stop":
            if market is None:
                raise Refused("no_price")
            trail = market * F(self.sig.trail_percent) / 100
            price = market + trail if up else market - trail
            found["stop"] = (ceil(price / tick) if up else floor(price / tick)) * tick
        if any(price <= 0 for price in found.values()):
            raise Refused("no_price")
        return found

    def sent(self, side: str, *, opens: bool) -> tuple[F | None, F | None]:
        found = self.prices(side, opens=opens)
        return found.get("price"), found.get("stop")

    def opened(
        self, steps: int, closing: F, side: str, order_type: str, price: F | None, plain: bool
    ) -> tuple[int, str | None]:
        """Steps that are opened, and the limit that refused the rest."""
        if self.set.subtract_exit_quantity.value and not plain and closing > 0:
            steps = floor(max(steps * self.step - abs(self.pos), F(0)) / self.step)
        least = F(self.inst.min_qty)
        if self.inst.min_notional:
            assert price is not None
            least = max(least, F(self.inst.min_notional) / (price * F(self.inst.multiplier)))
        fewest, most = max(1, ceil(least / self.step)), floor(F(self.inst.max_qty) / self.step)
        if steps < fewest:
            steps = fewest if self.set.below_minimum.value == "raise" else 0
        elif steps > most:
            steps = most
        if steps == 0:
            return 0, None
        return self.limited(steps, fewest, closing, side, order_type, price)

    def limited(
        self, steps: int, fewest: int, closing: F, side: str, order_type: str, price: F | None
    ) -> tuple[int, str | None]:
        limits, used = self.row.limits, self.usage
        cuts = limits.over_limit.value == "cut"
        if limits.max_orders_per_minute is not None:
            if used is None:
                return 0, "usage_unknown"
            if used.orders_last_minute + 1 + (closing > 0) > limits.max_orders_per_minute.value:
                return 0, "max_orders_per_minute"
        if limits.max_daily_loss is not None:
            if used is None or used.loss_today is None or used.risk_open is None:
                return 0, "usage_unknown"
            risk = (self.lot_risk(side, order_type, opens=True) or F(0)) * steps * self.step
            bound, lost = F(limits.max_daily_loss.value), F(used.loss_today)
            if lost >= bound or lost + F(used.risk_open) + risk > bound:
                return 0, "max_daily_loss"
        sign = 1 if side == "buy" else -1
        mine = max(sign * self.own + closing, F(0)) + self.resting[side]
        everyone = max(sign * (self.own + self.others) + closing, F(0)) + self.resting[side]
        everyone += self.other_resting[side]
        for name, reason, in_money, before in (
            ("max_order_quantity", "max_order_quantity", False, F(0)),
            ("max_order_notional", "max_order_notional", True, F(0)),
            ("max_position_quantity", "max_position_quantity", False, everyone),
            ("strategy_position_quantity", "max_position_quantity", False, mine),
            ("max_position_notional", "max_position_notional", True, everyone),
            ("strategy_position_notional", "max_position_notional", True, mine),
            ("max_leverage", "max_leverage", True, everyone),
        ):
            limit = getattr(limits, name)
            if limit is None:
                continue
            bound = F(limit.value)
            if name == "max_leverage":
                if used is None or used.worth_elsewhere is None:
                    return 0, "usage_unknown"
                bound = bound * self.equity() - F(used.worth_elsewhere)
            lot = self.lot_worth(price) if in_money else F(1)
            if (steps * self.step + before) * lot <= bound:
                continue
            if not cuts:
                return 0, reason
            while_room = floor((bound / lot - before) / self.step)
            steps = max(while_room, 0)
            if steps < fewest or steps == 0:
                return 0, reason
        collar = limits.price_collar_percent
        sent = self.prices(side, opens=True).get("price")
        if collar is not None and sent is not None:
            if self.mark is None:
                return 0, "no_price"
            if abs(sent - self.mark) * 100 > F(collar.value) * self.mark:
                return 0, "price_collar"
        return steps, None

    # ------------------------------------------------------------ blocks

    def share(self, mode: str) -> dict[str, F]:
        if mode == "block_equal":
            return {"weight": F(1)}
        if mode == "block_ratio":
            return {"weight": F(self.set.block_ratio.value)}
        if mode == "block_net_liq":
            amount = self.equity()
        else:
            if self.now.available is None:
                raise Refused("no_available")
            amount = F(self.now.available)
        currency = self.row.account.currency
        if all(row.account.currency == currency for row in self.snap.rows):
            return {"weight": amount}
        common = self.snap.strategy.settings.reference_currency or self.inst.currency
        rate = fx(self.rates, currency, common)
        if rate is None:
            raise Refused("no_fx_rate")
        return {"weight": amount * rate}


CUTTING = {
    "max_order_quantity", "max_order_notional", "max_position_quantity", "max_position_notional",
    "max_leverage",
}  # fmt: skip
EXCUSED = {"position_exists", "on_target"}


def plan_of(sig: Signal, snap: Snapshot, market: Market, order: list[int]) -> list[Verdict]:
    """Every row's verdict, by row. `order`: the rows in fan-out order."""
    accounts = [Account(sig, snap, market, row) for row in snap.rows]
    verdicts = [account.verdict() for account in accounts]
    members = [row for row in order if isinstance(verdicts[row], dict)]
    if members:
        steps = split(
            [verdicts[row]["weight"] for row in members], accounts, members, F(sig.quantity)
        )
        for row, own in zip(members, steps, strict=True):
            verdicts[row] = accounts[row].verdict(block=own)
    share = snap.strategy.settings.quorum_percent
    opening = [_opens(account, legs) for account, (_, legs) in zip(accounts, verdicts, strict=True)]
    against = [not v[1] and v[0] not in EXCUSED for v in verdicts]
    if share and sum(opening) * 100 < share * (sum(opening) + sum(against)):
        verdicts = [
            ("quorum_not_met", ()) if opens else verdict
            for verdict, opens in zip(verdicts, opening, strict=True)
        ]
    return verdicts


def _opens(account: Account, legs: Legs) -> bool:
    """Two legs close and open; a single one opens unless it is against the position."""
    if len(legs) == 2:
        return True
    return any((side == "buy") == (account.pos > 0) or account.pos == 0 for side, *_ in legs)


def split(weights: list[F], accounts: list[Account], members: list[int], total: F) -> list[int]:
    """Largest remainder over units that every member can trade; ties by the fan-out order."""
    unit = F(0)
    for row in members:
        step = accounts[row].step
        unit = (
            step
            if unit == 0
            else F(lcm(unit.numerator, step.numerator), gcd(unit.denominator, step.denominator))
        )
    units, together = floor(total / unit), sum(weights)
    if together == 0:
        return [0] * len(members)
    exact = [weight * units / together for weight in weights]
    whole = [floor(each) for each in exact]
    first = sorted(range(len(members)), key=lambda i: (whole[i] - exact[i], i))
    for index in first[: units - sum(whole)]:
        whole[index] += 1
    return [int(n * unit / accounts[row].step) for n, row in zip(whole, members, strict=True)]
