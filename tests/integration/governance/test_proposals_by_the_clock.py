"""What was agreed on is done at its hour, once, also after a crash; what nobody decided expires."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest

from gateway.admin.applying import settle_due
from gateway.admin.kinds import KINDS, Governed
from tenancy.clock import SystemClock
from tenancy.errors import Unavailable
from tenancy.store import proposals
from tests.fixtures.api import Api
from tests.fixtures.persons import People
from tests.integration.governance.house import Case, later, raised, records

pytestmark = pytest.mark.stack


async def approved_for_later(api: Api, people: People, hours: float = 1) -> Case:
    case = await raised(api, await people("admin", ["admin"]))
    hour = SystemClock().now() + timedelta(hours=hours)
    ben = await people("admin", ["admin"])
    reply = await case.decide(ben, "approve", effective_from=hour.isoformat())
    assert (reply.status, reply.json()["state"]) == (200, "approved"), reply
    return case


async def test_an_approved_change_is_made_when_its_hour_has_come_and_not_before(
    api: Api, people: People
):
    case = await approved_for_later(api, people)
    assert await settle_due(api.services) == 0
    assert await case.limit() == "5"
    assert await settle_due(later(api, 1.1)) == 1
    assert (await case.limit(), await case.state()) == ("10", "applied")
    assert await settle_due(later(api, 1.1)) == 0
    assert len(records(api, "admin.change")) == 2


async def test_rounds_in_several_processes_at_once_apply_it_once(api: Api, people: People):
    case = await approved_for_later(api, people)
    settled = await asyncio.gather(*(settle_due(later(api, 2)) for _ in range(4)))
    assert sum(settled) == 1
    assert len((await api.as_("admin").get(f"{case.address}/revisions"))["items"]) == 2


async def test_a_crash_between_the_yes_and_the_change_loses_neither(
    api: Api, people: People, monkeypatch: pytest.MonkeyPatch
):
    """The connection dies after the change was written and before the commit: the next round makes
    it, once."""
    case = await approved_for_later(api, people)
    applied = proposals.applied

    async def died(conn: Any, proposal_id: UUID, at: Any) -> None:
        await applied(conn, proposal_id, at)
        with psycopg.connect(api.database.superuser) as killer:
            killer.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
        await conn.execute("SELECT 1")

    with monkeypatch.context() as patch:
        patch.setattr(proposals, "applied", died)
        with pytest.raises(Unavailable):
            await settle_due(later(api, 2))
    assert (await case.limit(), await case.state()) == ("5", "approved")
    assert await settle_due(later(api, 2)) == 1
    assert await settle_due(later(api, 2)) == 0
    assert (await case.limit(), await case.state()) == ("10", "applied")


async def test_a_crash_in_an_approval_leaves_an_open_proposal(
    api: Api, people: People, monkeypatch: pytest.MonkeyPatch
):
    """An approval that holds at once is one transaction: no yes without its change."""
    case = await raised(api, await people("admin", ["admin"]))
    ben = await people("admin", ["admin"])

    async def died(conn: Any, proposal_id: UUID, at: Any) -> None:
        with psycopg.connect(api.database.superuser) as killer:
            killer.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
        await conn.execute("SELECT 1")

    with monkeypatch.context() as patch:
        patch.setattr(proposals, "applied", died)
        assert (await case.decide(ben, "approve")).status == 503
    assert (await case.limit(), await case.state()) == ("5", "open")
    assert records(api, "approval.given") == []
    assert (await case.decide(ben, "approve")).status == 200


async def test_an_approved_change_can_be_called_off_before_its_hour(api: Api, people: People):
    case = await approved_for_later(api, people)
    carl = await people("admin", ["approver"])
    assert (await case.decide(carl, "reject")).json()["state"] == "rejected"
    assert await settle_due(later(api, 2)) == 0
    assert await case.limit() == "5"


async def test_a_change_due_on_what_moved_meanwhile_fails(api: Api, people: People):
    case = await approved_for_later(api, people)
    await api.as_("admin").change(case.address, 1, name="renamed")
    assert await settle_due(later(api, 2)) == 1
    assert (await case.limit(), await case.state()) == ("5", "failed")


async def test_what_nobody_decided_in_time_expires_with_a_record(api: Api, people: People):
    case = await raised(api, await people("admin", ["admin"]))
    assert await settle_due(later(api, 71)) == 0
    assert await settle_due(later(api, 73)) == 1
    assert await case.state() == "expired"
    (expired,) = records(api, "approval.expired")
    assert expired["act"] == {"kind": "sys", "id": "proposals"}
    reply = await case.decide(await people("admin", ["admin"]), "approve")
    assert (reply.status, reply.json()["code"]) == (409, "proposal_closed")


async def test_an_expired_one_is_not_approved_before_the_round_finds_it(api: Api, people: People):
    case = await raised(api, await people("admin", ["admin"]))
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute("UPDATE proposals SET expires_at = now() - interval '1 second'")
    reply = await case.decide(await people("admin", ["admin"]), "approve")
    assert (reply.status, reply.json()["code"]) == (409, "proposal_closed")
    assert await case.limit() == "5"


async def test_one_that_breaks_does_not_stop_the_others(
    api: Api, people: People, monkeypatch: pytest.MonkeyPatch
):
    broken = await approved_for_later(api, people)

    async def breaks(by: Any, proposal: Any) -> None:
        raise RuntimeError("nobody expected this")

    with monkeypatch.context() as patch:
        kinds: Mapping[str, Governed] = {
            **KINDS,
            "strategy": msgspec.structs.replace(KINDS["strategy"], handlers={"change": breaks}),
        }
        patch.setattr("gateway.admin.applying.KINDS", kinds)
        await settle_due(later(api, 2))
    assert (await broken.limit(), await broken.state()) == ("5", "failed")
    assert await settle_due(later(api, 2)) == 0
