"""Taking back a signal that is not planned yet, most often one that waits for its time.

One transaction: the signal's state and the audit record. *Crash before: it is planned when its time
comes. After: no worker finds it any more.* The planner locks the signal's row before it decides, so of the
two one comes first and the other sees it: a signal is taken back, or planned, and never both.
"""

from __future__ import annotations

from audit.record import Kind
from gateway.admin.changes import by, record_change
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.signals import SignalStory, signal_by_id
from tenancy.errors import Conflict

_TAKE_BACK = """
UPDATE signals SET state = 'canceled' WHERE signal_id = %b AND state = 'accepted'
RETURNING strategy_id::text"""


async def _cancel(call: Call) -> Result:
    signal_id = call.uuid("signal_id")
    row = await (await call.conn.execute(_TAKE_BACK, (signal_id,))).fetchone()
    signal = await signal_by_id(call.conn, signal_id)
    if row is not None:
        author = by(call)
        facts = {
            "signal_id": str(signal_id),
            "strategy_id": row[0],
            "code": "canceled",
            "why": author.why,
        }
        await record_change(author, Kind.SIGNAL_REFUSED, facts)
    elif signal.status != "canceled":
        raise Conflict(f"the signal is {signal.status} already: cancel its orders instead")
    return Result(content=signal)


OPERATIONS = (
    Operation(
        name="cancel_signal", method="POST", path="/v1/signals/{signal_id}/cancel", tag="Signals",
        action="orders:cancel", handle=_cancel, answer=SignalStory,
        problems=("not_found", "conflict"),
        summary="Take back a signal that is not planned yet, such as one that waits for its time.",
    ),
)  # fmt: skip
