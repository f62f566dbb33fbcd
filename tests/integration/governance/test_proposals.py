"""Four eyes: who may agree, what a yes brings about, and that it happens once or not at all."""

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
from tests.fixtures.api import Api, Client
from tests.fixtures.persons import People
from tests.integration.gateway.ingress import Reply
from tests.integration.governance.house import guard, later, records

pytestmark = pytest.mark.stack


class Case(msgspec.Struct):
    """A strategy whose limit somebody wants to raise, and the proposal of that."""

    api: Api
    strategy: str
    proposal: str

    @property
    def address(self) -> str:
        return f"/v1/strategies/{self.strategy}"

    async def decide(self, who: Client, verb: str, **body: Any) -> Reply:
        return await who("POST", f"/v1/proposals/{self.proposal}/{verb}", body)

    async def limit(self) -> Any:
        shown = await self.api.as_("admin").get(self.address)
        return shown["limits"].get("max_order_quantity")

    async def state(self) -> str:
        shown = await self.api.as_("admin").get(f"/v1/proposals/{self.proposal}")
        return shown["state"]


async def raised(api: Api, who: Client, **headers: str) -> Case:
    """`who` proposes to raise a limit from 5 to 10."""
    guard(api, "limits")
    made = await who.make("/v1/strategies", name="trend", limits={"max_order_quantity": "5"})
    reply = await who(
        "PATCH", f"/v1/strategies/{made['strategy_id']}",
        {"limits": {"max_order_quantity": "10"}},
        {"if-match": '"1"', "portcullis-reason": "larger book", **headers},
    )  # fmt: skip
    assert reply.status == 202, reply
    return Case(api, made["strategy_id"], reply.json()["proposal_id"])


async def test_a_second_person_agrees_and_the_change_is_made_at_once(api: Api, people: People):
    anna, ben = await people("admin", ["admin"]), await people("admin", ["admin"])
    case = await raised(api, anna)
    reply = await case.decide(ben, "approve", comment="fine")
    assert (reply.status, reply.json()["state"]) == (200, "applied")
    assert await case.limit() == "10"
    (revision, _) = (await ben.get(f"{case.address}/revisions"))["items"]
    assert revision["actor"]["id"] == str(anna.person_id)
    assert revision["proposal_id"] == case.proposal
    (given,) = records(api, "approval.given")
    assert (given["act"]["id"], given["comment"]) == (str(ben.person_id), "fine")
    change = records(api, "admin.change")[-1]
    assert change["act"] == {"kind": "human", "id": str(anna.person_id)}
    assert change["approved_by"] == {"kind": "human", "id": str(ben.person_id)}
    assert (change["proposal"], change["why"]) == (case.proposal, "larger book")


async def test_a_proposal_shows_what_it_changes_in_plain_words(api: Api, people: People):
    anna = await people("admin", ["admin"])
    case = await raised(api, anna)
    shown = await anna.get(f"/v1/proposals/{case.proposal}")
    assert shown["differences"] == [
        {
            "path": "limits.max_order_quantity",
            "before": "5",
            "after": "10",
            "words": "limits.max_order_quantity changes from 5 to 10.",
        }
    ]
    assert (shown["reasons"], shown["comment"]) == (["limits"], "larger book")


async def test_nobody_approves_their_own(api: Api, people: People):
    anna = await people("admin", ["admin"])
    case = await raised(api, anna)
    reply = await case.decide(anna, "approve")
    assert (reply.status, reply.json()["code"]) == (403, "own_proposal")
    assert (await case.decide(anna, "reject")).json()["code"] == "own_proposal"
    assert (await case.limit(), await case.state()) == ("5", "open")


async def test_nobody_approves_what_a_key_of_theirs_proposed(api: Api, people: People):
    """Neither a key that they made nor one that such a key made, nor one that they changed later."""
    anna, ben = await people("admin", ["admin"]), await people("admin", ["admin"])
    chain = [str(anna.person_id)]
    for _ in range(2):
        key = await api.key("admin", {"strategies:read", "strategies:write", "limits:write"})
        made_by(api, key, chain[-1])
        chain.append(key_id(key))
    case = await raised(api, key)
    assert (await case.decide(anna, "approve")).json()["code"] == "own_proposal"
    made_by(api, key, str(ben.person_id))
    assert (await case.decide(ben, "approve")).json()["code"] == "own_proposal"
    carl = await people("admin", ["admin"])
    assert (await case.decide(carl, "approve")).status == 200


def key_id(key: Client) -> str:
    return key.key.split("_")[1]


def made_by(api: Api, key: Client, who: str) -> None:
    """As gateway/admin/changes.py writes it when somebody makes or changes a service key."""
    kind = "human" if "-" in who else "api"
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute(
            "INSERT INTO revisions (tenant_id, kind, object_id, revision, actor) SELECT %s,"
            " 'service_key', %s, count(*) + 1, %s::jsonb FROM revisions WHERE object_id = %s",
            (
                api.tenant(), key_id(key), msgspec.json.encode({"kind": kind, "id": who}).decode(),
                key_id(key),
            ),
        )  # fmt: skip


async def test_a_service_key_decides_nothing(api: Api, people: People):
    case = await raised(api, await people("admin", ["admin"]))
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute("UPDATE service_keys SET scopes = scopes || ARRAY['proposals:decide']")
    for verb in ("approve", "reject"):
        reply = await case.decide(api.as_("admin"), verb)
        assert (reply.status, reply.json()["code"]) == (403, "forbidden")
    assert await case.state() == "open"


@pytest.mark.parametrize("roles", [["trader"], ["viewer"], ["compliance"]])
async def test_who_may_not_decide_is_refused(api: Api, people: People, roles: list[str]):
    case = await raised(api, await people("admin", ["admin"]))
    reply = await case.decide(await people("admin", roles), "approve")
    assert (reply.status, reply.json()["code"]) == (403, "forbidden")


async def test_nobody_agrees_to_what_they_could_not_do_themselves(api: Api, people: People):
    """An approver without strategies:write refuses, but does not bring it about; with it, agrees."""
    case = await raised(api, await people("admin", ["admin"]))
    approver = await people("admin", ["approver"])
    reply = await case.decide(approver, "approve")
    assert (reply.status, reply.json()["code"]) == (403, "forbidden")
    assert "strategies:write" in reply.json()["detail"]
    trader = await people("admin", ["approver", "trader"])
    reply = await case.decide(trader, "approve")  # may change strategies, but no limits
    assert (reply.status, "limits:write" in reply.json()["detail"]) == (403, True)
    assert await case.state() == "open"


async def test_an_approver_who_may_make_the_change_agrees_to_it(api: Api, people: People):
    anna = await people("admin", ["admin"])
    guard(api, "approvals")
    asks = await anna.make("/v1/strategies", name="trend", settings={"needs_approval": True})
    path = f"/v1/strategies/{asks['strategy_id']}"
    reply = await anna.change(path, 1, settings={"needs_approval": None})
    case = Case(api, asks["strategy_id"], reply.json()["proposal_id"])
    trader = await people("admin", ["approver", "trader"])
    assert (await case.decide(trader, "approve")).status == 200


async def test_a_veto_needs_nothing_but_the_right_to_decide(api: Api, people: People):
    case = await raised(api, await people("admin", ["admin"]))
    reply = await case.decide(await people("admin", ["approver"]), "reject", comment="too much")
    assert (reply.status, reply.json()["state"]) == (200, "rejected")
    assert await case.limit() == "5"
    (refused,) = records(api, "approval.refused")
    assert (refused["decision"], refused["comment"]) == ("rejected", "too much")


async def test_another_tenants_proposal_is_not_there(api: Api, people: People):
    case = await raised(api, await people("admin", ["admin"]))
    stranger = await people("other", ["admin"])
    assert (await stranger("GET", f"/v1/proposals/{case.proposal}")).status == 404
    assert (await case.decide(stranger, "approve")).status == 404
    assert (await stranger.get("/v1/proposals"))["items"] == []


async def test_only_the_proposer_withdraws(api: Api, people: People):
    anna, ben = await people("admin", ["admin"]), await people("admin", ["admin"])
    case = await raised(api, anna)
    assert (await case.decide(ben, "withdraw")).status == 403
    assert (await case.decide(anna, "withdraw", comment="wrong one")).json()["state"] == "withdrawn"
    reply = await case.decide(ben, "approve")
    assert (reply.status, reply.json()["code"]) == (409, "proposal_closed")


async def test_of_two_approvers_at_once_one_applies_it_once(api: Api, people: People):
    case = await raised(api, await people("admin", ["admin"]))
    approvers = [await people("admin", ["admin"]) for _ in range(4)]
    replies = await asyncio.gather(*(case.decide(who, "approve") for who in approvers))
    assert sorted(reply.status for reply in replies) == [200, 409, 409, 409]
    revisions = (await api.as_("admin").get(f"{case.address}/revisions"))["items"]
    assert [entry["revision"] for entry in revisions] == [2, 1]
    assert len(records(api, "approval.given")) == 1


async def test_a_change_of_what_moved_meanwhile_fails_and_is_not_applied(api: Api, people: People):
    anna, ben = await people("admin", ["admin"]), await people("admin", ["admin"])
    case = await raised(api, anna)
    assert (await anna.change(case.address, 1, name="renamed")).status == 200
    reply = await case.decide(ben, "approve")
    assert (reply.status, reply.json()["code"]) == (409, "proposal_failed")
    shown = await anna.get(f"/v1/proposals/{case.proposal}")
    assert shown["state"] == "failed"
    assert "revision 2" in shown["failure"]
    assert await case.limit() == "5"
    assert records(api, "approval.refused")[-1]["decision"] == "failed"


async def test_a_change_that_the_database_refuses_by_now_fails(api: Api, people: People):
    """The name that the proposal wants was free when it was proposed."""
    anna, ben = await people("admin", ["admin"]), await people("admin", ["admin"])
    case = await raised(api, anna)
    reply = await anna.change(case.address, 1, name="taken", limits={})
    wanted = await anna.change(case.address, 2, name="second", limits={"max_order_quantity": "99"})
    assert (reply.status, wanted.status) == (200, 202)
    await anna.make("/v1/strategies", name="second")
    case.proposal = wanted.json()["proposal_id"]
    decided = await case.decide(ben, "approve")
    assert (decided.status, decided.json()["code"]) == (409, "proposal_failed"), decided
    assert (await case.limit(), await case.state()) == ("5", "failed")
    assert len(records(api, "approval.given")) == 1


async def test_a_halt_is_released_by_two_with_the_right_to_halt(api: Api, people: People):
    """Operation `state`: the kill switch' own action decides, not the strategy's."""
    anna = await people("admin", ["admin"])
    guard(api, "halt_release")
    made = await anna.make("/v1/strategies", name="trend")
    proposal = await propose_state(api, made["strategy_id"], str(anna.person_id))
    case = Case(api, made["strategy_id"], proposal)
    reply = await case.decide(await people("admin", ["approver", "compliance"]), "approve")
    assert reply.status == 200, reply
    assert (await anna.get(case.address))["state"] == "reducing"
    assert records(api, "kill_switch")[-1]["approved_by"] is not None


async def propose_state(api: Api, strategy: str, person: str) -> str:
    with psycopg.connect(api.database.superuser) as conn:
        row = conn.execute(
            "INSERT INTO proposals (proposal_id, tenant_id, reasons, operation, kind, object_id, base,"
            " before, after, proposed_by, expires_at) VALUES (gen_random_uuid(), %s,"
            " '{halt_release}', 'state', 'strategy', %s, 1, '{\"state\": \"active\"}',"
            " '{\"state\": \"reducing\"}', %s::jsonb, now() + interval '1 hour')"
            " RETURNING proposal_id",
            (
                api.tenant(), strategy,
                msgspec.json.encode({"kind": "human", "id": person}).decode(),
            ),
        ).fetchone()  # fmt: skip
    assert row is not None
    return str(row[0])


async def test_a_list_is_filtered_by_state_and_kind_and_goes_on(api: Api, people: People):
    anna = await people("admin", ["admin"])
    case = await raised(api, anna)
    for quantity in ("11", "12"):
        reply = await anna.change(case.address, 1, limits={"max_order_quantity": quantity})
        assert reply.status == 202
    await case.decide(anna, "withdraw")
    first = await anna.get("/v1/proposals?state=open&kind=strategy&limit=1")
    rest = await anna.get(f"/v1/proposals?state=open&limit=5&cursor={first['next']}")
    assert len(first["items"] + rest["items"]) == 2
    assert first["items"][0]["proposal_id"] > rest["items"][0]["proposal_id"]
    assert (await anna.get("/v1/proposals?kind=tenant"))["items"] == []


# ------------------------------------------------------------------------------ by the clock


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
