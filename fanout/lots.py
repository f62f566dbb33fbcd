"""The unit in which the lots of a situation are counted, as whole numbers. Pure."""

from __future__ import annotations

from typing import NamedTuple

from fanout.exact import Column, Whole, at_scale, one, times
from fanout.numbers import Numbers
from fanout.ports import Instrument


class Lots(NamedTuple):
    """The unit in which a situation's lots are counted, fine enough for the lot step and every position."""

    scale: int
    step: int

    def of_steps(self, steps: Whole) -> Column:
        return Column(times(Column(steps, 0), self.step).values, self.scale)

    def fine(self, column: Column) -> Whole:
        return at_scale(column, self.scale).values


def lots_of(instrument: Instrument, numbers: Numbers) -> Lots:
    """The unit of these accounts and this instrument."""
    step = one(instrument.lot_step)
    scale = max(step.scale, numbers.get("position").scale)
    return Lots(scale, at_scale(step, scale).values)
