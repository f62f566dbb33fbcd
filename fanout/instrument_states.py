"""Which instruments may not trade, or only reduce, for one tenant: SQL of a part of the market.

The platform's word and the tenant's own, the stricter of the two, as the plan's own transaction
sees them: a halt that is committed before the plan is in the plan.
"""

from __future__ import annotations

from collections.abc import Mapping

from tenancy.database import Connection
from tenancy.four_eyes import STRICTNESS
from tenancy.parameters import TradingState

_STATES = """
SELECT broker, symbol, state FROM instrument_halts WHERE state <> 'active'
UNION ALL SELECT broker, symbol, state FROM platform_instruments()"""


async def read_instrument_states(conn: Connection) -> Mapping[tuple[str, str], TradingState]:
    """(broker, symbol) → its state, of those that are not active."""
    states: dict[tuple[str, str], TradingState] = {}
    for broker, symbol, state in await (await conn.execute(_STATES)).fetchall():
        known = states.get((broker, symbol), "active")
        if STRICTNESS[state] > STRICTNESS[known]:
            states[broker, symbol] = state
    return states
