"""A signal's outcome account by account: as many as a page shows, from their orders as they stand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from psycopg.rows import dict_row

from fanout.order import OrdState
from fanout.outcome import AccountOutcome, Answer, Attempt, account_outcome
from tenancy.database import Connection

_ATTEMPTS = f"""
SELECT account_id, {", ".join(Attempt.__struct_fields__)} FROM orders
WHERE signal_id = %b AND account_id = ANY(%b) AND role = 'main' ORDER BY leg, attempt"""  # noqa: S608
_ANSWERS = """
SELECT account_id, state, decided_at FROM signal_approvals WHERE signal_id = %b AND account_id = ANY(%b)"""


async def read_accounts(
    conn: Connection, signal: UUID, reasons: Mapping[UUID, str], planned_at: datetime
) -> dict[UUID, AccountOutcome]:
    """Of these accounts of the signal's plan, each with the plan's reason."""
    accounts = list(reasons)
    attempts: dict[UUID, list[Attempt]] = defaultdict(list)
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(_ATTEMPTS.encode(), (signal, accounts))
    for row in await cursor.fetchall():
        account = row.pop("account_id")
        attempts[account].append(Attempt(**(row | {"state": OrdState(row["state"])})))
    answers = await _answers(conn, signal, accounts)
    return {
        account: account_outcome(
            reason,
            attempts[account],
            answer=answers[account][0] if account in answers else None,
            since=answers.get(account, (None, None))[1] or planned_at,
        )
        for account, reason in reasons.items()
    }


async def _answers(
    conn: Connection, signal: UUID, accounts: Sequence[UUID]
) -> dict[UUID, tuple[Answer, datetime | None]]:
    rows = await (await conn.execute(_ANSWERS, (signal, list(accounts)))).fetchall()
    return {account: (state, decided_at) for account, state, decided_at in rows}
