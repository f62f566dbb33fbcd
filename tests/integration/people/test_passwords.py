"""Signing in with a password: who comes in, who is slowed, what is on record."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from argon2 import Parameters
from argon2.low_level import Type

from tenancy.passwords import Passwords
from tests.fixtures.people import PASSWORD, House

pytestmark = pytest.mark.stack


async def test_the_right_password_opens_a_session(house: House) -> None:
    person = await house.person(roles=("trader",))
    browser = house.browser()
    reply = await browser.sign_in(email=" ADA@example.com")
    assert (reply.status, reply.json()["person_id"]) == (200, str(person))
    assert "token" not in reply.json()
    [cookie] = reply.set_cookies
    assert cookie.startswith("__Host-portcullis_session=pcs_")
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    me = (await browser("GET", "/v1/me")).json()
    assert (me["email"], me["tenant"], me["roles"]) == ("ada@example.com", "acme", ["trader"])
    assert "orders:read" in me["actions"]
    assert house.events() == ["login"]
    assert house.rows("SELECT count(*) FROM login_throttles WHERE failures > 0") == [(0,)]


async def test_unknown_disabled_invited_archived_and_wrong_are_one_answer(house: House) -> None:
    await house.person()
    await house.person("out@example.com")
    await house.person("gone@example.com")
    await house.person("new@example.com", password=None)
    async with house.services.database.tenant(house.scope) as conn:
        await conn.execute("UPDATE people SET disabled = true WHERE email = 'out@example.com'")
        await conn.execute("UPDATE people SET archived_at = now() WHERE email = 'gone@example.com'")
    answers = set()
    for number, changes in enumerate(
        (
            {"password": "three blind mice hid"},
            {"email": "nobody@example.com"},
            {"email": "out@example.com"},
            {"email": "gone@example.com"},
            {"email": "new@example.com"},
            {"email": "no address"},
            {"tenant": "another"},
            {"tenant": "platform"},
        )
    ):
        reply = await house.browser(f"192.0.2.{number}").sign_in(**changes)
        said = {name: value for name, value in reply.json().items() if name != "trace_id"}
        answers.add((reply.status, msgspec.json.encode(said), reply.headers["www-authenticate"]))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 401
    assert b"login_failed" in next(iter(answers))[1]


async def test_who_is_known_leaves_a_record_and_who_is_not_leaves_none(house: House) -> None:
    person = await house.person()
    await house.browser().sign_in(password="wrong wrong wrong")
    await house.browser().sign_in(email="nobody@example.com")
    [record] = house.audit()
    assert (record["event"], record["person"], record["what"], record["failures"]) == (
        "login_failed", str(person), "password", 1,
    )  # fmt: skip
    assert house.rows("SELECT act FROM audit_inbox") == [('{"id":"sign-in","kind":"sys"}',)]


async def test_failures_slow_and_then_lock_also_the_right_password(house: House) -> None:
    """1, 2, 4, 8, 16 s, then a quarter of an hour."""
    await house.person()
    browser = house.browser()
    for _ in range(5):
        assert (await browser.sign_in(password="wrong wrong wrong")).status == 401
    for pause in (1, 2, 4, 8, 16):
        slowed = await browser.sign_in()
        assert (slowed.status, slowed.json()["code"]) == (429, "login_slowed")
        assert slowed.headers["retry-after"] == str(pause)
        house.clock.move(seconds=pause)
        assert (await browser.sign_in(password="wrong wrong wrong")).status == 401
    locked = await browser.sign_in()
    assert (locked.status, locked.headers["retry-after"]) == (429, "900")
    house.clock.move(minutes=14, seconds=59)
    assert (await browser.sign_in()).headers["retry-after"] == "1"
    house.clock.move(seconds=1)
    assert (await browser.sign_in()).status == 200
    assert house.events().count("login_locked") == 1


async def test_a_hundred_guesses_at_once_get_no_more_than_one_by_one(house: House) -> None:
    """Five are checked; the others, right or wrong, are not looked at."""
    await house.person()
    replies = await asyncio.gather(
        *(
            house.browser(f"198.51.100.{number}").sign_in(password=f"wrong {number:012}")
            for number in range(100)
        )
    )
    statuses = [reply.status for reply in replies]
    assert (statuses.count(401), statuses.count(429)) == (5, 95)
    assert house.events().count("login_failed") == 5
    assert (await house.browser("203.0.113.1").sign_in()).status == 429


async def test_an_address_that_guesses_at_many_is_locked_out_and_others_are_not(
    house: House,
) -> None:
    await house.person()
    guesser = house.browser("203.0.113.9")
    for number in range(50):
        reply = await guesser.sign_in(email=f"nobody{number}@example.com")
        assert reply.status == 401
    assert (await guesser.sign_in()).status == 429
    assert (await house.browser("203.0.113.10").sign_in()).status == 200
    house.clock.move(minutes=15)
    assert (await guesser.sign_in()).status == 200


async def test_coming_in_forgives_the_person_and_not_the_address(house: House) -> None:
    await house.person()
    browser = house.browser()
    for _ in range(4):
        await browser.sign_in(password="wrong wrong wrong")
    assert (await browser.sign_in()).status == 200
    assert house.rows("SELECT failures FROM login_throttles") == [(4,)]  # of the address


async def test_a_hash_of_yesterday_is_made_anew(house: House) -> None:
    await house.person()
    stronger = Passwords(
        Parameters(
            type=Type.ID, version=19, salt_len=16, hash_len=32, time_cost=2, memory_cost=16,
            parallelism=1,
        )
    )  # fmt: skip
    old = house.rows("SELECT hash FROM passwords")
    import msgspec

    from gateway.admin.app import admin_app

    sign_in = msgspec.structs.replace(house.services.sign_in, passwords=stronger)
    app = admin_app(msgspec.structs.replace(house.services, sign_in=sign_in), checks={})
    browser = house.browser()
    browser.app = app
    assert (await browser.sign_in()).status == 200
    assert house.rows("SELECT hash FROM passwords") != old
    assert "m=16,t=2" in house.rows("SELECT hash FROM passwords")[0][0]
    assert (await browser.sign_in(password=PASSWORD)).status == 200
    stronger.close()


async def test_ones_own_password_is_changed_with_the_current_one_and_the_others_go(
    house: House,
) -> None:
    await house.person()
    one, other = house.browser(), house.browser()
    await one.sign_in()
    await other.sign_in()
    path, new = "/v1/me/password", "five small ducks swam"
    wrong = await one("PUT", path, {"current_password": "not it not it", "password": new})
    assert (wrong.status, wrong.json()["code"]) == (401, "login_failed")
    short = await one("PUT", path, {"current_password": PASSWORD, "password": "acme ada 12"})
    assert short.status == 422
    done = await one("PUT", path, {"current_password": PASSWORD, "password": new})
    assert done.status == 204
    assert (await one("GET", "/v1/me")).status == 200
    assert (await other("GET", "/v1/me")).status == 401
    assert (await house.browser().sign_in()).status == 401
    assert (await house.browser().sign_in(password=new)).status == 200
    assert "password_changed" in house.events()


async def test_whoever_sits_at_an_open_session_guesses_no_faster(house: House) -> None:
    await house.person()
    browser = house.browser()
    await browser.sign_in()
    body = {"current_password": "not it not it", "password": "five small ducks swam"}
    statuses = [(await browser("PUT", "/v1/me/password", body)).status for _ in range(6)]
    assert statuses == [401] * 5 + [429]


async def test_many_changes_at_once_do_not_take_all_connections(house: House) -> None:
    """Each would hold one and wait for a second, and nobody else would be answered meanwhile."""
    await house.person()
    browser = house.browser()
    await browser.sign_in()
    body = {"current_password": PASSWORD, "password": "five small ducks swam"}
    async with asyncio.timeout(5):
        replies = await asyncio.gather(
            *(browser("PUT", "/v1/me/password", body) for _ in range(20)),
        )
    assert {reply.status for reply in replies} <= {204, 401, 409, 429}
    assert 204 in {reply.status for reply in replies}
