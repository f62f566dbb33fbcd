"""Nothing that opens anything is in a log, an error or an audit record; and a real token seals what is kept."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import pyotp
import pytest
import structlog
from structlog.testing import capture_logs

from gateway.admin.app import admin_app
from hsm import ceremony
from tests.fixtures.people import PASSWORD, House
from tests.fixtures.softhsm import SoftHSM

pytestmark = pytest.mark.stack


@pytest.fixture
def standard_log() -> Iterator[io.StringIO]:
    """Everything that goes through the standard library's logging, down to debug."""
    text = io.StringIO()
    handler, root = logging.StreamHandler(text), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


async def test_no_secret_and_no_address_is_in_any_log_or_record(
    house: House, standard_log: io.StringIO
) -> None:
    wrong, fresh = "wrong mice wrong cheese", "five small ducks swam"
    secrets: list[str] = [PASSWORD, wrong, fresh]
    structlog.reset_defaults()
    with capture_logs() as logged:
        admin = await house.signed_in("root@example.com", "admin")
        made = (
            await admin("POST", "/v1/people", {"email": "ada@example.com", "name": "Ada"})
        ).json()
        secrets += [made["invitation"], admin.csrf, *admin.cookies.values()]
        body = {"invitation": made["invitation"], "password": PASSWORD}
        await house.browser()("POST", "/v1/invitations", body)
        browser = house.browser()
        await browser.sign_in(password=wrong)
        await browser.sign_in(email="nobody@example.com", password=wrong)
        bearer = (await browser.sign_in(transport="bearer")).json()["token"]
        begun = (await browser("POST", "/v1/me/factors/totp", {})).json()
        code = pyotp.TOTP(begun["secret"]).at(house.clock.now())
        path = f"/v1/me/factors/{begun['factor_id']}/confirm"
        await browser("POST", path, {"code": code})
        codes = (await browser("POST", "/v1/me/recovery-codes")).json()["codes"]
        half = (await house.browser().sign_in()).json()["half_session"]
        body = {"half_session": half, "code": "000000"}
        await house.browser()("POST", "/v1/sessions/second-factor", body)
        secrets += [bearer, begun["secret"], code, half, *codes]
        body = {"current_password": PASSWORD, "password": fresh}
        await browser("PUT", "/v1/me/password", body)
        for _ in range(7):
            await house.browser().sign_in(password=wrong)
    assert any(entry["event"] == "login_failed" for entry in logged)
    assert any(entry["event"] == "login_refused" for entry in logged)
    everything = f"{logged}{standard_log.getvalue()}"
    kept = str(house.audit()) + str(house.rows("SELECT * FROM idempotency_keys, revisions"))
    for secret in secrets:
        assert secret not in everything
        assert secret not in kept
    assert "example.com" not in everything


async def test_what_the_tables_keep_opens_nothing(house: House) -> None:
    admin = await house.signed_in("root@example.com", "admin")
    made = (await admin("POST", "/v1/people", {"email": "ada@example.com", "name": "Ada"})).json()
    codes = (await admin("POST", "/v1/me/recovery-codes")).json()["codes"]
    dump = ""
    for table in ("people", "passwords", "factors", "invitations", "sessions", "login_steps"):
        dump += str(house.rows(f"SELECT row_to_json(t)::text FROM {table} t"))
    for secret in (PASSWORD, made["invitation"], *admin.cookies.values(), *codes):
        assert secret not in dump


def test_what_holds_a_secret_does_not_show_it() -> None:
    from gateway.admin.factors import BegunTotp, Confirmation, RecoveryCodes
    from gateway.admin.invitations import TakeUp
    from gateway.admin.me import NewPassword
    from gateway.admin.oidc_client import ProviderSettings
    from gateway.admin.people import Invited
    from gateway.admin.sessions import LogIn, SecondFactor, SignedIn
    from tenancy.clock import SystemClock
    from tenancy.ids import new_id
    from tenancy.sessions import Opened

    now, secret = SystemClock().now(), "the-secret"
    values: list[Any] = [
        LogIn(tenant="t", email="e", password=secret),
        SecondFactor(half_session=secret, code=secret),
        TakeUp(invitation=secret, password=secret),
        NewPassword(current_password=secret, password=secret),
        Confirmation(code=secret),
        RecoveryCodes(codes=[secret]),
        BegunTotp(factor_id=new_id(), secret=secret, uri=secret),
        Opened(session_id=new_id(), token=secret, csrf_token=secret, expires_at=now),
        SignedIn(
            session_id=new_id(), person_id=new_id(), csrf_token=secret, expires_at=now,
            second_factor=False, token=secret,
        ),
        Invited(person_id=new_id(), invitation_expires_at=now, invitation=secret,
                invitation_url=secret),
        ProviderSettings(
            name="n", issuer="i", client_id="c", client_secret=secret, tenant="t",
            domains=("d",), second_factor="own",
        ),
    ]  # fmt: skip
    for value in values:
        assert secret not in repr(value), type(value)


async def test_a_real_token_seals_and_opens_the_secret_of_an_app(
    house: House, vault: SoftHSM
) -> None:
    """The enroller's and the signer's own daemons on SoftHSM; the tenant's own keys."""
    ceremony.create_tenant_keys(vault.settings, house.scope.tenant_id)
    async with vault.signer() as signer, vault.enroller() as enroller:
        services = msgspec.structs.replace(house.services, signer=signer, enroller=enroller)
        house.app = admin_app(services, checks={})
        await house.person()
        browser = house.browser()
        await browser.sign_in()
        begun = (await browser("POST", "/v1/me/factors/totp", {})).json()
        totp = pyotp.TOTP(begun["secret"])
        path = f"/v1/me/factors/{begun['factor_id']}/confirm"
        confirmed = await browser("POST", path, {"code": totp.at(house.clock.now())})
        assert confirmed.status == 200
        house.clock.move(seconds=60)
        reply = await house.browser().sign_in(code=totp.at(house.clock.now()))
        assert reply.status == 200
    [(sealed,)] = house.rows("SELECT sealed FROM factors")
    assert totp.secret.encode() not in bytes(sealed)
