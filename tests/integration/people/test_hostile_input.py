"""What nobody sane would send to the door: refused in words, never a 5xx."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.people import House

pytestmark = pytest.mark.stack

TEXTS = [
    "",
    "\x00",
    "a\x00b",
    "\ud7ff\uffff",
    "１２３４５６",
    "' OR 1=1 --",
    "x" * 5000,
    "\n",
    "💶" * 25,
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_any_text_at_the_door_is_an_answer_below_500(house: House, text: str) -> None:
    await house.person()
    browser = house.browser()
    login = {"tenant": "acme", "email": "ada@example.com", "password": "x"}
    requests: list[tuple[str, str, Any]] = [
        *(("POST", "/v1/sessions", {**login, name: text}) for name in login),
        ("POST", "/v1/sessions", {**login, "code": text}),
        ("POST", "/v1/sessions/second-factor", {"half_session": text, "code": "123456"}),
        ("POST", "/v1/sessions/second-factor", {"half_session": "pch_x", "code": text}),
        ("POST", "/v1/sessions/second-factor", {"half_session": "x", "credential": {"id": text}}),
        ("POST", "/v1/sessions/webauthn/challenge", {"half_session": text}),
        ("POST", "/v1/invitations", {"invitation": text, "password": "three blind mice"}),
        ("POST", "/v1/invitations", {"invitation": "pci_x", "password": text}),
        ("GET", "/v1/oidc/%00/login", None),
        ("GET", "/v1/oidc/idp/callback?code=%00&state=%00", None),
    ]
    for method, path, body in requests:
        reply = await browser(method, path, body)
        assert 400 <= reply.status < 500, (path, body, reply)
        assert reply.json()["code"] != "internal"


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_any_text_of_somebody_inside_is_an_answer_below_500(house: House, text: str) -> None:
    browser = await house.signed_in("root@example.com", "admin")
    begun = (await browser("POST", "/v1/me/factors/totp", {})).json()["factor_id"]
    person = {"email": "bob@example.com", "name": "Bob", "roles": ["trader"]}
    requests: list[tuple[str, str, Any]] = [
        ("PATCH", "/v1/me", {"name": text}),
        ("PUT", "/v1/me/password", {"current_password": "x", "password": text}),
        ("POST", "/v1/me/factors/totp", {"label": text}),
        ("POST", "/v1/me/factors/webauthn", {"label": text}),
        ("POST", f"/v1/me/factors/{begun}/confirm", {"code": text}),
        ("POST", f"/v1/me/factors/{begun}/confirm", {"credential": {"id": text}}),
        ("POST", "/v1/me/factors/nobody/confirm", {"code": "123456"}),
        ("DELETE", "/v1/me/factors/nobody", None),
        ("DELETE", "/v1/sessions/nobody", None),
        *(("POST", "/v1/people", {**person, name: text}) for name in ("email", "name")),
        ("POST", "/v1/people", {**person, "email": "eve@example.com", "roles": [text]}),
        ("GET", "/v1/people?email=%00", None),
        ("GET", "/v1/people?state=%00", None),
    ]
    for method, path, body in requests:
        reply = await browser(method, path, body)
        assert reply.status < 500, (method, path, body, reply)
