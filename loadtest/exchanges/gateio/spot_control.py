"""The other side of the spot market: fund, move prices, audit. Below /_control/spot/, see control.py.

POST deposits, POST price, POST points, GET audit, GET balances.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from loadtest.exchanges.gateio.exchange import Exchange
from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.refusal import Refusal
from loadtest.exchanges.gateio.spot_orders import SpotOrder
from loadtest.exchanges.gateio.views import plain

if TYPE_CHECKING:
    from loadtest.exchanges.gateio.gateway import Request


class Deposit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`amount` may be negative: taken out, as its owner could by hand."""

    key: str
    currency: str
    amount: Decimal


class SpotPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The market maker's depth: `levels` of `level_size` in base a side."""

    pair: str
    price: Decimal
    levels: int | None = None
    level_size: Decimal | None = None


class Points(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`pays` True: fees are paid in points, and nothing is taken from what is received."""

    key: str
    pays: bool


class SpotControl:
    """Answers /_control/spot/ requests."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._spot = exchange.spot

    def do(self, request: Request) -> Any:
        """Raises Refusal, ValueError or msgspec's errors: the caller answers with 400."""
        match (request.method, request.path.rpartition("/")[2]):
            case ("POST", "deposits"):
                for it in msgspec.json.decode(request.body, type=list[Deposit]):
                    self._spot.wallet(self._account(it.key)).move(it.currency, it.amount)
                return []
            case ("POST", "price"):
                to = msgspec.json.decode(request.body, type=SpotPrice)
                hit = self._spot.set_price(
                    to.pair, to.price, levels=to.levels, level_size=to.level_size
                )
                return {"orders_hit": hit}
            case ("POST", "points"):
                points = msgspec.json.decode(request.body, type=Points)
                self._spot.wallet(self._account(points.key)).pays_in_points = points.pays
                return []
            case ("GET", "audit"):
                return self.audit()
            case ("GET", "balances"):
                return self.balances()
        raise Refusal("NOT_FOUND", f"{request.method} {request.path}")

    def _account(self, key: str) -> Account:
        account = self._exchange.accounts.get(key)
        if account is None:
            raise Refusal("INVALID_KEY", f"there is no key {key}")
        return account

    def audit(self) -> dict[str, object]:
        """Every spot order that was ever executed, oldest first, and texts used more than once."""
        seen: dict[tuple[str, str], list[int]] = {}
        for order in self._spot.orders:
            if order.text.startswith("t-"):
                seen.setdefault((order.key, order.text), []).append(order.id)
        return {
            "orders": [_audited(order) for order in self._spot.orders],
            "duplicates": [
                {"key": key, "text": text, "order_ids": ids}
                for (key, text), ids in seen.items()
                if len(ids) > 1
            ],
        }

    def balances(self) -> list[dict[str, object]]:
        return [
            {
                "key": key,
                "currency": currency,
                "available": plain(it.available),
                "locked": plain(it.locked),
            }
            for key, wallet in self._spot.wallets.items()
            for currency, it in wallet.held.items()
        ]


def _audited(order: SpotOrder) -> dict[str, object]:
    return {
        "order_id": order.id,
        "uid": order.uid,
        "key": order.key,
        "text": order.text,
        "pair": order.pair,
        "side": order.side,
        "amount": plain(order.amount),
        "filled": plain(order.filled),
        "filled_total": plain(order.filled_total),
        "fee": plain(order.fee),
        "fee_currency": order.fee_currency,
        "tif": order.tif,
        "price": None if order.price is None else plain(order.price),
        "status": order.status,
        "finish_as": order.finish_as,
        "arrival": order.arrival.index,
        "arrived_wall": order.arrival.wall,
        "executed_monotonic": order.executed_monotonic,
        "executed_wall": order.create_time,
    }
