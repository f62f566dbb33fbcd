"""The last way back in."""

from __future__ import annotations

import pytest

from ops.people import reset_person
from tenancy.errors import NotFound
from tests.fixtures.people import BASE_URL, PASSWORD, House

pytestmark = pytest.mark.stack


def token(url: str) -> str:
    return url.removeprefix(f"{BASE_URL}/#invitation=")


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
