"""The exchange: takes orders by their text, matches them against a price that walks, remembers.

What it says of itself at the end (`orders`, `trades`, `held`) is what the auditor believes. A request
that comes after its deadline it refuses; one that may only reduce trades no more than there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random

from ops.sim.loop import SimulatedLoop

PRICES = {"BTC_USDT": Decimal(50_000), "ETH_USDT": Decimal(3_000)}
WALK_S = 0.5
FORGETS_S = 60.0
"""So long it remembers an order that was cancelled without a fill."""
OPEN = ("new", "partially_filled")


@dataclass(frozen=True)
class Request:
    """One order as it came over the wire. Quantities in lots; `deadline_s`: not after this."""

    account: str
    text: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal | None
    ioc: bool
    reduce_only: bool
    deadline_s: float
    host: str


@dataclass
class Placed:
    """One order that it took."""

    number: int
    request: Request
    at_s: float
    status: str = "new"
    filled: Decimal = Decimal(0)
    paid: Decimal = Decimal(0)
    ended_s: float | None = None
    pictures: list[tuple[float, Placed]] = field(default_factory=list)
    """What was to be seen of it since when: a look-up may be answered by an older one."""

    @property
    def avg_px(self) -> Decimal | None:
        return None if not self.filled else (self.paid / self.filled).quantize(Decimal("1e-9"))


@dataclass(frozen=True)
class Trade:
    at_s: float
    number: int
    lots: Decimal
    """Signed."""
    price: Decimal


class Venue:
    """One exchange of one seed."""

    def __init__(self, loop: SimulatedLoop, chance: Random) -> None:
        self._loop, self._chance = loop, chance
        self.prices = dict(PRICES)
        self.away = False
        self.still = False
        """At the end of a seed prices stand."""
        self.orders: list[Placed] = []
        self.trades: list[Trade] = []
        self.refused: list[tuple[float, str, str]] = []
        self.held: dict[tuple[str, str], Decimal] = {}
        loop.outside(WALK_S, self._walk)

    # -------------------------------------------------------------- requests

    def place(self, request: Request, most: Decimal | None = None) -> Placed | str:
        """What became of it, or why not. `most`: so many lots are there for it now."""
        now = self._loop.time()
        if now > request.deadline_s:
            self.refused.append((now, request.text, "expired"))
            return "REQUEST_EXPIRED"
        if request.reduce_only and not self._reducible(request):
            self.refused.append((now, request.text, "empty"))
            return "POSITION_EMPTY"
        placed = Placed(len(self.orders) + 1, request, now)
        self.orders.append(placed)
        self._picture(placed)
        if self._crosses(placed):
            self._fill(placed, request.qty if most is None else min(most, request.qty))
        if request.ioc and placed.status in OPEN:
            self._end(placed, "canceled")
        return placed

    def seen(self, account: str, text: str, *, behind_s: float = 0.0) -> Placed | None:
        """The newest order of that name as it was `behind_s` ago."""
        now = self._loop.time()
        for placed in reversed(self.orders):
            if (placed.request.account, placed.request.text) != (account, text):
                continue
            unfilled = placed.status == "canceled" and not placed.filled
            if unfilled and placed.ended_s is not None and now - placed.ended_s > FORGETS_S:
                continue
            return self._as_of(placed, now - behind_s)
        return None

    def cancel(self, account: str, text: str) -> Placed | None:
        """It, cancelled; None where it was over, or is not there."""
        for placed in reversed(self.orders):
            if (placed.request.account, placed.request.text) == (account, text):
                if placed.status not in OPEN:
                    return None
                self._end(placed, "canceled")
                return placed
        return None

    def resting(self) -> Iterator[Placed]:
        return (placed for placed in self.orders if placed.status in OPEN)

    def trade(self, placed: Placed, lots: Decimal) -> None:
        """So many lots of what rests find somebody."""
        if placed.status in OPEN:
            self._fill(placed, min(lots, placed.request.qty - placed.filled))

    # -------------------------------------------------------------- matching

    def _walk(self) -> None:
        if self.still:
            return
        for symbol, price in self.prices.items():
            step = self._chance.gauss(0, 0.001)
            if self._chance.random() < 0.03:
                step = self._chance.choice((-0.04, 0.04))
            self.prices[symbol] = (price * (1 + Decimal(step))).quantize(Decimal("0.1"))
        for placed in list(self.resting()):
            if self._crosses(placed):
                self._fill(placed, placed.request.qty - placed.filled)
            empty = placed.request.reduce_only and not self._reducible(placed.request)
            if empty and placed.status in OPEN:
                self._end(placed, "canceled")  # as Gate.io does with what can reduce nothing
        self._loop.outside(WALK_S, self._walk)

    def _crosses(self, placed: Placed) -> bool:
        request, market = placed.request, self.prices[placed.request.symbol]
        if request.price is None:
            return True
        return request.price >= market if request.side == "buy" else request.price <= market

    def _reducible(self, request: Request) -> Decimal:
        """Lots that such an order may close."""
        held = self.held.get((request.account, request.symbol), Decimal(0))
        return max(Decimal(0), held if request.side == "sell" else -held)

    def _fill(self, placed: Placed, lots: Decimal) -> None:
        request = placed.request
        if request.reduce_only:
            lots = min(lots, self._reducible(request))
        if lots <= 0:
            return
        signed = lots if request.side == "buy" else -lots
        placed.filled += lots
        price = request.price or self.prices[request.symbol]
        placed.paid += lots * price
        placed.status = "filled" if placed.filled == request.qty else "partially_filled"
        if placed.status == "filled":
            placed.ended_s = self._loop.time()
        key = request.account, request.symbol
        self.held[key] = self.held.get(key, Decimal(0)) + signed
        self.trades.append(Trade(self._loop.time(), placed.number, signed, price))
        self._picture(placed)

    def _end(self, placed: Placed, status: str) -> None:
        placed.status = status
        placed.ended_s = self._loop.time()
        self._picture(placed)

    def _picture(self, placed: Placed) -> None:
        placed.pictures.append((self._loop.time(), replace(placed, pictures=[])))

    @staticmethod
    def _as_of(placed: Placed, at_s: float) -> Placed | None:
        seen = [picture for since, picture in placed.pictures if since <= at_s]
        return seen[-1] if seen else None
