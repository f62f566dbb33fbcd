"""Which instruments may not trade, or only reduce, for one tenant: SQL of a part of the market.

The platform's word and the tenant's own, the stricter of the two, as the plan's own transaction
sees them: a halt that is committed before the plan is in the plan.
"""

from __future__ import annotations

from collections.abc import Mapping

from tenancy.database import Connection, Told
from tenancy.four_eyes import STRICTNESS
from tenancy.parameters import TradingState

InstrumentStates = Mapping[tuple[str, str], TradingState]

_STATES = """
SELECT broker, symbol, state FROM instrument_halts WHERE state <> 'active'
UNION ALL SELECT broker, symbol, state FROM platform_instruments()"""


async def ask_instrument_states(conn: Connection) -> Told[InstrumentStates]:
    """(broker, symbol) → its state, of those that are not active; in a pipeline of the caller's."""
    asked = await conn.execute(_STATES)

    async def told() -> InstrumentStates:
        states: dict[tuple[str, str], TradingState] = {}
        for broker, symbol, state in await asked.fetchall():
            known = states.get((broker, symbol), "active")
            if STRICTNESS[state] > STRICTNESS[known]:
                states[broker, symbol] = state
        return states

    return told
