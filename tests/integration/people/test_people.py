"""People as a resource: invited, changed, reset, and out at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pyotp
import pytest

from tests.fixtures.people import PASSWORD, Browser, House
from tests.integration.gateway.ingress import Reply

pytestmark = pytest.mark.stack

NEW = {"email": "bob@example.com", "name": "Bob", "roles": ["trader"]}


async def take_up(house: House, token: str, password: str = PASSWORD) -> Reply:
    body = {"invitation": token, "password": password}
    return await house.browser()("POST", "/v1/invitations", body)


async def patch(browser: Browser, person: str, revision: int, **changes: Any) -> Reply:
    return await browser("PATCH", f"/v1/people/{person}", changes, {"if-match": f'"{revision}"'})


async def test_an_invited_person_sets_a_password_and_comes_in(house: House) -> None:
    admin = await house.signed_in("root@example.com", "admin")
    made = await admin("POST", "/v1/people", NEW, {"idempotency-key": "once"})
    person = made.json()
    assert (made.status, person["state"], person["revision"]) == (201, "invited", 1)
    assert person["invitation_url"].endswith("/#invitation=" + person["invitation"])
    again = await admin("POST", "/v1/people", NEW, {"idempotency-key": "once"})
    assert (again.status, again.json()["invitation"]) == (201, None)
    assert again.json()["person_id"] == person["person_id"]
    assert (await take_up(house, person["invitation"], "Bob at acme 1")).status == 422
    taken = await take_up(house, person["invitation"])
    assert taken.json() == {"tenant": "acme", "email": "bob@example.com"}
    reused = await take_up(house, person["invitation"])
    assert (reused.status, reused.json()["code"]) == (410, "invitation_over")
    bob = house.browser()
    assert (await bob.sign_in(email="bob@example.com")).status == 200
    shown = (await admin("GET", f"/v1/people/{person['person_id']}")).json()
    assert shown["state"] == "active"
    assert "hash" not in str(shown)


async def test_an_invitation_is_taken_up_once_however_many_try(house: House) -> None:
    admin = await house.signed_in("root@example.com", "admin")
    token = (await admin("POST", "/v1/people", NEW)).json()["invitation"]
    replies = await asyncio.gather(*(take_up(house, token) for _ in range(5)))
    assert sorted(reply.status for reply in replies) == [200, 410, 410, 410, 410]


async def test_an_invitation_ends_after_a_week_with_the_next_one_and_with_the_person(
    house: House,
) -> None:
    admin = await house.signed_in("root@example.com", "admin")
    person = (await admin("POST", "/v1/people", NEW)).json()
    path = f"/v1/people/{person['person_id']}"
    second = (await admin("POST", f"{path}/invitation")).json()["invitation"]
    assert (await take_up(house, person["invitation"])).status == 410
    await patch(admin, person["person_id"], 1, disabled=True)
    assert (await take_up(house, second)).status == 410
    await patch(admin, person["person_id"], 2, disabled=False)
    assert (await take_up(house, second)).status == 410
    third = (await admin("POST", f"{path}/invitation")).json()["invitation"]
    house.clock.move(days=7)
    assert (await take_up(house, third)).status == 410


async def test_a_reset_takes_the_password_and_the_sessions_and_leaves_the_second_factor(
    house: House,
) -> None:
    admin = await house.signed_in("root@example.com", "admin")
    bob = await house.signed_in("bob@example.com", "approver")
    person = (await bob("GET", "/v1/me")).json()["person_id"]
    token = (await admin("POST", f"/v1/people/{person}/invitation")).json()["invitation"]
    assert (await bob("GET", "/v1/me")).status == 401
    assert (await house.browser().sign_in(email="bob@example.com")).json()["code"] == "login_failed"
    new = "five small ducks swam"
    assert (await take_up(house, token, new)).status == 200
    reply = await house.browser().sign_in(email="bob@example.com", password=new)
    assert reply.json()["code"] == "second_factor_required"


async def test_lost_factors_are_taken_away_by_an_administrator_and_sessions_end(
    house: House,
) -> None:
    admin = await house.signed_in("root@example.com", "admin")
    bob = await house.signed_in("bob@example.com", "approver")
    person = (await bob("GET", "/v1/me")).json()["person_id"]
    path = f"/v1/people/{person}/factors"
    assert (await admin("DELETE", path)).status == 428
    assert (await admin("DELETE", path, headers={"if-match": '"1"'})).status == 200
    assert (await bob("GET", "/v1/me")).status == 401
    assert house.rows("SELECT count(*) FROM factors WHERE person_id = %s", person) == [(0,)]
    again = house.browser()
    assert (await again.sign_in(email="bob@example.com")).status == 200
    assert (await again("GET", "/v1/signals")).json()["code"] == "second_factor_enrolment_required"


async def test_nobody_raises_their_own_roles_nor_takes_the_last_administrator_away(
    house: House,
) -> None:
    admin = await house.signed_in("root@example.com", "admin")
    me = (await admin("GET", "/v1/me")).json()["person_id"]
    raised = await patch(admin, me, 1, roles=["admin", "compliance"])
    assert (raised.status, raised.json()["code"]) == (403, "forbidden")
    for change in ({"roles": []}, {"disabled": True}):
        reply = await patch(admin, me, 1, **change)
        assert (reply.status, reply.json()["code"]) == (409, "conflict")
    gone = await admin("DELETE", f"/v1/people/{me}", headers={"if-match": '"1"'})
    assert gone.status == 409
    await house.person("second@example.com", roles=("admin",))
    assert (await patch(admin, me, 1, roles=[])).status == 200
    assert (await admin("GET", "/v1/me")).status == 401, "fewer roles: signed out"


async def test_two_administrators_cannot_remove_each_other_at_once(house: House) -> None:
    first = await house.signed_in("first@example.com", "admin")
    second = await house.signed_in("second@example.com", "admin")
    ids = [(await browser("GET", "/v1/me")).json()["person_id"] for browser in (first, second)]
    replies = await asyncio.gather(
        patch(first, ids[1], 1, disabled=True), patch(second, ids[0], 1, disabled=True)
    )
    assert sorted(reply.status for reply in replies)[0] == 200
    assert house.rows("SELECT count(*) FROM people WHERE NOT disabled") == [(1,)]


async def test_a_role_is_one_of_the_tenants_kind(house: House) -> None:
    admin = await house.signed_in("root@example.com", "admin")
    reply = await admin("POST", "/v1/people", {**NEW, "roles": ["operator"]})
    assert (reply.status, reply.json()["field"]) == (422, "roles")


async def test_an_address_is_in_use_once_until_its_person_is_archived(house: House) -> None:
    admin = await house.signed_in("root@example.com", "admin")
    person = (await admin("POST", "/v1/people", NEW)).json()["person_id"]
    twice = await admin("POST", "/v1/people", {**NEW, "email": "BOB@example.com"})
    assert (twice.status, twice.json()["code"]) == (409, "conflict")
    gone = await admin("DELETE", f"/v1/people/{person}", headers={"if-match": '"1"'})
    assert gone.status == 204
    assert (await admin("POST", "/v1/people", NEW)).status == 201
    listed = (await admin("GET", "/v1/people?state=invited")).json()["items"]
    assert [one["email"] for one in listed] == ["bob@example.com"]


async def test_only_who_may_write_people_does(house: House) -> None:
    for role in ("trader", "viewer", "compliance"):
        browser = await house.signed_in(f"{role}@example.com", role)
        assert (await browser("POST", "/v1/people", NEW)).status == 403, role
    person = house.rows("SELECT person_id FROM people LIMIT 1")[0][0]
    assert (await browser("POST", f"/v1/people/{person}/invitation")).status == 403


async def test_more_roles_wait_for_a_second_person_where_the_tenant_says_so(house: House) -> None:
    admin = await house.signed_in("root@example.com", "admin")
    bob = str(await house.person("bob@example.com"))
    async with house.services.database.tenant(house.scope) as conn:
        await conn.execute("""UPDATE tenants SET settings = '{"four_eyes": ["roles"]}'""")
    for reply in (
        await patch(admin, bob, 1, roles=["trader"]),
        await patch(admin, bob, 1, email="mallory@example.com"),
        await admin("POST", "/v1/people", {**NEW, "email": "new@example.com"}),
        await admin("DELETE", f"/v1/people/{bob}/factors", headers={"if-match": '"1"'}),
    ):
        assert (reply.status, reply.json()["status"]) == (202, "proposed")
        assert "invitation" not in reply.json()
    assert house.rows("SELECT roles, revision FROM people WHERE person_id = %s", bob) == [
        (["viewer"], 1)
    ]
    assert (await patch(admin, bob, 1, roles=[])).status == 200, "fewer roles never wait"


async def test_what_two_agreed_on_happens_and_ends_sessions(house: House) -> None:
    """Roles given and factors taken away come into force with the second person's yes."""
    first = await house.signed_in("first@example.com", "admin")
    second = await house.signed_in("second@example.com", "admin")
    bob = await house.signed_in("bob@example.com", "approver")
    person = (await bob("GET", "/v1/me")).json()["person_id"]
    async with house.services.database.tenant(house.scope) as conn:
        await conn.execute("""UPDATE tenants SET settings = '{"four_eyes": ["roles"]}'""")
    lost = await first("DELETE", f"/v1/people/{person}/factors", headers={"if-match": '"1"'})
    assert (await bob("GET", "/v1/me")).status == 200, "nothing has happened yet"
    path = f"/v1/proposals/{lost.json()['proposal_id']}/approve"
    own = await first("POST", path, {})
    assert own.status == 403
    agreed = await second("POST", path, {})
    assert agreed.status == 200, agreed
    assert (await bob("GET", "/v1/me")).status == 401
    assert house.rows("SELECT count(*) FROM factors WHERE person_id = %s", person) == [(0,)]
    more = await patch(first, person, 2, roles=["approver", "trader"])
    path = f"/v1/proposals/{more.json()['proposal_id']}/approve"
    assert (await second("POST", path, {})).status == 200
    shown = (await first("GET", f"/v1/people/{person}")).json()
    assert (shown["roles"], shown["revision"]) == (["approver", "trader"], 3)


async def test_another_tenants_people_are_not_there(house: House) -> None:
    operator = str(await house.person("op@example.com", roles=("operator",), scope=house.platform))
    admin = await house.signed_in("root@example.com", "admin")
    for method, path in (
        ("GET", ""), ("POST", "/invitation"), ("DELETE", "/sessions"), ("DELETE", "/factors"),
        ("DELETE", ""),
    ):  # fmt: skip
        reply = await admin(method, f"/v1/people/{operator}{path}", headers={"if-match": "*"})
        assert reply.status == 404, (method, path)
    assert all(
        one["email"] != "op@example.com"
        for one in (await admin("GET", "/v1/people")).json()["items"]
    )


async def test_an_administrator_ends_somebodys_sessions_with_a_record(house: House) -> None:
    admin = await house.signed_in("root@example.com", "admin")
    bob = await house.signed_in("bob@example.com", "viewer")
    person = (await bob("GET", "/v1/me")).json()["person_id"]
    reply = await admin(
        "DELETE", f"/v1/people/{person}/sessions", headers={"portcullis-reason": "lost laptop"}
    )
    assert reply.json() == {"ended": 1}
    assert (await bob("GET", "/v1/me")).status == 401
    record = [one for one in house.audit() if one.get("event") == "sessions_ended"][-1]
    assert (record["of"], record["why"]) == (person, "lost laptop")


async def test_a_rollback_to_more_roles_of_ones_own_is_raising_them(house: House) -> None:
    admin = await house.signed_in("root@example.com", "admin")
    await house.person("second@example.com", roles=("admin",))
    me = (await admin("GET", "/v1/me")).json()["person_id"]
    second = house.browser()
    await second.sign_in(email="second@example.com")
    begun = (await second("POST", "/v1/me/factors/totp", {})).json()
    code = pyotp.TOTP(begun["secret"]).at(house.clock.now())
    await second("POST", f"/v1/me/factors/{begun['factor_id']}/confirm", {"code": code})
    assert (await patch(second, me, 1, roles=["admin", "compliance"])).status == 200
    assert (await patch(second, me, 2, roles=["admin"])).status == 200
    house.clock.move(seconds=60)
    [(sealed, factor)] = house.rows(
        "SELECT sealed, factor_id FROM factors WHERE person_id = %s", me
    )
    secret = await house.vault.open_secret(
        bytes(sealed), tenant_id=house.scope.tenant_id, subject=str(factor)
    )
    code = pyotp.TOTP(secret.decode()).at(house.clock.now())
    assert (await admin.sign_in(email="root@example.com", code=code)).status == 200
    reply = await admin("POST", f"/v1/people/{me}/rollback", {"revision": 2}, {"if-match": '"3"'})
    assert (reply.status, reply.json()["code"]) == (403, "forbidden")
