"""A hook's signing secrets: shown once, changed over with an overlap, in force at ingress within a second."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.hooks.listener import hooks_listener
from gateway.hooks.settings import HookSettings
from tenancy.clock import SystemClock
from tenancy.database import Database
from tests.fakes.hooks import BASE_URL, BODY, signed
from tests.fixtures.api import Api
from tests.integration.gateway.ingress import GENEROUS, post
from tests.integration.gateway.set_up import furnish, holders, rows

pytestmark = pytest.mark.stack

ED25519 = base64.b64encode(bytes(range(32))).decode()


@asynccontextmanager
async def ingress(api: Api, redis_socket: str) -> Any:
    """A whole ingress that compares every second, as in production, with the vault as its signer."""
    conninfo = api.database.conninfo("ingress")
    database = Database(conninfo, name="ingress", size=2, acquire_timeout_s=1.0)
    await database.open()
    redis = Redis(unix_socket_path=redis_socket)
    async with hooks_listener(
        conninfo=conninfo, database=database, redis=redis, opener=api.vault, clock=SystemClock(),
        settings=HookSettings(management_base_url=BASE_URL, rate=GENEROUS),
    ) as listener:  # fmt: skip
        yield listener.app
    await database.close()
    await redis.aclose()


async def _send(app: Any, hook: dict[str, Any], secret: str) -> int:
    reply = await post(app, f"/v1/hooks/{hook['hook_id']}", signed(secret, BODY), BODY)
    return reply.status


async def _within_a_second(what: Callable[[], Any], wanted: int) -> None:
    """And not only at the end of it: the comparison has its own time, and the statement some."""
    for _ in range(24):
        if await what() == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not {wanted} after 1.2 s: {await what()}")


async def _hook(api: Api) -> dict[str, Any]:
    admin = api.as_("admin")
    strategy = (await admin.make("/v1/strategies", name="trend"))["strategy_id"]
    made: dict[str, Any] = await admin.make("/v1/hooks", name="h", strategy_id=strategy)
    return made


async def test_a_new_hook_shows_its_address_and_its_first_secret_once(api: Api):
    admin = api.as_("admin")
    strategy = (await admin.make("/v1/strategies", name="trend"))["strategy_id"]
    body, key = {"strategy_id": strategy}, {"idempotency-key": "once"}
    first = (await admin("POST", "/v1/hooks", body, key)).json()
    again = (await admin("POST", "/v1/hooks", body, key)).json()
    assert first["secret"].startswith("whsec_")
    assert again == {**first, "secret": None}
    assert first["address"] == f"https://hooks.example/v1/hooks/{first['hook_id']}"
    assert "secret" not in await admin.get(f"/v1/hooks/{first['hook_id']}")


async def test_a_sender_changes_over_while_both_secrets_count(api: Api, redis_server: str):
    """The new one counts within a second, the old one until it is revoked, and then within a second no more."""
    admin, hook = api.as_("admin"), await _hook(api)
    secrets = f"/v1/hooks/{hook['hook_id']}/secrets"
    async with ingress(api, redis_server) as app:
        assert await _send(app, hook, hook["secret"]) == 202
        new = await admin.make(secrets, overlap_minutes=60)
        await _within_a_second(lambda: _send(app, hook, new["secret"]), 202)
        assert await _send(app, hook, hook["secret"]) == 202
        old, _ = (await admin.get(secrets))["items"]
        assert old["expires_at"] is not None
        assert (await admin("DELETE", f"{secrets}/{old['secret_id']}")).status == 204
        await _within_a_second(lambda: _send(app, hook, hook["secret"]), 401)
        assert await _send(app, hook, new["secret"]) == 202


async def test_without_an_overlap_the_old_secrets_end_at_once(api: Api, redis_server: str):
    admin, hook = api.as_("admin"), await _hook(api)
    secrets = f"/v1/hooks/{hook['hook_id']}/secrets"
    async with ingress(api, redis_server) as app:
        assert await _send(app, hook, hook["secret"]) == 202
        new = await admin.make(secrets, overlap_minutes=0)
        await _within_a_second(lambda: _send(app, hook, hook["secret"]), 401)
        await _within_a_second(lambda: _send(app, hook, new["secret"]), 202)


@pytest.mark.parametrize("how", ["disabled", "archived"])
async def test_a_hook_that_ends_is_gone_within_a_second(api: Api, redis_server: str, how: str):
    admin, hook = api.as_("admin"), await _hook(api)
    address = f"/v1/hooks/{hook['hook_id']}"
    async with ingress(api, redis_server) as app:
        assert await _send(app, hook, hook["secret"]) == 202
        if how == "disabled":
            assert (await admin.change(address, 1, enabled=False)).status == 200
        else:
            assert (await admin.delete(address, 1)).status == 204
        await _within_a_second(lambda: _send(app, hook, hook["secret"]), 401)


async def test_two_secrets_are_live_at_most(api: Api):
    admin, hook = api.as_("admin"), await _hook(api)
    path = f"/v1/hooks/{hook['hook_id']}/secrets"
    await admin.make(path)
    third = await admin("POST", path, {})
    assert (third.status, third.json()["code"]) == (409, "conflict")
    first = (await admin.get(path))["items"][0]["secret_id"]
    assert (await admin("DELETE", f"{path}/{first}")).status == 204
    assert (await admin("DELETE", f"{path}/{first}")).status == 204  # it was revoked, and is
    await admin.make(path)
    await admin.make(path, overlap_minutes=0)  # an emergency takes both away
    live = rows(
        api, "SELECT 1 FROM hook_secrets WHERE revoked_at IS NULL"
        " AND (expires_at IS NULL OR expires_at > now())",
    )  # fmt: skip
    assert len(live) == 1


async def test_a_public_key_of_the_sender_is_shown_again_for_it_is_no_secret(api: Api):
    admin, hook = api.as_("admin"), await _hook(api)
    path = f"/v1/hooks/{hook['hook_id']}/secrets"
    made = await admin.make(path, scheme="v1a", public_key=ED25519)
    assert (made["scheme"], made["public_key"]) == ("v1a", ED25519)
    assert "secret" not in made
    assert (await admin.get(path))["items"][1]["public_key"] == ED25519


@pytest.mark.parametrize(
    "body",
    [
        {"scheme": "v1a"},
        {"scheme": "v1", "public_key": ED25519},
        {"scheme": "v1a", "public_key": "AAAA"},
        {"scheme": "v1a", "public_key": "not base64"},
        {"overlap_minutes": -1},
    ],
)
async def test_a_secret_that_could_not_sign_is_refused(api: Api, body: dict[str, Any]):
    hook = await _hook(api)
    reply = await api.as_("admin")("POST", f"/v1/hooks/{hook['hook_id']}/secrets", body)
    assert (reply.status, reply.json()["field"]) == (
        422,
        list(body)[-1].replace("scheme", "public_key"),
    )


async def test_while_the_enroller_is_away_nothing_is_made(api: Api):
    """No hook without the secret that its answer promises."""
    admin = api.as_("admin")
    strategy = (await admin.make("/v1/strategies", name="trend"))["strategy_id"]
    api.vault.away = True
    reply = await admin("POST", "/v1/hooks", {"strategy_id": strategy})
    assert (reply.status, reply.json()["code"]) == (503, "unavailable")
    assert (await admin.get("/v1/hooks"))["items"] == []


async def test_no_secret_is_anywhere_in_the_database_or_in_what_was_printed(
    api: Api, capfd: pytest.CaptureFixture[str]
):
    """Hook secrets and service keys, from their first showing to a repeat of the request."""
    made = await furnish(api)
    admin, key = api.as_("admin"), {"idempotency-key": "k"}
    path = f"/v1/hooks/{made['hooks']}/secrets"
    second = (await admin("POST", path, {}, key)).json()["secret"]
    assert (await admin("POST", path, {}, key)).json()["secret"] is None
    needles = [made["secret"], second, made["key"], made["key"].split("_", 2)[2]]
    needles += [text.removeprefix("whsec_") for text in (made["secret"], second)]
    raw = [base64.b64decode(text.removeprefix("whsec_")) for text in (made["secret"], second)]
    assert holders(api, *(text.encode() for text in needles), *raw) == []
    assert holders(api, made["hooks"].encode()) != []  # the search finds what is there
    printed = "".join(capfd.readouterr())
    assert not any(needle in printed for needle in needles)
