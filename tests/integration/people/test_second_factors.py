"""Second factors: codes good once, keys that cannot be copied, and who cannot do without."""

from __future__ import annotations

import asyncio

import pyotp
import pytest

from tests.fixtures.people import PASSWORD, Browser, House
from tests.integration.gateway.ingress import Reply

pytestmark = pytest.mark.stack


async def with_totp(house: House, *roles: str) -> tuple[Browser, pyotp.TOTP]:
    """Ada, signed in, with an app; the clock is at a step whose code is not used."""
    await house.person(roles=roles or ("viewer",))
    browser = house.browser()
    await browser.sign_in()
    begun = (await browser("POST", "/v1/me/factors/totp", {"label": "phone"})).json()
    totp = pyotp.TOTP(begun["secret"])
    assert begun["uri"].startswith("otpauth://totp/Portcullis:ada%40example.com?secret=")
    path = f"/v1/me/factors/{begun['factor_id']}/confirm"
    assert (await browser("POST", path, {"code": "000000"})).status == 401
    confirmed = await browser("POST", path, {"code": totp.at(house.clock.now())})
    assert [one["label"] for one in confirmed.json()["items"]] == ["phone"]
    house.clock.move(seconds=60)
    return browser, totp


async def half(browser: Browser) -> str:
    """The half-session after a right password."""
    reply = await browser.sign_in()
    problem = reply.json()
    assert (reply.status, problem["code"], reply.set_cookies) == (
        401, "second_factor_required", (),
    )  # fmt: skip
    return str(problem["half_session"])


async def show(browser: Browser, token: str, code: str) -> Reply:
    body = {"half_session": token, "code": code}
    return browser.remember(await browser("POST", "/v1/sessions/second-factor", body))


async def test_a_password_alone_is_half_of_it(house: House) -> None:
    _, totp = await with_totp(house)
    browser = house.browser()
    token = await half(browser)
    thief = house.browser()
    thief.bearer = token
    assert (await thief("GET", "/v1/me")).status == 401
    assert (await show(browser, token, totp.at(house.clock.now()))).status == 200
    current = (await browser("GET", "/v1/sessions/current")).json()
    assert (current["second_factor"], current["must_enrol"]) == (True, False)
    assert (await show(house.browser(), token, "123456")).status == 401, "used up"
    assert house.rows("SELECT count(*) FROM login_throttles WHERE failures > 0") == [(0,)]


async def test_password_and_code_go_together_in_one_request(house: House) -> None:
    _, totp = await with_totp(house)
    assert (await house.browser().sign_in(code="000000")).json()["code"] == "second_factor_failed"
    code = totp.at(house.clock.now())
    assert (await house.browser().sign_in(code=f"{code[:3]} {code[3:]}")).status == 200


async def test_a_code_is_good_once_however_many_try_it_at_once(house: House) -> None:
    _, totp = await with_totp(house)
    code = totp.at(house.clock.now())
    replies = await asyncio.gather(
        *(house.browser(f"192.0.2.{n}").sign_in(code=code) for n in range(4))
    )
    assert sorted(reply.status for reply in replies) == [200, 401, 401, 401]
    assert (await house.browser().sign_in(code=code)).status == 401


async def test_one_step_before_and_after_is_taken_and_no_further(house: House) -> None:
    _, totp = await with_totp(house)
    for offset, status in ((-61, 401), (61, 401), (-30, 200)):
        at = house.clock.now().timestamp() + offset
        house.rows("DELETE FROM login_throttles RETURNING 1")
        assert (await house.browser().sign_in(code=totp.at(int(at)))).status == status, offset
    before = totp.at(int(house.clock.now().timestamp()) - 30)
    assert (await house.browser().sign_in(code=before)).status == 401
    assert (await house.browser().sign_in(code=totp.at(house.clock.now()))).status == 200


async def test_half_a_session_is_over_after_five_minutes(house: House) -> None:
    _, totp = await with_totp(house)
    browser = house.browser()
    token = await half(browser)
    house.clock.move(minutes=5)
    reply = await show(browser, token, totp.at(house.clock.now()))
    assert (reply.status, reply.json()["code"]) == (401, "session_over")


async def test_guesses_at_the_code_count_although_the_password_is_right(house: House) -> None:
    """Whoever has the password has five codes, not five for each time they type it."""
    await with_totp(house)
    browser, statuses = house.browser(), []
    for _ in range(5):
        token = await half(browser)
        statuses.append((await show(browser, token, "000000")).status)
    assert statuses == [401] * 5
    assert (await browser.sign_in()).status == 429
    assert (await show(browser, token, "000000")).status == 429


async def test_the_signer_away_lets_nobody_in_by_code(house: House) -> None:
    _, totp = await with_totp(house)
    house.vault.away = True
    reply = await house.browser().sign_in(code=totp.at(house.clock.now()))
    assert (reply.status, reply.json()["code"]) == (503, "unavailable")
    house.vault.away = False
    assert (await house.browser().sign_in(code=totp.at(house.clock.now()))).status == 200


async def test_a_security_key_signs_in_and_its_challenge_is_answered_once(house: House) -> None:
    await house.person()
    browser, key = house.browser(), house.authenticator()
    await browser.sign_in()
    begun = (await browser("POST", "/v1/me/factors/webauthn", {"label": "blue"})).json()
    path = f"/v1/me/factors/{begun['factor_id']}/confirm"
    credential = key.create(begun["options"])
    assert (await browser("POST", path, {"credential": credential})).status == 200
    assert (await browser("POST", path, {"credential": credential})).status == 404

    there = house.browser()
    token = await half(there)
    answer = await ask_and_sign(there, token, key)
    body = {"half_session": token, "credential": answer}
    replies = await asyncio.gather(
        *(there.copy()("POST", "/v1/sessions/second-factor", body) for _ in range(3))
    )
    assert sorted(reply.status for reply in replies) == [200, 401, 401]
    records = [one for one in house.audit() if one["event"] == "login"]
    assert records[-1]["method"] == "webauthn"


async def test_a_challenge_that_was_answered_wrongly_is_not_answered_again(house: House) -> None:
    await house.person()
    browser, key = house.browser(), house.authenticator()
    await browser.sign_in()
    begun = (await browser("POST", "/v1/me/factors/webauthn", {})).json()
    path = f"/v1/me/factors/{begun['factor_id']}/confirm"
    await browser("POST", path, {"credential": key.create(begun["options"])})
    token = await half(browser)
    good = await ask_and_sign(browser, token, key)
    bad = {**good, "response": {**good["response"], "signature": "AAAA"}}  # type: ignore[dict-item]
    for credential in (bad, good):
        body = {"half_session": token, "credential": credential}
        assert (await browser("POST", "/v1/sessions/second-factor", body)).status == 401
    body = {"half_session": token, "credential": await ask_and_sign(browser, token, key)}
    assert (await browser("POST", "/v1/sessions/second-factor", body)).status == 200


async def ask_and_sign(browser: Browser, token: str, key: object) -> dict[str, object]:
    asked = await browser("POST", "/v1/sessions/webauthn/challenge", {"half_session": token})
    return key.get(asked.json()["options"])  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("wrong", ["copy", "origin", "challenge", "key", "party"])
async def test_a_copied_key_another_page_and_an_old_challenge_do_not_sign_in(
    house: House, wrong: str
) -> None:
    await house.person()
    browser, key = house.browser(), house.authenticator()
    await browser.sign_in()
    begun = (await browser("POST", "/v1/me/factors/webauthn", {})).json()
    path = f"/v1/me/factors/{begun['factor_id']}/confirm"
    assert (await browser("POST", path, {"credential": key.create(begun["options"])})).status == 200
    token = await half(browser)
    good = await ask_and_sign(browser, token, key)
    assert (
        await browser("POST", "/v1/sessions/second-factor", {"half_session": token, "credential": good})
    ).status == 200  # fmt: skip

    token = await half(browser)
    if wrong == "copy":
        key.sign_count = 0
    elif wrong == "origin":
        key.origin = "https://portcullis.example.evil.test"
    elif wrong == "key":
        key.key = house.authenticator().key
    elif wrong == "party":
        key.rp_id = "evil.test"
    bad = await ask_and_sign(browser, token, key)
    body = {"half_session": token, "credential": good if wrong == "challenge" else bad}
    reply = await browser("POST", "/v1/sessions/second-factor", body)
    assert (reply.status, reply.json()["code"]) == (401, "second_factor_failed")


@pytest.mark.parametrize(
    "credential", [{}, {"id": 7}, {"id": "%%%"}, {"id": "AAAA", "rawId": None, "response": []}]
)
async def test_what_is_no_credential_is_refused_and_nothing_breaks(
    house: House, credential: dict[str, object]
) -> None:
    await house.person()
    browser, key = house.browser(), house.authenticator()
    await browser.sign_in()
    begun = (await browser("POST", "/v1/me/factors/webauthn", {})).json()
    path = f"/v1/me/factors/{begun['factor_id']}/confirm"
    assert (await browser("POST", path, {"credential": credential})).status == 401
    made = key.create(begun["options"])
    assert (await browser("POST", path, {"credential": made})).status == 200
    token = await half(browser)
    await ask_and_sign(browser, token, key)
    credential = {**credential, **({"id": made["id"]} if "response" in credential else {})}
    body = {"half_session": token, "credential": credential}
    assert (await browser("POST", "/v1/sessions/second-factor", body)).status == 401


async def test_recovery_codes_are_good_once_each(house: House) -> None:
    browser, _ = await with_totp(house)
    made = await browser("POST", "/v1/me/recovery-codes")
    codes = made.json()["codes"]
    assert (made.status, len(set(codes))) == (201, 10)
    assert (await house.browser().sign_in(code=codes[0].lower().replace("-", " "))).status == 200
    assert (await house.browser().sign_in(code=codes[0])).status == 401
    assert (await browser("GET", "/v1/me")).json()["recovery_codes_left"] == 9
    again = (await browser("POST", "/v1/me/recovery-codes")).json()["codes"]
    assert (await house.browser().sign_in(code=codes[1])).status == 401
    assert (await house.browser().sign_in(code=again[1])).status == 200


@pytest.mark.parametrize("role", ["admin", "approver"])
async def test_who_decides_for_others_does_nothing_before_enrolling(
    house: House, role: str
) -> None:
    await house.person(roles=(role, "trader"))
    browser = house.browser()
    assert (await browser.sign_in()).status == 200
    for method, path in (
        ("GET", "/v1/people"), ("GET", "/v1/signals"), ("GET", "/v1/sessions"),
        ("PATCH", "/v1/me"), ("PUT", "/v1/me/password"), ("POST", "/v1/me/recovery-codes"),
    ):  # fmt: skip
        reply = await browser(method, path)
        assert (reply.status, reply.json()["code"]) == (403, "second_factor_enrolment_required")
    current = (await browser("GET", "/v1/sessions/current")).json()
    assert (current["must_enrol"], current["actions"]) == (True, [])
    begun = (await browser("POST", "/v1/me/factors/totp", {})).json()
    code = pyotp.TOTP(begun["secret"]).at(house.clock.now())
    path = f"/v1/me/factors/{begun['factor_id']}/confirm"
    assert (await browser("POST", path, {"code": code})).status == 200
    assert (await browser("GET", "/v1/signals")).status == 200
    last = await browser("DELETE", f"/v1/me/factors/{begun['factor_id']}")
    assert (last.status, last.json()["code"]) == (409, "conflict")


async def test_an_operator_is_a_person_of_the_platform_and_enrols_first(house: House) -> None:
    await house.person("op@example.com", roles=("operator",), scope=house.platform)
    browser = house.browser()
    reply = await browser.sign_in(tenant="platform", email="op@example.com")
    assert reply.status == 200
    assert (await browser("GET", "/v1/people")).status == 403


async def test_the_first_factor_ends_sessions_that_a_password_alone_opened(house: House) -> None:
    await house.person()
    thief = house.browser()
    await thief.sign_in()
    browser, _ = house.browser(), None
    await browser.sign_in()
    begun = (await browser("POST", "/v1/me/factors/totp", {})).json()
    code = pyotp.TOTP(begun["secret"]).at(house.clock.now())
    await browser("POST", f"/v1/me/factors/{begun['factor_id']}/confirm", {"code": code})
    assert (await browser("GET", "/v1/me")).status == 200
    assert (await thief("GET", "/v1/me")).status == 401


async def test_a_factor_that_was_begun_is_none_and_is_forgotten(house: House) -> None:
    await house.person()
    browser = house.browser()
    await browser.sign_in()
    begun = (await browser("POST", "/v1/me/factors/totp", {})).json()
    assert (await house.browser().sign_in()).status == 200
    house.clock.move(minutes=10)
    code = pyotp.TOTP(begun["secret"]).at(house.clock.now())
    path = f"/v1/me/factors/{begun['factor_id']}/confirm"
    assert (await browser("POST", path, {"code": code})).status == 404


async def test_the_secret_is_sealed_and_only_shown_once(house: House) -> None:
    browser, totp = await with_totp(house)
    [(sealed,)] = house.rows("SELECT sealed FROM factors WHERE kind = 'totp'")
    assert totp.secret.encode() not in bytes(sealed)
    assert house.vault.sealed[0][1:2] + house.vault.sealed[0][3:] == (
        house.scope.tenant_id, "totp",
    )  # fmt: skip
    key = {"idempotency-key": "k1"}
    first = (await browser("POST", "/v1/me/factors/totp", {}, key)).json()
    again = (await browser("POST", "/v1/me/factors/totp", {}, key)).json()
    assert (first["factor_id"], again["secret"]) == (again["factor_id"], None)
    assert first["secret"] is not None
    assert PASSWORD not in str(house.audit())
    assert totp.secret not in str(house.audit())
