"""The oracle's verdicts: may an account trade, how much of it, and the whole strategy's split and quorum."""

from __future__ import annotations

from fractions import Fraction as F
from math import ceil, floor, gcd, lcm
from typing import Any

from fanout.market import Market
from fanout.signal import Signal
from tenancy.snapshot import Snapshot
from tests.oracle.moves import Moves
from tests.oracle.sizes import Refused, fx

Legs = tuple[tuple[str, F, bool, F | None, F | None], ...]
"""Side, lots, reduce only, price, stop price."""
Verdict = tuple[str, Legs]
OWN = ("subscription", "group")


CUTTING = {
    "max_order_quantity", "max_order_notional", "max_position_quantity", "max_position_notional",
    "max_leverage",
}  # fmt: skip
EXCUSED = {"position_exists", "on_target"}


class Account(Moves):
    """An account, judged."""

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
        everyone = max(sign * self.own + closing, F(0)) + self.resting[side]
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
