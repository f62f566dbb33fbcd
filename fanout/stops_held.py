"""What the stop engine watches, and how often: the vocabulary between it and who acts for it."""

from __future__ import annotations

import msgspec

from fanout.order import Order
from fanout.stops_rules import Watch
from tenancy.scope import TenantScope


class StopSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. `poll_s`: between two looks. `stale_s`: a price that is older counts for nothing."""

    poll_s: float = 0.5
    sweep_s: float = 0.5
    save_s: float = 1.0
    read_again_s: float = 5.0
    stale_s: float = 30.0
    open_window_s: float = 20.0


class Held(msgspec.Struct):
    """One held order, as the engine watches it."""

    scope: TenantScope
    order: Order
    watch: Watch
    epoch: int
    not_before: float = 0.0  # monotonic
    why: str = ""
    unsaved: bool = False

    def seen(self) -> Order:
        """The order as far as its stop has moved."""
        if self.watch.target:
            return self.order
        watch = self.watch
        return msgspec.structs.replace(
            self.order, stop_px=watch.level, best_px=watch.best, breakeven_px=watch.breakeven_at
        )
