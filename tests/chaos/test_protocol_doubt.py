"""A worker is killed between a person's word about an order in doubt and its end (docs/protocol.md, 25 to 27)."""

from __future__ import annotations

import pytest

from loadtest.exchanges.gateio.faults import Rule
from tenancy.ids import new_id
from tests.chaos.stage import Stage, staged

pytestmark = [pytest.mark.stack, pytest.mark.slow]

ATTEMPTS = "SELECT attempt, state FROM orders ORDER BY order_id, attempt"
DECISION = "SELECT state FROM doubt_decisions"
SILENT = Rule(kind="500_before", method="GET", path="/api/v4/futures/usdt/orders/*")
"""Nothing that is asked of one order is answered. The list is: else nothing would open (reconcile_gate.py)."""


async def in_doubt(stage: Stage, fault: str) -> None:
    """An order whose answer was lost, at an exchange that says nothing of it, and whose worker is dead."""
    await stage.market.control.set_faults(Rule(kind=fault, nth=1), SILENT)
    await stage.signal(quantity=2)
    await stage.dies("doubt_written")
    assert await stage.rows(ATTEMPTS) == [(1, "in_doubt")]
    assert await stage.rows("SELECT asked > 0 FROM doubts") == [(True,)]


async def decided(stage: Stage) -> None:
    """A person has said that it does not exist, and asked for another attempt."""
    await stage.rows(
        "INSERT INTO doubt_decisions (tenant_id, decision_id, cl_ord_id, verdict, again, reason, decided_by,"
        f" decided_at) SELECT tenant_id, '{new_id()}', cl_ord_id, 'absent', true, 'not in its list',"
        """ '{"kind": "human", "id": "ann"}', now() FROM doubts RETURNING 1"""
    )


async def test_killed_after_a_decision_before_it_is_carried_out(database, gateio):
    """It waits for the next owner, who carries it out while the exchange is silent still."""
    async with staged(database, gateio, 1) as stage:
        await in_doubt(stage, "drop_before")
        await decided(stage)
        await stage.market.control.set_faults(SILENT)
        await stage.dies("decision_before_commit")
        assert await stage.rows(ATTEMPTS) == [(1, "in_doubt")]
        assert await stage.rows(DECISION) == [("pending",)]
        await stage.market.control.set_faults(SILENT)
        assert len(await stage.settles()) == 1
        assert await stage.rows(ATTEMPTS) == [(1, "absent"), (2, "filled")]
        assert await stage.rows(DECISION) == [("carried",)]


async def test_killed_before_a_decision_is_carried_out_that_the_exchange_contradicts(
    database, gateio
):
    """The order was executed. Who comes next hears so, and the decision is void: nothing is sent again."""
    async with staged(database, gateio, 1) as stage:
        await in_doubt(stage, "drop_after")
        await decided(stage)
        await stage.market.control.set_faults(SILENT)
        await stage.dies("decision_before_commit")
        assert len(await stage.settles()) == 1
        assert await stage.rows(ATTEMPTS) == [(1, "filled")]
        assert await stage.rows(DECISION) == [("void",)]
