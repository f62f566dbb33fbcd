"""The life of a session over HTTP: rotation, limits, CSRF, signing out."""

from __future__ import annotations

import asyncio

import pytest

from tests.fixtures.people import House

pytestmark = pytest.mark.stack

COOKIE = "__Host-portcullis_session"


async def test_a_token_rotates_and_the_one_before_lives_for_a_minute(house: House) -> None:
    await house.person()
    browser = house.browser()
    await browser.sign_in()
    first = browser.cookies[COOKIE]
    house.clock.move(minutes=15)
    late = browser.copy()
    reply = await browser("GET", "/v1/me")
    assert reply.status == 200
    assert browser.cookies[COOKIE] != first
    in_flight = await late("GET", "/v1/me")
    assert (in_flight.status, in_flight.set_cookies) == (200, ())
    house.clock.move(seconds=59)
    assert (await late("GET", "/v1/me")).status == 200
    house.clock.move(seconds=1)
    assert (await browser("GET", "/v1/me")).status == 200
    assert (await late("GET", "/v1/me")).status == 401
    assert (await browser("GET", "/v1/me")).status == 401, "whoever has the other one is out too"
    assert house.events() == ["login", "session_replayed"]


async def test_ten_requests_at_the_moment_of_rotation_all_pass_and_one_rotates(
    house: House,
) -> None:
    await house.person()
    browser = house.browser()
    await browser.sign_in()
    house.clock.move(minutes=15)
    replies = await asyncio.gather(*(browser.copy()("GET", "/v1/me") for _ in range(10)))
    assert [reply.status for reply in replies] == [200] * 10
    assert sum(len(reply.set_cookies) for reply in replies) == 1


async def test_idle_half_an_hour_and_it_is_over(house: House) -> None:
    await house.person()
    browser = house.browser()
    await browser.sign_in()
    for _ in range(3):
        house.clock.move(minutes=29)
        assert (await browser("GET", "/v1/me")).status == 200
    house.clock.move(minutes=30)
    reply = await browser("GET", "/v1/me")
    assert (reply.status, reply.json()["code"]) == (401, "session_over")
    assert house.rows("SELECT count(*) FROM sessions") == [(0,)]


async def test_twelve_hours_and_it_is_over_or_what_the_tenant_says(house: House) -> None:
    await house.person()
    async with house.services.database.tenant(house.scope) as conn:
        await conn.execute("""UPDATE tenants SET settings = '{"session_max_hours": 2}'""")
    browser = house.browser()
    await browser.sign_in()
    for _ in range(5):
        house.clock.move(minutes=20)
        assert (await browser("GET", "/v1/me")).status == 200
    house.clock.move(minutes=20)
    assert (await browser("GET", "/v1/me")).status == 401


async def test_a_change_over_a_cookie_needs_the_sessions_own_token(house: House) -> None:
    await house.person()
    await house.person("bob@example.com")
    browser, other = house.browser(), house.browser()
    await browser.sign_in()
    await other.sign_in(email="bob@example.com")
    own = browser.csrf
    for csrf in ("", "x", other.csrf):
        browser.csrf = csrf
        reply = await browser("PATCH", "/v1/me", {"name": "Eve"})
        assert (reply.status, reply.json()["code"]) == (403, "csrf_failed")
    browser.csrf = ""
    said = (await browser("GET", "/v1/sessions/current")).json()["csrf_token"]
    assert said == own
    browser.csrf = said
    assert (await browser("PATCH", "/v1/me", {"name": "Ada L."})).json()["name"] == "Ada L."


async def test_the_csrf_token_outlives_a_rotation(house: House) -> None:
    await house.person()
    browser = house.browser()
    await browser.sign_in()
    house.clock.move(minutes=16)
    assert (await browser("PATCH", "/v1/me", {"name": "Ada L."})).status == 200
    assert (await browser("PATCH", "/v1/me", {"name": "Ada M."})).status == 200


async def test_a_bearer_token_is_given_where_asked_for_and_neither_is_the_other(
    house: House,
) -> None:
    await house.person()
    shell, browser = house.browser(), house.browser()
    reply = await shell.sign_in(transport="bearer")
    assert reply.set_cookies == ()
    assert shell.bearer.startswith("pcs_")
    shell.csrf = ""
    assert (await shell("PATCH", "/v1/me", {"name": "Ada L."})).status == 200
    house.clock.move(minutes=20)
    assert (await shell("GET", "/v1/me")).status == 200
    browser.cookies[COOKIE] = shell.bearer
    assert (await browser("GET", "/v1/me")).status == 401
    await browser.sign_in()
    thief = house.browser()
    thief.bearer = browser.cookies[COOKIE]
    assert (await thief("GET", "/v1/me")).status == 401


@pytest.mark.parametrize("token", ["", "pcs_", "pcs_" + "x" * 43, "x" * 5000, "pcs_" + "%" * 43])
async def test_what_is_no_token_is_no_session(house: House, token: str) -> None:
    browser = house.browser()
    browser.cookies[COOKIE] = token
    assert (await browser("GET", "/v1/me")).status == 401
    bearer = house.browser()
    bearer.bearer = token
    assert (await bearer("GET", "/v1/me")).status == 401


async def test_signing_out_ends_it_here_and_on_the_server(house: House) -> None:
    await house.person()
    browser = house.browser()
    await browser.sign_in()
    kept = browser.copy()
    assert (await browser("DELETE", "/v1/sessions/current")).status == 204
    assert browser.cookies == {}
    assert (await kept("GET", "/v1/me")).status == 401
    assert house.events() == ["login", "logout"]


async def test_one_sees_and_ends_ones_own_sessions_and_nobody_elses(house: House) -> None:
    await house.person()
    await house.person("bob@example.com")
    here, there, bob = house.browser(), house.browser("192.0.2.8"), house.browser()
    await here.sign_in()
    second = (await there.sign_in()).json()["session_id"]
    bobs = (await bob.sign_in(email="bob@example.com")).json()["session_id"]
    items = (await here("GET", "/v1/sessions")).json()["items"]
    assert [(item["client"], item["current"]) for item in items] == [
        ("192.0.2.8", False), ("192.0.2.7", True),
    ]  # fmt: skip
    assert (await here("DELETE", f"/v1/sessions/{bobs}")).status == 404
    assert (await here("DELETE", f"/v1/sessions/{second}")).status == 204
    assert (await there("GET", "/v1/me")).status == 401
    await there.sign_in()
    assert (await here("DELETE", "/v1/sessions")).json() == {"ended": 1}
    assert (await there("GET", "/v1/me")).status == 401
    assert (await here("GET", "/v1/me")).status == 200
    assert (await bob("GET", "/v1/me")).status == 200


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE people SET roles = '{trader}'",
        "UPDATE people SET disabled = true",
        "UPDATE people SET archived_at = now()",
        "UPDATE people SET email = 'other@example.com'",
    ],
)
async def test_whatever_way_the_change_is_made_their_sessions_end(
    house: House, change: str
) -> None:
    await house.person()
    browser = house.browser()
    await browser.sign_in()
    async with house.services.database.tenant(house.scope) as conn:
        await conn.execute(change.encode())
    assert (await browser("GET", "/v1/me")).status == 401


async def test_a_new_name_ends_nothing(house: House) -> None:
    await house.person()
    browser = house.browser()
    await browser.sign_in()
    assert (await browser("PATCH", "/v1/me", {"name": "Ada L."})).status == 200
    assert (await browser("GET", "/v1/me")).json()["name"] == "Ada L."


async def test_a_service_key_has_no_session_and_is_no_person(house: House) -> None:
    from tenancy.store.service_keys import create_service_key

    async with house.services.database.tenant(house.scope) as conn:
        key = await create_service_key(conn, house.scope, "k", ["people:read"])
    client = house.browser()
    client.bearer = key
    for path in ("/v1/me", "/v1/sessions", "/v1/sessions/current", "/v1/me/factors"):
        assert (await client("GET", path)).status == 403, path
