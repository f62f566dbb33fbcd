"""Which conditional orders a broker has itself, and which the gateway must hold for it.

Asked by whoever writes an order (is it an intent, or held?), and by the stop engine (may what it
holds stand at the broker instead?). A broker is taken at its caps' word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from fanout.market import Instruments
from fanout.order import Order, OrdState, TimeInForce
from fanout.ports import Broker, Instrument

CONDITIONAL = frozenset({"stop", "stop_limit", "trailing_stop"})


class Venues:
    """The brokers of this process, as the stop engine's writers see them."""

    def __init__(
        self,
        brokers: Mapping[str, Broker],
        instruments: Callable[[], Mapping[str, Instruments]] = dict,
    ) -> None:
        self._brokers = brokers
        self._instruments = instruments

    def must_hold(self, order: Order) -> bool:
        """Whether this main order waits for a price that its broker cannot wait for."""
        broker = self._brokers.get(order.broker)
        if order.ord_type not in CONDITIONAL or order.asked_type is not None or broker is None:
            return False
        return order.ord_type not in broker.caps.ord_types

    def held_if_needed(self, order: Order) -> Order:
        """The order, `held` instead of `intent` where its broker cannot wait for its price."""
        if order.state is OrdState.INTENT and self.must_hold(order):
            return msgspec.structs.replace(order, state=OrdState.HELD)
        return order

    def stands_at_broker(self, order: Order) -> bool:
        """Whether this stop or target can stand at the broker: it has the type, and reduce-only.

        Breakeven is the gateway's own: such a stop stays with it.
        """
        broker = self._brokers.get(order.broker)
        if order.role == "main" or broker is None or order.breakeven_px is not None:
            return False
        return broker.caps.reduce_only and order.ord_type in broker.caps.ord_types

    def time_in_force(self, order: Order) -> TimeInForce:
        """Of what stands behind a position: for as long as the broker lets it."""
        broker = self._brokers.get(order.broker)
        rows = {} if broker is None else broker.caps.times_in_force.get(order.ord_type, {})
        return "day" if "day" in rows and "gtc" not in rows else "gtc"

    def instrument(self, broker: str, symbol: str) -> Instrument | None:
        known = self._instruments().get(broker)
        return None if known is None else known.find(symbol, {})


NO_VENUES = Venues({})
"""Nothing is held: for writers that meet no conditional order."""
