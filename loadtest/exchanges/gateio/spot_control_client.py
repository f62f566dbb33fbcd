"""The control API's client, with the spot market's part of it."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from loadtest.exchanges.gateio.control_client import ControlClient, Duplicate
from loadtest.exchanges.gateio.spot_control import Deposit, Points, SpotPrice


class AuditedSpotOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A spot order that the exchange executed. `filled` in base, `filled_total` in quote."""

    order_id: int
    uid: int
    key: str
    text: str
    pair: str
    side: str
    amount: Decimal
    filled: Decimal
    filled_total: Decimal
    fee: Decimal
    fee_currency: str
    tif: str
    price: Decimal | None
    status: str
    finish_as: str
    arrival: int
    arrived_wall: float
    executed_monotonic: float
    executed_wall: float


class SpotAudit(msgspec.Struct, frozen=True):
    orders: list[AuditedSpotOrder]
    duplicates: list[Duplicate]


class SpotBalance(msgspec.Struct, frozen=True):
    key: str
    currency: str
    available: Decimal
    locked: Decimal


class SpotControlClient(ControlClient):
    """Speaks /_control/ at `url`, spot's too. Use as an async context manager."""

    async def __aenter__(self) -> SpotControlClient:
        await super().__aenter__()
        return self

    async def create_spot_account(
        self, key: str, secret: str, *, points: bool = False, **balances: Decimal
    ) -> int:
        """A user whose key may trade spot, with so much of each currency; returns the uid."""
        uid = await self.create_account(key, secret, balance=None, permissions=("spot",))
        await self.deposit(key, **balances)
        if points:
            await self._ask("POST", "spot/points", Points(key=key, pays=True))
        return uid

    async def deposit(self, key: str, **balances: Decimal) -> None:
        made = [Deposit(key=key, currency=c, amount=amount) for c, amount in balances.items()]
        await self._ask("POST", "spot/deposits", made)

    async def set_spot_price(
        self,
        pair: str,
        price: Decimal,
        *,
        levels: int | None = None,
        level_size: Decimal | None = None,
    ) -> None:
        """Move the market, and the market maker's quotes with it."""
        to = SpotPrice(pair=pair, price=price, levels=levels, level_size=level_size)
        await self._ask("POST", "spot/price", to)

    async def spot_audit(self) -> SpotAudit:
        """Every spot order that was ever executed, and texts used more than once."""
        return msgspec.json.decode(await self._ask("GET", "spot/audit"), type=SpotAudit)

    async def spot_balances(self) -> list[SpotBalance]:
        answer = await self._ask("GET", "spot/balances")
        return msgspec.json.decode(answer, type=list[SpotBalance])
