"""Four eyes: who may agree, what a yes brings about, and that it happens once or not at all."""

from __future__ import annotations

import asyncio

import msgspec
import psycopg
import pytest

from tests.fixtures.api import Api, Client
from tests.fixtures.persons import People
from tests.integration.governance.house import Case, guard, raised, records

pytestmark = pytest.mark.stack


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


async def test_an_approver_agrees_and_can_change_nothing_alone(api: Api, people: People):
    case = await raised(api, await people("admin", ["admin"]))
    approver = await people("admin", ["approver"])
    assert (await approver.change(case.address, 1, name="mine")).status == 403
    assert (await case.decide(approver, "approve")).status == 200


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


async def test_a_halt_is_released_by_two(api: Api, people: People):
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
