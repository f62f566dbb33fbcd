"""Gate.io's own record of an account's fills, by time: `my_trades_timerange`.

Pages are read until one is not full. A fill that is made meanwhile moves none of them, because the time
asked for is over (fanout/statements.py asks for days that are). What cannot be read is Unavailable: a
statement with a hole would accuse our book of fills that it rightly has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from math import ceil, floor

import msgspec

from fanout.abilities import BrokerFill
from fanout.brokers.gate.reading import Unreadable, decode
from fanout.brokers.gateio import wire
from tenancy.errors import Unavailable

PAGES_MAX = 1000
_OURS = wire.client_text("")


class _Trade(msgspec.Struct):
    trade_id: int | str
    create_time: Decimal
    contract: str
    order_id: int | str
    size: Decimal
    price: Decimal
    text: str = ""


async def fills(
    read: Callable[[wire.Request], Awaitable[bytes]], settle: str, since: datetime, until: datetime
) -> list[BrokerFill]:
    """Every trade in [since, until). `read` gives an answer's body, or raises Unavailable."""
    found: dict[str, BrokerFill] = {}
    first, last = floor(since.timestamp()), ceil(until.timestamp())
    for page in range(PAGES_MAX):
        request = wire.my_trades_between(settle, first, last, page * wire.PAGE)
        try:
            trades = [_fill(trade) for trade in decode(await read(request), list[_Trade])]
        except Unreadable as why:
            raise Unavailable(f"Gate.io my_trades_timerange: {why}") from why
        found |= {fill.trade_id: fill for fill in trades if since <= fill.at < until}
        if len(trades) < wire.PAGE:
            return list(found.values())
    raise Unavailable(f"more than {PAGES_MAX * wire.PAGE} fills at Gate.io in the time asked for")


_LIQUIDATED = (
    "liq-", "hedge-liq-", "liquidation", "auto_deleveraging", "pm_liquidate", "comb_margin_liquidate",
    "scm_liquidate",
)  # fmt: skip
"""How Gate's own texts of closing a position by force begin (gate-api 7.2.161, FuturesOrder.text)."""


def _fill(trade: _Trade) -> BrokerFill:
    if not trade.size.is_finite() or trade.size == 0 or not trade.price.is_finite():
        raise Unreadable(f"trade {trade.trade_id} has no size or no price")
    ours = trade.text.startswith(_OURS)
    return BrokerFill(
        trade_id=str(trade.trade_id),
        broker_order_id=str(trade.order_id),
        cl_ord_id=trade.text.removeprefix(_OURS) if ours else None,
        symbol=trade.contract,
        side="buy" if trade.size > 0 else "sell",
        qty=abs(trade.size),
        price=trade.price,
        at=datetime.fromtimestamp(float(trade.create_time), UTC),
        liquidation=trade.text.startswith(_LIQUIDATED),
    )
