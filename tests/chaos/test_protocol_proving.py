"""A worker is killed at each step of a proof (docs/protocol.md, 22 and 23); the next one comes to the same end."""

from __future__ import annotations

import pytest

from tests.chaos.stage import Stage, staged

pytestmark = [pytest.mark.stack, pytest.mark.slow]

NOT_LIVE = "SELECT count(*) FROM credentials WHERE api_key = 'new' AND state <> 'live'"
KEYS = "SELECT api_key, state, revoked_at IS NULL FROM credentials WHERE account_id = {} ORDER BY credential_id"


async def standing(stage: Stage) -> list[tuple[str, str, bool]]:
    """The first account's credentials: key, state, whether they are not over."""
    account = f"'{stage.bench.accounts[0]}'"
    return [tuple(row) for row in await stage.rows(KEYS.format(account))]  # type: ignore[misc]


async def records(stage: Stage) -> list[str]:
    """What the log says of the new key."""
    found = await stage.rows(
        "SELECT kind FROM audit_inbox WHERE starts_with(kind, 'credential.')"
        " AND convert_from(payload, 'UTF8')::jsonb ->> 'api_key' = 'new'"
    )
    return [row[0] for row in found]


@pytest.mark.parametrize("step", ["proof_answered", "proof_before_commit"])
async def test_killed_before_a_proof_is_committed(database, gateio, step):
    """The old key signs on; the next worker asks again."""
    async with staged(database, gateio, 1) as stage:
        ((old, _, _),) = await standing(stage)
        await stage.seal("new")
        await stage.dies(step)
        assert await standing(stage) == [(old, "live", True), ("new", "proving", True)]
        assert await records(stage) == []
        await stage.settles(NOT_LIVE)
        assert await standing(stage) == [(old, "live", False), ("new", "live", True)]
        assert await records(stage) == ["credential.proven"]


async def test_killed_after_a_proof_is_committed(database, gateio):
    async with staged(database, gateio, 1) as stage:
        await stage.seal("new")
        await stage.dies("proof_after_commit")
        seen = await standing(stage)
        assert [row[1:] for row in seen] == [("live", False), ("live", True)]
        await stage.settles(NOT_LIVE)
        assert await standing(stage) == seen
        assert await records(stage) == ["credential.proven"]


async def test_killed_while_a_test_order_rests(database, gateio):
    """Sent and not cancelled: who proves the key next cancels it first, and none is left."""
    async with staged(database, gateio, 1) as stage:
        await stage.seal("new", test_order=True)
        await stage.dies("send_after")
        left = (await gateio.control.audit()).orders
        assert [(order.status, order.key) for order in left] == [("open", "new")]
        next_one = await stage._start("next")  # no auditor: a test order is no order of a plan
        try:
            await stage.bench.until(NOT_LIVE, 0, 30.0)
        finally:
            next_one.terminate()
            await next_one.wait()
        orders = (await gateio.control.audit()).orders
        assert [(order.status, order.filled) for order in orders] == [("finished", 0)] * 2
