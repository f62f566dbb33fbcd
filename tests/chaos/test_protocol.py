"""A process is killed exactly at each write on the way of a signal; a fresh one finishes.

docs/protocol.md names these tests beside the writes. After each: every planned order was executed
once, rows, exchange and audit records agree (loadtest/audit), by the judgement of the auditor.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.chaos.stage import staged
from tests.integration.fanout.thrown import throw

pytestmark = [pytest.mark.stack, pytest.mark.slow]

LATE_S = 3.0
ATTEMPTS = "SELECT attempt, state FROM orders ORDER BY order_id, attempt"


def rarely(step: str) -> Any:
    """A step of which a neighbour is in every run of the suite."""
    return pytest.param(step, marks=pytest.mark.longer)


# ------------------------------------------------------------------ plan


async def test_killed_before_the_plan_is_committed(database, gateio):
    """Nobody traded; the next worker plans."""
    async with staged(database, gateio) as stage:
        await stage.signal(quantity=2)
        await stage.dies("plan_before_commit")
        assert await stage.rows("SELECT count(*) FROM plans") == [(0,)]
        assert len(await stage.settles()) == 3


async def test_killed_after_the_plan_before_its_intents(database, gateio):
    """The parts are listed; the next owner of each writes its intents."""
    async with staged(database, gateio) as stage:
        await stage.signal(quantity=2)
        await stage.dies("plan_after_commit")
        assert await stage.rows("SELECT count(*) FROM orders") == [(0,)]
        assert await stage.rows("SELECT count(*) > 0 FROM plan_parts") == [(True,)]
        assert len(await stage.settles()) == 3


# ------------------------------------------------------------------ intents


@pytest.mark.parametrize(
    "step", ["plan_with_intents_before_commit", "plan_with_intents_after_commit"]
)
async def test_killed_at_the_commit_of_a_plan_with_its_intents(database, gateio, step):
    """Of a worker that knows accounts and keys since the signal before: both are there, or neither."""
    async with staged(database, gateio, 40) as stage:
        await stage.signal(quantity=2)
        await stage.signal(action="exit")
        await stage.dies(step)
        with_plan = 32 if step.endswith("after_commit") else 0
        assert await stage.rows("SELECT count(*) FROM orders") == [(40 + with_plan,)]
        assert await stage.rows("SELECT count(*) FROM plans") == [(1 + bool(with_plan),)]
        assert len(await stage.settles()) == 80


async def test_killed_before_intents_are_committed(database, gateio):
    async with staged(database, gateio) as stage:
        await stage.signal(quantity=2)
        await stage.dies("intents_before_commit")
        assert await stage.rows("SELECT count(*) FROM orders") == [(0,)]
        assert len(await stage.settles()) == 3


async def test_killed_after_the_first_chunk_of_intents(database, gateio):
    """32 of 40 are intents that nobody sent: doubt, asked about; the other 8 are written now."""
    async with staged(database, gateio, 40) as stage:
        await stage.signal(quantity=2)
        await stage.dies("intents_after_first_chunk")
        assert await stage.rows("SELECT count(*) FROM orders") == [(32,)]
        assert len(await stage.settles()) == 40


# ------------------------------------------------------------------ approvals


async def test_killed_after_the_yes_before_its_intents(database, gateio):
    """The part is listed as approved; its next owner writes the intents."""
    async with staged(database, gateio) as stage:
        await stage.approved(quantity=2)
        await stage.dies("approved_before_intents")
        assert await stage.rows("SELECT count(*) FROM orders") == [(0,)]
        assert await stage.rows("SELECT bool_and(approved) FROM plan_parts") == [(True,)]
        assert len(await stage.settles()) == 3


async def test_killed_before_approved_intents_are_committed(database, gateio):
    """Neither orders nor `carried_at`: the yes is looked at and carried out again."""
    async with staged(database, gateio) as stage:
        await stage.approved(quantity=2)
        await stage.dies("approved_before_commit")
        assert await stage.rows("SELECT count(*) FROM orders") == [(0,)]
        assert await stage.rows("SELECT count(carried_at) FROM signal_approvals") == [(0,)]
        assert len(await stage.settles()) == 3


async def test_killed_after_approved_intents_are_committed(database, gateio):
    """Intents like all others: asked about, and never written a second time."""
    async with staged(database, gateio) as stage:
        await stage.approved(quantity=2)
        await stage.dies("approved_after_commit")
        assert await stage.rows("SELECT count(*) > 0 FROM orders") == [(True,)]
        assert len(await stage.settles()) == 3
        assert await stage.rows("SELECT count(carried_at) FROM signal_approvals") == [(3,)]


async def test_killed_while_a_question_expires(database, gateio):
    """It stays open, and the next sweep ends it; nobody's yes is worth anything by then."""
    async with staged(database, gateio, 1) as stage:
        await stage.asked(quantity=2)
        await stage.rows("UPDATE signal_approvals SET expires_at = now() RETURNING 1")
        await stage.dies("expire_before_commit")
        assert await stage.rows("SELECT state FROM signal_approvals") == [("pending",)]
        assert (
            await stage.settles("SELECT count(*) FROM signal_approvals WHERE state = 'pending'")
            == []
        )
        assert await stage.rows("SELECT state FROM signal_approvals") == [("expired",)]


# ------------------------------------------------------------------ send


async def test_killed_before_the_first_byte_leaves(database, gateio):
    """The intent is doubt all the same: proven absent, then sent as attempt 2."""
    async with staged(database, gateio, 1) as stage:
        await stage.signal(quantity=2)
        await stage.dies("send_before")
        assert len(await stage.settles()) == 1
        assert await stage.rows(ATTEMPTS) == [(1, "absent"), (2, "filled")]


async def test_killed_while_the_request_is_under_way(database, gateio):
    """The exchange executes it after its sender's death: found, and not sent again."""
    async with staged(database, gateio, 1) as stage:
        await stage.fault("delay_before", seconds=0.3)
        await stage.signal(quantity=2)
        await stage.dies("send_under_way")
        assert len(await stage.settles()) == 1
        assert await stage.rows(ATTEMPTS) == [(1, "filled")]


async def test_killed_while_a_request_is_under_way_that_comes_too_late(database, gateio):
    """Its X-Gate-Exptime has passed when the exchange looks: refused there, so attempt 2 is alone."""
    async with staged(database, gateio, 1) as stage:
        await stage.fault("delay_before", seconds=LATE_S)
        await stage.signal(quantity=2)
        await stage.dies("send_under_way")
        assert len(await stage.settles()) == 1
        await asyncio.sleep(LATE_S)  # by now it has certainly arrived
        assert len(await stage.executed()) == 1
        assert await stage.rows(ATTEMPTS) == [(1, "absent"), (2, "filled")]


async def test_killed_after_the_answer_before_it_is_learned(database, gateio):
    async with staged(database, gateio, 1) as stage:
        await stage.signal(quantity=2)
        await stage.dies("send_after")
        assert await stage.rows(ATTEMPTS) == [(1, "intent")]
        assert len(await stage.settles()) == 1
        assert await stage.rows(ATTEMPTS) == [(1, "filled")]


@pytest.mark.parametrize("step", ["frozen_before_signing", "frozen_before_send"])
async def test_worker_that_slept_through_its_lease_cannot_send(database, gateio, step):
    """Another one has placed the order meanwhile. Its own lease, or X-Gate-Exptime, is in the way."""
    async with staged(database, gateio, 1) as stage:
        await stage.signal(quantity=2)
        async with stage.frozen(step):
            assert len(await stage.settles()) == 1
            assert await stage.rows(ATTEMPTS) == [(1, "absent"), (2, "filled")]
        assert len(await stage.executed()) == 1
        assert await stage.rows(ATTEMPTS) == [(1, "absent"), (2, "filled")]


# ------------------------------------------------------------------ learn


async def test_killed_before_what_was_learned_is_committed(database, gateio):
    async with staged(database, gateio) as stage:
        await stage.signal(quantity=2)
        await stage.dies("learn_before_commit")
        assert await stage.rows("SELECT count(*) FROM execution_reports") == [(0,)]
        assert len(await stage.settles()) == 3


async def test_killed_after_what_was_learned_is_committed(database, gateio):
    async with staged(database, gateio) as stage:
        await stage.signal(quantity=2)
        await stage.dies("learn_after_commit")
        assert await stage.rows("SELECT count(*) > 0 FROM execution_reports") == [(True,)]
        assert len(await stage.settles()) == 3


async def test_killed_between_the_legs_of_a_flip(database, gateio):
    """The second leg became an intent in the commit that closed the first: doubt, asked about."""
    async with staged(database, gateio, 1) as stage:
        await stage.signal(quantity=3)
        await stage.settles()
        await stage.signal(action="sell", quantity=5)
        await stage.dies("learn_after_first_leg")
        legs = "SELECT leg, state FROM orders WHERE side = 'sell' ORDER BY leg, attempt"
        assert await stage.rows(legs) == [(0, "filled"), (1, "intent")]
        assert [int(o.size) for o in await stage.settles()] == [3, -3, -5]


# ------------------------------------------------------------------ resolve


@pytest.mark.parametrize("step", ["resolve_asking", "resolve_answered"])
async def test_killed_while_doubt_is_resolved(database, gateio, step):
    """The answer was lost after execution; whoever asks next is told the same."""
    async with staged(database, gateio, 1) as stage:
        await stage.fault("drop_after")
        await stage.signal(quantity=2)
        await stage.dies(step)
        assert await stage.rows(ATTEMPTS) == [(1, "in_doubt")]
        assert len(await stage.settles()) == 1
        assert await stage.rows(ATTEMPTS) == [(1, "filled")]


async def test_killed_after_absence_was_proven_before_the_next_attempt_is_sent(database, gateio):
    """Attempt 2 is an intent that nobody sent: doubt in its turn, and attempt 3 is the one."""
    async with staged(database, gateio, 1) as stage:
        await stage.fault("drop_before")
        await stage.signal(quantity=2)
        await stage.dies("absent_after_commit")
        assert await stage.rows(ATTEMPTS) == [(1, "absent"), (2, "intent")]
        assert len(await stage.settles()) == 1
        assert await stage.rows(ATTEMPTS) == [(1, "absent"), (2, "absent"), (3, "filled")]


# ------------------------------------------------------------------ cancel


@pytest.mark.parametrize("step", ["cancel_before", "cancel_after"])
async def test_killed_while_an_order_is_cancelled(database, gateio, step):
    """The wish is in the row; whoever owns the lane cancels, or finds it cancelled."""
    async with staged(database, gateio, 1) as stage:
        await stage.signal(quantity=2, orderType="limit", limitPrice=40_000)
        await stage.settles()
        assert await stage.rows(ATTEMPTS) == [(1, "new")]
        await stage.signal(action="cancel")
        await stage.dies(step)
        assert await stage.rows("SELECT state, cancel_requested_at IS NULL FROM orders") == [
            ("new", False)
        ]
        await stage.settles()
        assert await stage.rows(ATTEMPTS) == [(1, "canceled")]


# ------------------------------------------------------------------ the kill switch

FLAT = "SELECT count(*) FROM positions WHERE qty <> 0"
UNDER_WAY = "SELECT count(*) FROM interventions WHERE state = 'working'"


async def test_killed_after_the_switch_denied_an_order_before_it_is_written(database, gateio):
    """An intent that was not sent: proven absent, and its next attempt is denied by who comes."""
    async with staged(database, gateio, 1) as stage:
        await stage.signal(quantity=2)
        await stage.dies("intents_after_first_chunk")
        await throw(stage.bench, "block_all")
        await stage.dies("switch_denied_before_learning")
        assert await stage.settles() == []
        assert (await stage.rows(ATTEMPTS))[-1][1] == "denied"


@pytest.mark.parametrize("step", [rarely("wishes_before_commit"), "wishes_after_commit"])
async def test_killed_while_the_switch_cancels(database, gateio, step):
    """The wishes are there or not, and so are their records; who comes next goes on from there."""
    async with staged(database, gateio, 3) as stage:
        await stage.signal(quantity=2, orderType="limit", limitPrice=40_000)
        await stage.settles()
        await throw(stage.bench, "cancel_open")
        await stage.dies(step)
        await stage.settles(UNDER_WAY)
        assert await stage.rows("SELECT state, count(*) FROM orders GROUP BY state") == [
            ("canceled", 3)
        ]


@pytest.mark.parametrize(
    "step", [rarely("exit_before_commit"), "exit_after_commit", rarely("plan_after_commit")]
)
async def test_killed_while_the_switch_closes(database, gateio, step):
    """Its exit is a signal like any other, and in each round there is one."""
    async with staged(database, gateio, 3) as stage:
        await stage.signal(quantity=2)
        await stage.settles()
        await throw(stage.bench, "flatten")
        await stage.dies(step)
        executed = await stage.settles(UNDER_WAY)
        assert sorted(int(o.size) for o in executed) == [-2, -2, -2, 2, 2, 2]
        assert await stage.rows(FLAT) == [(0,)]
        assert await stage.rows("SELECT round FROM intervention_exits") == [(1,)]


async def test_killed_before_the_end_of_an_intervention_is_written(database, gateio):
    """Everything is closed; who comes next finds it so and says it, once."""
    async with staged(database, gateio, 2) as stage:
        await stage.signal(quantity=2)
        await stage.settles()
        await throw(stage.bench, "flatten")
        await stage.dies("intervention_before_end")
        await stage.settles(UNDER_WAY)
        assert await stage.rows(FLAT) == [(0,)]
        ends = "SELECT count(*) FROM audit_inbox WHERE kind = 'kill_switch'"
        assert await stage.rows(ends) == [(1,)]


# ------------------------------------------------------------------ outcome

TOLD = "SELECT count(*) FROM audit_inbox WHERE kind = 'signal.outcome'"
UNTOLD = "SELECT count(*) FROM signal_outcomes WHERE done_at IS NULL"


async def test_killed_before_an_outcome_is_told(database, gateio):
    """Neither row nor record: the next worker's sweep finds that the signal is done."""
    async with staged(database, gateio) as stage:
        await stage.signal(quantity=2)
        await stage.dies("outcome_before_commit")
        assert await stage.rows(TOLD) == [(0,)]
        assert len(await stage.settles(UNTOLD)) == 3
        assert await stage.rows(TOLD) == [(1,)]


async def test_killed_after_an_outcome_is_told(database, gateio):
    """Row and record: nobody tells it again."""
    async with staged(database, gateio) as stage:
        await stage.signal(quantity=2)
        await stage.dies("outcome_after_commit")
        assert await stage.rows(TOLD) == [(1,)]
        assert len(await stage.settles(UNTOLD)) == 3
        assert await stage.rows(TOLD) == [(1,)]
