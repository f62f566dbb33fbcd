"""The oracle's position table, targets and expectations: what an account is to do."""

from __future__ import annotations

from fractions import Fraction as F
from typing import Any

from tests.oracle.sizes import OWN, Refused, Sizes, to_steps


class Moves(Sizes):
    """An account, and what the signal wants of its position."""

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
        if wanted not in (None, sig.action):
            if sign == 0:
                return {"reason": "no_position"}
            if mine == sig.action:
                return {"reason": "opposite_position"}
            return {"side": sig.action, "close": "part", "open": None}
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
