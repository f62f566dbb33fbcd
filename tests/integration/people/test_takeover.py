"""Nobody gets hold of an account that may do more than they, nor alone of the second person's."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tenancy.store.service_keys import create_service_key
from tests.fixtures.people import PASSWORD, Browser, House

pytestmark = pytest.mark.stack


async def with_key(house: House, *scopes: str) -> Browser:
    """A program with these scopes, made on the host."""
    async with house.services.database.tenant(house.scope) as conn:
        key = await create_service_key(conn, house.scope, "program", frozenset(scopes))
    browser = house.browser()
    browser.bearer = key
    return browser


async def make(browser: Browser, *roles: str) -> Any:
    person = {"email": "new@example.com", "name": "New", "roles": roles}
    return await browser("POST", "/v1/people", person)


def guard(house: House, category: str) -> None:
    with psycopg.connect(house.database.superuser) as conn:
        conn.execute(
            "UPDATE tenants SET settings = jsonb_build_object('four_eyes', jsonb_build_array(%s::text))"
            " WHERE tenant_id = %s",
            (category, house.scope.tenant_id),
        )


async def test_a_key_that_makes_people_makes_none_that_may_do_more_than_it(house: House) -> None:
    program = await with_key(house, "people:write", "people:read")
    refused = await make(program, "admin")
    assert (refused.status, refused.json()["code"]) == (403, "forbidden")
    plain = await make(program)
    assert plain.status == 201
    address = f"/v1/people/{plain.json()['person_id']}"
    raised = await program("PATCH", address, {"roles": ["trader"]}, {"if-match": '"1"'})
    assert raised.status == 403


async def test_a_key_that_makes_people_gets_hold_of_nobody_who_may_do_more(house: House) -> None:
    program = await with_key(house, "people:write", "people:read")
    root = await house.person("root@example.com", roles=("admin",))
    address = f"/v1/people/{root}"
    assert (await program("POST", f"{address}/invitation")).status == 403
    assert (
        await program("DELETE", f"{address}/factors", headers={"if-match": '"1"'})
    ).status == 403
    other = await program("PATCH", address, {"email": "mine@example.com"}, {"if-match": '"1"'})
    assert other.status == 403
    assert (await house.browser().sign_in(email="root@example.com")).status == 200


async def test_nobody_raises_their_own_roles_by_a_key_of_theirs(house: House) -> None:
    admin = await house.signed_in("root@example.com", "admin")
    me = (await admin("GET", "/v1/me")).json()["person_id"]
    scopes = [s for s in (await admin("GET", "/v1/me")).json()["actions"] if "decide" not in s]
    made = await admin("POST", "/v1/service-keys", {"name": "mine", "scopes": scopes})
    assert made.status == 201, made
    program = house.browser()
    program.bearer = made.json()["key"]
    raised = await program(
        "PATCH", f"/v1/people/{me}", {"roles": ["admin", "compliance"]}, {"if-match": '"1"'}
    )
    assert (raised.status, raised.json()["code"]) == (403, "forbidden")


async def test_who_guards_anything_guards_roles_so_nobody_makes_their_second_person(
    house: House,
) -> None:
    admin = await house.signed_in("root@example.com", "admin")
    guard(house, "limits")
    assert (await make(admin, "approver")).status == 202


async def test_the_password_of_a_second_person_is_reset_by_two(house: House) -> None:
    """An administrator alone has no link to the account of whoever is to agree with them."""
    first = await house.signed_in("root@example.com", "admin")
    second = await house.signed_in("two@example.com", "admin")
    bob = await house.person("bob@example.com", roles=("trader",))
    guard(house, "limits")
    address = f"/v1/people/{bob}/invitation"
    asked = await first("POST", address)
    assert (asked.status, "invitation" in asked.json()) == (202, False)
    assert (await house.browser().sign_in(email="bob@example.com")).status == 200, "as before"
    decision = f"/v1/proposals/{asked.json()['proposal_id']}/approve"
    assert (await first("POST", decision, {})).json()["code"] == "own_proposal"
    assert (await second("POST", decision, {})).json()["state"] == "applied"
    assert (await house.browser().sign_in(email="bob@example.com")).status == 401, "reset"
    invited = await first("POST", address)
    assert invited.status == 201
    token = {"invitation": invited.json()["invitation"], "password": PASSWORD}
    assert (await house.browser()("POST", "/v1/invitations", token)).status == 200
    house.clock.move(minutes=1)
    assert (await first("POST", address)).status == 202, "used up: the next reset is asked for anew"
