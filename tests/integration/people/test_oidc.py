"""Signing in at an identity provider: a real one on loopback, and what must not get past it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
import pyotp
import pytest

from gateway.admin.app import admin_app
from gateway.admin.oidc_client import Provider, ProviderSettings, check_issuer
from tenancy.clock import SystemClock
from tenancy.errors import ConfigurationError
from tests.fakes.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider
from tests.fixtures.people import Browser, House
from tests.integration.gateway.ingress import Reply

pytestmark = pytest.mark.stack


class Stage(msgspec.Struct):
    """A house that takes the provider's word."""

    house: House
    provider: OidcProvider

    def browser(self) -> Browser:
        return self.house.browser()


@pytest.fixture
async def stage(house: House, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    provider = OidcProvider()
    await provider.start()
    async with aiohttp.ClientSession() as http:
        settings = ProviderSettings(
            name="idp", issuer=provider.issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET,
            tenant="acme", domains=("Example.com",),
            second_factor=getattr(request, "param", "provider"),
        )  # fmt: skip
        sign_in = msgspec.structs.replace(
            house.services.sign_in, providers={"idp": Provider(settings, http, SystemClock())}
        )
        house.services = msgspec.structs.replace(house.services, sign_in=sign_in)
        house.app = admin_app(house.services, checks={})
        yield Stage(house, provider)
    await provider.stop()


async def begin(stage: Stage, browser: Browser) -> dict[str, str]:
    """To the provider and back: the query of the callback."""
    away = await browser("GET", "/v1/oidc/idp/login")
    assert away.status == 303
    return stage.provider.sign_in(away.headers["location"])


async def finish(browser: Browser, query: dict[str, str]) -> Reply:
    return await browser("GET", f"/v1/oidc/idp/callback?{urlencode(query)}")


async def sign_in(stage: Stage, browser: Browser) -> Reply:
    return await finish(browser, await begin(stage, browser))


def refused(reply: Reply, code: str = "oidc_failed", status: int = 401) -> bool:
    return (reply.status, reply.json()["code"]) == (status, code) and not any(
        cookie.startswith("__Host-portcullis_session=pcs") for cookie in reply.set_cookies
    )


async def test_an_invited_person_comes_in_by_a_verified_address_and_is_bound(stage: Stage) -> None:
    person = await stage.house.person(password=None)
    browser = stage.browser()
    assert (await browser("GET", "/v1/oidc")).json() == {"items": ["idp"]}
    reply = await sign_in(stage, browser)
    assert (reply.status, reply.headers["refresh"]) == (200, "0; url=/")
    assert list(browser.cookies) == ["__Host-portcullis_session"]
    me = (await browser("GET", "/v1/me")).json()
    assert (me["person_id"], me["second_factor"]) == (str(person), False)
    assert stage.house.events() == ["provider_bound", "login"]
    stage.provider.claims = {"email": "renamed@example.com"}
    again = stage.browser()
    assert (await sign_in(stage, again)).status == 200, "bound by subject, not by address"
    assert (await again("GET", "/v1/me")).json()["person_id"] == str(person)


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "somebody-else"},
        {"aud": "somebody-else", "azp": "portcullis"},
        {"aud": ["portcullis", "somebody-else"], "azp": "somebody-else"},
        {"iss": "https://another.test"},
        {"exp": int(time.time()) - 3600, "iat": int(time.time()) - 7200},
        {"exp": None},
        {"iat": int(time.time()) + 3600},
        {"email_verified": False},
        {"email_verified": "true"},
        {"email": None},
        {"email": "nobody@example.com"},
        {"email": "ada@elsewhere.test"},
        {"email": "ada@example.com@elsewhere.test"},
        {"sub": None},
    ],
)
async def test_what_does_not_hold_of_the_token_signs_nobody_in(
    stage: Stage, claims: dict[str, Any]
) -> None:
    await stage.house.person()
    stage.provider.claims = claims
    assert refused(await sign_in(stage, stage.browser()))
    assert stage.house.events() == []


@pytest.mark.parametrize("how", ["none", "HS256", "forged"])
async def test_a_token_that_the_provider_did_not_sign_signs_nobody_in(
    stage: Stage, how: str
) -> None:
    await stage.house.person()
    if how == "forged":
        keys = stage.provider.key
        await sign_in(stage, stage.browser())
        stage.provider.roll_keys()
        stage.provider.kid = "first"
        assert stage.provider.key is not keys
        stage.house.rows("UPDATE people SET oidc_issuer = NULL, oidc_subject = NULL RETURNING 1")
    else:
        stage.provider.algorithm = how
    assert refused(await sign_in(stage, stage.browser()))


async def test_rolled_keys_are_fetched_once_a_minute_at_most(stage: Stage) -> None:
    await stage.house.person()
    assert (await sign_in(stage, stage.browser())).status == 200
    stage.provider.roll_keys()
    for _ in range(5):
        assert refused(await sign_in(stage, stage.browser()))
    assert stage.provider.asked["/keys"] == 1
    provider = stage.house.services.sign_in.providers["idp"]  # type: ignore[union-attr]
    provider._keys_at -= 61
    assert (await sign_in(stage, stage.browser())).status == 200
    assert stage.provider.asked["/keys"] == 2


async def test_a_state_is_good_once_in_its_browser_and_for_ten_minutes(stage: Stage) -> None:
    await stage.house.person()
    browser = stage.browser()
    query = await begin(stage, browser)
    kept = browser.copy()
    assert refused(await finish(stage.browser(), query)), "another browser: login CSRF"
    assert (await finish(browser, query)).status == 200
    assert refused(await finish(kept, query)), "replayed"
    assert refused(await finish(stage.browser(), {"code": "x", "state": ""}))
    late = stage.browser()
    query = await begin(stage, late)
    stage.house.clock.move(minutes=10)
    assert refused(await finish(late, query))


async def test_an_error_another_issuer_and_a_foreign_code_sign_nobody_in(stage: Stage) -> None:
    await stage.house.person()
    for change in ({"error": "access_denied"}, {"iss": "https://another.test"}, {"code": "x"}):
        browser = stage.browser()
        assert refused(await finish(browser, {**await begin(stage, browser), **change}))


async def test_the_provider_away_is_unavailable_and_passwords_still_work(stage: Stage) -> None:
    await stage.house.person()
    browser = stage.browser()
    query = await begin(stage, browser)
    stage.provider.away = True
    assert refused(await finish(browser, query), "unavailable", 503)
    assert (await stage.browser().sign_in()).status == 200


async def test_a_disabled_person_does_not_come_in_this_way_either(stage: Stage) -> None:
    await stage.house.person()
    assert (await sign_in(stage, stage.browser())).status == 200
    async with stage.house.services.database.tenant(stage.house.scope) as conn:
        await conn.execute("UPDATE people SET disabled = true")
    assert refused(await sign_in(stage, stage.browser()))


async def test_a_second_account_at_the_provider_is_not_bound_to_the_same_person(
    stage: Stage,
) -> None:
    await stage.house.person()
    assert (await sign_in(stage, stage.browser())).status == 200
    stage.provider.claims = {"sub": "subject-2"}
    assert refused(await sign_in(stage, stage.browser()))


async def test_a_provider_that_saw_a_second_factor_is_believed_where_it_was_said_so(
    stage: Stage,
) -> None:
    await stage.house.person(roles=("admin",))
    stage.provider.claims = {"amr": ["pwd", "mfa"]}
    browser = stage.browser()
    assert (await sign_in(stage, browser)).status == 200
    assert (await browser("GET", "/v1/people")).status == 200
    stage.provider.claims = {"amr": ["pwd"]}
    browser = stage.browser()
    assert (await sign_in(stage, browser)).status == 200
    assert (await browser("GET", "/v1/people")).json()["code"] == "second_factor_enrolment_required"


@pytest.mark.parametrize("stage", ["own"], indirect=True)
async def test_otherwise_ones_own_second_factor_is_asked_for(stage: Stage) -> None:
    await stage.house.person()
    browser = stage.browser()
    await browser.sign_in()
    begun = (await browser("POST", "/v1/me/factors/totp", {})).json()
    totp = pyotp.TOTP(begun["secret"])
    path = f"/v1/me/factors/{begun['factor_id']}/confirm"
    await browser("POST", path, {"code": totp.at(stage.house.clock.now())})
    stage.house.clock.move(seconds=60)
    stage.provider.claims = {"amr": ["mfa"]}
    again = stage.browser()
    reply = await sign_in(stage, again)
    where, token = reply.headers["refresh"].split("#half_session=")
    assert (where, again.cookies) == ("0; url=/", {})
    body = {"half_session": token, "code": totp.at(stage.house.clock.now())}
    done = await again("POST", "/v1/sessions/second-factor", body)
    assert done.status == 200


async def test_an_unknown_provider_is_not_there(stage: Stage) -> None:
    assert (await stage.browser()("GET", "/v1/oidc/other/login")).status == 404


@pytest.mark.parametrize("url", ["http://idp.example", "https://", "ftp://127.0.0.1", "idp"])
def test_an_issuer_is_https(url: str) -> None:
    with pytest.raises(ConfigurationError, match="https"):
        check_issuer(url)
