"""Retention, legal holds and shredding: two people, and never what must be kept or is held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

from audit.ring import RETIRED_S
from tests.fixtures.api import Api
from tests.fixtures.persons import People, Person
from tests.integration.governance.house import records

OVER = datetime.now(UTC) - timedelta(days=40 * 366)


class Case(msgspec.Struct):
    """An account with three records whose time is over, and two people of compliance."""

    api: Api
    first: Person
    second: Person
    account: str
    log_id: UUID

    @property
    def subject(self) -> str:
        return f"account:{self.account}"

    @property
    def shredding(self) -> str:
        return f"/v1/audit/subjects/{self.subject}/shred"

    def rows(self, query: str, *values):
        with psycopg.connect(self.api.database.superuser) as conn:
            cursor = conn.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def record(self, index: int, recorded_at: datetime = OVER, **more: str) -> None:
        """As the recorder keeps it."""
        members = {"k": "order.intent", "ts": f"{recorded_at:%Y-%m-%dT%H:%M:%S}.000000000Z",
                   "acct": self.account, "pc": "00" * 32, **more}  # fmt: skip
        self.rows(
            "INSERT INTO audit_leaves (log_id, i, tenant_id, oid, leaf, leaf_hash)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            self.log_id, index, self.api.tenant(), more.get("oid"), msgspec.json.encode(members), bytes(32),
        )  # fmt: skip
        self.rows(
            "INSERT INTO audit_payloads VALUES (%s, %s, %s, %s, %s, 'trade', %s, %s)",
            self.log_id, index, self.api.tenant(), b"noise", self.subject, recorded_at,
            recorded_at + timedelta(days=6 * 366),
        )  # fmt: skip

    def keys(self) -> int:
        ((count,),) = self.rows(
            "SELECT count(*) FROM audit_data_keys WHERE subject = %s", self.subject
        )
        return int(count)

    def a_minute_later(self) -> None:
        self.rows(
            "UPDATE audit_data_keys SET retired_at = retired_at - make_interval(secs => %s)",
            RETIRED_S,
        )

    async def ask(self, address: str, **body: object) -> str:
        """The proposal."""
        reply = await self.first("POST", address, {"reason": "asked for", **body})
        assert reply.status == 202, reply
        return f"/v1/proposals/{reply.json()['proposal_id']}"

    async def agreed(self, proposal: str) -> None:
        reply = await self.second("POST", f"{proposal}/approve", {})
        assert (reply.status, reply.json().get("state")) == (200, "applied"), reply

    async def hold(self, **scope: object) -> str:
        """Placed by two; its id."""
        proposal = await self.ask("/v1/audit/holds", **scope)
        await self.agreed(proposal)
        return str((await self.first.get(proposal))["object_id"])


@pytest.fixture
async def case(api: Api, people: People) -> Case:
    first, second = (
        await people("admin", ["compliance", "approver"]),
        await people("admin", ["admin"]),
    )
    made = Case(api, first, second, str(uuid4()), uuid4())
    made.rows(
        "INSERT INTO audit_logs (log_id, tenant_id, origin, key_label, public_key) VALUES (%s, %s, 'o', 'o', %s)",
        made.log_id, api.tenant(), bytes(32),
    )  # fmt: skip
    for index in range(3):
        made.record(index)
    for version in (1, 2):
        made.rows(
            "INSERT INTO audit_data_keys (tenant_id, subject, version, wrapped) VALUES (%s, %s, %s, %s)",
            api.tenant(), made.subject, version, bytes(60),
        )  # fmt: skip
    return made


async def refused(case: Case, code: str) -> str:
    reply = await case.first("POST", case.shredding, {"reason": "x"})
    assert (reply.status, reply.json()["code"]) == (409, code), reply
    assert case.keys() == 2
    return str(reply.json()["detail"])


async def test_two_people_destroy_every_version_and_the_log_says_so(case: Case):
    proposal = await case.ask(case.shredding)
    assert (await case.first("POST", f"{proposal}/approve", {})).json()["code"] == "own_proposal"
    case.a_minute_later()
    assert case.keys() == 2
    await case.agreed(proposal)
    assert case.keys() == 0
    (said,) = records(case.api, "shred")
    assert (said["subject"], said["versions"], said["records"]) == (case.subject, [1, 2], 3)
    assert said["proposed_by"]["id"] == str(case.first.person_id)
    assert said["approved_by"]["id"] == str(case.second.person_id)
    (erasure,) = (await case.first.get("/v1/audit/erasures"))["items"]
    assert erasure == await case.first.get(f"/v1/audit/erasures/{erasure['erasure_id']}")
    assert (erasure["subject"], erasure["log_size"]) == (case.subject, 3)
    ((pc, subject),) = case.rows("SELECT pc, subject FROM audit_inbox WHERE kind = 'shred'")
    assert (erasure["commitment"], subject) == (pc.hex(), "tenant")
    assert case.rows("SELECT count(*) FROM audit_payloads") == [(3,)]


async def test_a_process_that_may_still_seal_with_the_keys_is_waited_for(case: Case):
    proposal = await case.ask(case.shredding)
    reply = await case.second("POST", f"{proposal}/approve", {})
    assert (reply.status, reply.json()["code"]) == (503, "shred_too_early")
    assert case.keys() == 2
    case.a_minute_later()
    await case.agreed(proposal)


async def test_within_the_retention_it_is_refused_and_said_until_when(case: Case):
    recorded = datetime.now(UTC) - timedelta(days=6 * 366)
    case.record(3, recorded)
    detail = await refused(case, "within_retention")  # the tenant itself says seven years
    assert str(recorded.year + 7) in detail


async def test_a_class_that_grew_keeps_what_was_recorded_before(case: Case):
    reply = await case.first("POST", "/v1/audit/retention", {"cls": "trade", "years": 60})
    assert reply.json() == {"cls": "trade", "years": 60, "regimes": []}
    await refused(case, "within_retention")


async def test_a_record_that_comes_between_question_and_yes_saves_the_keys(case: Case):
    proposal = await case.ask(case.shredding)
    case.a_minute_later()
    case.record(3, datetime.now(UTC))
    reply = await case.second("POST", f"{proposal}/approve", {})
    assert (reply.status, reply.json()["code"]) == (409, "within_retention")
    assert case.keys() == 2


async def test_a_record_that_waits_in_the_inbox_does_too(case: Case):
    proposal = await case.ask(case.shredding)
    case.a_minute_later()
    case.rows(
        "INSERT INTO audit_inbox (tenant_id, kind, ts, act, cls, pc, payload, subject)"
        " VALUES (%s, 'k', 1, '{}', 'trade', %s, '', %s)",
        case.api.tenant(), bytes(32), case.subject,
    )  # fmt: skip
    reply = await case.second("POST", f"{proposal}/approve", {})
    assert (reply.status, reply.json()["code"]) == (409, "within_retention")
    assert case.keys() == 2


async def test_a_key_that_was_made_between_question_and_yes_fails_the_proposal(case: Case):
    proposal = await case.ask(case.shredding)
    case.a_minute_later()
    case.rows(
        "INSERT INTO audit_data_keys (tenant_id, subject, version, wrapped) VALUES (%s, %s, 3, %s)",
        case.api.tenant(), case.subject, bytes(60),
    )  # fmt: skip
    reply = await case.second("POST", f"{proposal}/approve", {})
    assert reply.json()["code"] == "proposal_failed"
    assert case.keys() == 3


HOLDS = {
    "everything": lambda case: {},
    "the subject": lambda case: {"subject": case.subject},
    "the account": lambda case: {"acct": case.account},
    "an order of it": lambda case: {"oid": "o-held"},
    "a time in which it traded": lambda case: {
        "from_at": (OVER - timedelta(days=1)).isoformat(), "to_at": (OVER + timedelta(days=1)).isoformat(),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", HOLDS)
async def test_a_hold_beats_the_end_of_retention(case: Case, name: str):
    case.record(3, oid="o-held")
    hold = await case.hold(**HOLDS[name](case))
    detail = await refused(case, "under_hold")
    assert hold in detail
    assert "asked for" in detail


NO_HOLDS = {
    "another subject": {"subject": "account:other"},
    "another account": {"acct": "other"},
    "another order": {"oid": "other"},
    "another time": {"from_at": "2020-01-01T00:00:00Z"},
}


@pytest.mark.parametrize("name", NO_HOLDS)
async def test_a_hold_of_something_else_does_not(case: Case, name: str):
    await case.hold(**NO_HOLDS[name])
    await case.ask(case.shredding)


async def test_a_hold_holds_from_its_question_on_and_not_after_a_no(case: Case):
    proposal = await case.ask("/v1/audit/holds", acct=case.account)
    await refused(case, "under_hold")
    (waiting,) = (await case.first.get("/v1/audit/holds"))["items"]
    assert (waiting["acct"], waiting["approved_by"]) == (case.account, None)
    assert (await case.second("POST", f"{proposal}/reject", {})).status == 200
    await case.ask(case.shredding)


async def test_a_hold_between_question_and_yes_saves_the_keys(case: Case):
    proposal = await case.ask(case.shredding)
    case.a_minute_later()
    await case.hold(acct=case.account)
    reply = await case.second("POST", f"{proposal}/approve", {})
    assert (reply.status, reply.json()["code"]) == (409, "under_hold")
    assert case.keys() == 2


async def test_a_hold_is_released_by_two_and_holds_until_then(case: Case):
    hold = await case.hold(acct=case.account)
    proposal = await case.ask(f"/v1/audit/holds/{hold}/release")
    await refused(case, "under_hold")
    await case.agreed(proposal)
    (view,) = (await case.first.get("/v1/audit/holds"))["items"]
    assert view["released_by"]["id"] == str(case.first.person_id)
    assert [said["hold"] for kind in ("hold", "release") for said in records(case.api, kind)] == [
        hold, hold,
    ]  # fmt: skip
    again = await case.first("POST", f"/v1/audit/holds/{hold}/release", {"reason": "x"})
    assert again.status == 409
    await case.ask(case.shredding)


async def test_retention_grows_by_regimes_and_never_shrinks(case: Case):
    address = "/v1/audit/retention"
    for body, years in (
        ({"regimes": ["mifid-7", "twse"]}, 7), ({"years": 2}, 7), ({"regimes": ["finra"]}, 7),
        ({"years": 10}, 10),
    ):  # fmt: skip
        reply = await case.first("POST", address, {"cls": "trade", **body})
        assert (reply.status, reply.json()["years"]) == (200, years), reply
    found = await case.first.get(address)
    assert found["items"] == [
        {"cls": "admin", "years": 6, "regimes": []},
        {"cls": "trade", "years": 10, "regimes": ["finra", "mifid-7", "twse"]},
    ]
    assert (
        len([r for r in records(case.api, "admin.change") if r.get("object") == "retention"])
        == 2 + 1
    )


async def test_another_tenant_sees_and_touches_nothing_of_it(case: Case, people: People):
    hold = await case.hold(acct=case.account)
    stranger = await people("other", ["compliance"])
    assert (await stranger.get("/v1/audit/holds"))["items"] == []
    reply = await stranger("POST", f"/v1/audit/holds/{hold}/release", {"reason": "x"})
    assert reply.status == 404
    assert (await stranger("POST", case.shredding, {"reason": "x"})).status == 404
    assert case.keys() == 2


@pytest.mark.parametrize("subject", ["tenant", "account:", "person:a b", "x"])
async def test_only_an_account_or_a_person_is_shredded(case: Case, subject: str):
    reply = await case.first("POST", f"/v1/audit/subjects/{subject}/shred", {"reason": "x"})
    assert reply.status in (404, 422), reply
