"""Gate.io's own record of an account's spot fills, by time: `my_trades`, at most 30 days of it.

Told as the book counts them (answers.py): net of a fee that was taken from what was bought, and in whole
steps of the lot. What a single trade leaves under a step counts with the order's next one, so the sum
of an order is what its report says. Each trade of an order has the order's average price here: lots
times price then adds up to what the report's average does.

Pages are read until one is not full. What cannot be read is Unavailable: a statement with a hole would
accuse our book of fills that it rightly has. Thin: an order whose fills lie on both sides of the time
asked for may differ by a step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from math import ceil, floor

import msgspec

from fanout.abilities import BrokerFill
from fanout.brokers.gate.reading import Unreadable, decode, finite
from fanout.brokers.gate.request import PAGE, Request, client_text
from fanout.brokers.gateio_spot import wire
from fanout.brokers.gateio_spot.answers import net, on_step
from fanout.order import Side
from tenancy.errors import Unavailable

PAGES_MAX = 1000
_OURS = client_text("")


class _Trade(msgspec.Struct):
    id: str
    order_id: str
    currency_pair: str
    side: Side
    amount: Decimal
    price: Decimal
    create_time_ms: Decimal
    fee: Decimal = Decimal(0)
    fee_currency: str = ""
    text: str = ""

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(float(self.create_time_ms) / 1000, UTC)


async def fills(
    read: Callable[[Request], Awaitable[bytes]],
    steps: Mapping[str, Decimal],
    since: datetime,
    until: datetime,
) -> list[BrokerFill]:
    """Every trade in [since, until). `read` gives an answer's body, or raises Unavailable."""
    found: dict[str, _Trade] = {}
    first, last = floor(since.timestamp()), ceil(until.timestamp())
    for page in range(1, PAGES_MAX + 1):
        try:
            trades = decode(await read(wire.my_trades_between(first, last, page)), list[_Trade])
            found |= {trade.id: trade for trade in trades if since <= trade.at < until}
        except Unreadable as why:
            raise Unavailable(f"Gate.io my_trades: {why}") from why
        if len(trades) < PAGE:
            return _told(list(found.values()), steps)
    raise Unavailable(f"more than {PAGES_MAX * PAGE} fills at Gate.io in the time asked for")


def _told(trades: list[_Trade], steps: Mapping[str, Decimal]) -> list[BrokerFill]:
    of: dict[str, list[_Trade]] = defaultdict(list)
    for trade in sorted(trades, key=lambda one: (one.create_time_ms, int(one.id))):
        of[trade.order_id].append(trade)
    try:
        return [fill for trades in of.values() for fill in _of_order(trades, steps)]
    except Unreadable as why:
        raise Unavailable(f"Gate.io my_trades: {why}") from why


def _of_order(trades: list[_Trade], steps: Mapping[str, Decimal]) -> list[BrokerFill]:
    step = steps.get(trades[0].currency_pair)
    if step is None:
        raise Unreadable(f"a trade in {trades[0].currency_pair}, which is no pair of Gate's")
    amount = sum((finite(one.amount, "amount") for one in trades), Decimal(0))
    paid = sum((one.amount * finite(one.price, "price") for one in trades), Decimal(0))
    told = []
    so_far = before = Decimal(0)
    for one in trades:
        fee = finite(one.fee, "fee")
        so_far += net(one.side == "buy", one.currency_pair, one.amount, fee, one.fee_currency)
        now = on_step(so_far, step)
        ours = one.text.startswith(_OURS)
        if now > before:
            told.append(
                BrokerFill(
                    trade_id=one.id,
                    broker_order_id=one.order_id,
                    cl_ord_id=one.text.removeprefix(_OURS) if ours else None,
                    symbol=one.currency_pair,
                    side=one.side,
                    qty=now - before,
                    price=paid / amount,
                    at=one.at,
                )
            )
        before = now
    return told
