"""The first person of a tenant, and the last way back in."""

from __future__ import annotations

import pytest

from ops.people import make_person, reset_person
from tenancy.errors import Conflict, Invalid, NotFound
from tenancy.people import Person
from tests.fixtures.people import BASE_URL, PASSWORD, House

pytestmark = pytest.mark.stack


def token(url: str) -> str:
    return url.removeprefix(f"{BASE_URL}/#invitation=")


async def test_the_first_operator_is_made_on_the_host_and_signs_in(house: House) -> None:
    database = house.services.database
    person = Person(email="op@example.com", name="Op", roles=("operator",))
    made = await make_person(database, house.platform, person, base_url=BASE_URL, clock=house.clock)
    body = {"invitation": token(made.url), "password": PASSWORD}
    assert (await house.browser()("POST", "/v1/invitations", body)).status == 200
    browser = house.browser()
    reply = await browser.sign_in(tenant="platform", email="op@example.com")
    assert reply.json()["person_id"] == str(made.person_id)
    [first, *_] = house.audit(house.platform.tenant_id)
    assert (first["object"], first["after"]["roles"]) == ("person", ["operator"])
    assert token(made.url) not in str(house.audit(house.platform.tenant_id))
    with pytest.raises(Conflict):
        await make_person(database, house.platform, person, base_url=BASE_URL, clock=house.clock)
    with pytest.raises(Invalid, match="operator"):
        await make_person(database, house.scope, person, base_url=BASE_URL, clock=house.clock)


async def test_who_lost_everything_is_invited_anew_without_factors(house: House) -> None:
    admin = await house.signed_in("root@example.com", "admin")
    database = house.services.database
    made = await reset_person(
        database, house.scope, "Root@example.com", base_url=BASE_URL, clock=house.clock
    )
    assert (await admin("GET", "/v1/me")).status == 401
    assert (await house.browser().sign_in(email="root@example.com")).status == 401
    body = {"invitation": token(made.url), "password": PASSWORD}
    assert (await house.browser()("POST", "/v1/invitations", body)).status == 200
    reply = await house.browser().sign_in(email="root@example.com")
    assert (reply.status, reply.json()["second_factor"]) == (200, False)
    assert "reset_on_the_host" in house.events()
    assert house.rows("SELECT revision, why FROM revisions") == [(2, "reset on the host")]
    with pytest.raises(NotFound):
        await reset_person(
            database, house.scope, "nobody@example.com", base_url=BASE_URL, clock=house.clock
        )
