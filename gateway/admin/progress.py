"""Signals with how far each is: what somebody looks at all day, in one question.

What is done is read as it was told; what is under way is counted from its orders, so a page costs as much as what
still moves. *In doubt* is counted apart: such an account counts as `working` in the outcome.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from fanout.outcome import Outcome, SignalState
from fanout.outcome_rows import read_each
from gateway.admin.listing import read_key, write_key
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page
from gateway.admin.signals import SignalKey, SignalQuery, SignalView, find_signals
from tenancy.database import Connection

SIGNALS_MAX = 100


class SignalProgress(SignalView, frozen=True, kw_only=True):
    """`action` as the sender wrote it; `sender`: the hook's name. `states`, `reasons` count accounts; `in_doubt`:
    accounts with an order that only the broker can tell about. `state` is the outcome's."""

    action: str | None
    sender: str
    strategy: str
    state: SignalState
    done_at: datetime | None
    accounts: int
    states: dict[str, int]
    reasons: dict[str, int]
    in_doubt: int


class _Asked(msgspec.Struct, frozen=True):
    """What of a signal's body is shown here."""

    action: str | None = None


_MORE = """
SELECT s.signal_id, s.body, h.name, t.name
FROM signals s LEFT JOIN hooks h USING (hook_id) LEFT JOIN strategies t ON t.strategy_id = s.strategy_id
WHERE s.signal_id = ANY(%b)"""
_DOUBTS = """
SELECT signal_id, count(DISTINCT account_id) FROM orders
WHERE signal_id = ANY(%b) AND state = 'in_doubt' GROUP BY 1"""


async def progress_of(conn: Connection, views: list[SignalView]) -> list[SignalProgress]:
    """Of these signals of the tenant, in their order."""
    ids = [view.signal_id for view in views]
    outcomes = await read_each(conn, ids)
    more = {row[0]: row[1:] for row in await (await conn.execute(_MORE, (ids,))).fetchall()}
    open_ones = [one for one in ids if outcomes[one].state not in ("done", "refused")]
    doubts: dict[UUID, int] = dict(
        await (await conn.execute(_DOUBTS, (open_ones,))).fetchall() if open_ones else ()
    )
    return [_progress(view, outcomes[view.signal_id], more, doubts) for view in views]


def _progress(
    view: SignalView, outcome: Outcome, more: dict[UUID, Any], doubts: dict[UUID, int]
) -> SignalProgress:
    body, sender, strategy = more[view.signal_id]
    return SignalProgress(
        **msgspec.structs.asdict(view),
        action=_action(bytes(body)),
        sender=sender or view.hook_id,
        strategy=strategy or "",
        state=outcome.state,
        done_at=outcome.done_at,
        accounts=outcome.accounts,
        states=outcome.states,
        reasons=outcome.reasons,
        in_doubt=doubts.get(view.signal_id, 0),
    )


def _action(body: bytes) -> str | None:
    try:
        return msgspec.json.decode(body, type=_Asked).action
    except (msgspec.DecodeError, UnicodeDecodeError):  # a signal that a worker then refused
        return None


async def _list(call: Call) -> Result:
    query: SignalQuery = call.query
    found = await find_signals(call.conn, query, read_key(query.cursor, SignalKey))
    views = [
        SignalView(**dict(zip(SignalView.__struct_fields__, row, strict=True)))
        for row in found.rows
    ]
    return Result(
        content=Page(items=await progress_of(call.conn, views), next=write_key(found.after))
    )


OPERATIONS = (
    Operation(
        name="list_signal_progress", method="GET", path="/v1/signals/progress", tag="Signals",
        action="orders:read",
        summary="List signals, newest first, each with its sender and how far it is.",
        handle=_list, query=SignalQuery, answer=Page[SignalProgress],
    ),
)  # fmt: skip
