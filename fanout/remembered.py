"""What our own database says an account holds: the memory of brokers that have none of their own.

Paper is such a broker. Positions are folded per strategy (fanout/book.py); an account holds their sum.
"""

from __future__ import annotations

from collections.abc import Sequence

from fanout.ports import BrokerAccount, BrokerPosition
from tenancy.database import Database
from tenancy.scope import Actor, TenantScope

# A sum over strategies has no average price of its own, so paper's profit starts anew at a restart.
_HELD = """
SELECT symbol, sum(qty), CASE WHEN count(*) = 1 THEN max(avg_px) END FROM positions
WHERE account_id = %s AND qty <> 0 GROUP BY symbol HAVING sum(qty) <> 0 ORDER BY symbol"""


class RememberedPositions:
    """Reads positions back, account by account."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self, account: BrokerAccount) -> Sequence[BrokerPosition]:
        """Signed lots by symbol. Raises Unavailable."""
        scope = TenantScope(tenant_id=account.tenant_id, actor=Actor(kind="algo", id="paper"))
        async with self._database.tenant(scope) as conn:
            rows = await (await conn.execute(_HELD, (account.account_id,))).fetchall()
        return [
            BrokerPosition(symbol=symbol, qty=qty, avg_px=avg_px, unrealised_pnl=None)
            for symbol, qty, avg_px in rows
        ]
