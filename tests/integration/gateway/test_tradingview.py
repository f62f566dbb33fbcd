"""TradingView's alerts: by a token in the address, from known sources, each once."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from gateway.hooks import app as hooks_module
from gateway.hooks.tradingview import SOURCES
from tests.fakes.hooks import BODY, signed
from tests.fixtures.api import Api
from tests.integration.gateway.ingress import post
from tests.integration.gateway.set_up import rows
from tests.integration.gateway.test_hook_secrets import ingress

pytestmark = pytest.mark.stack
TEXT = {"content-type": "text/plain; charset=utf-8"}


async def _hook(api: Api, **changes: Any) -> dict[str, Any]:
    admin = api.as_("admin")
    strategy = (await admin.make("/v1/strategies", name="trend"))["strategy_id"]
    made: dict[str, Any] = await admin.make(
        "/v1/hooks", strategy_id=strategy, sender="tradingview", **changes
    )
    return made


async def _alert(
    app: Any, hook: dict[str, Any], token: str, body: bytes = BODY, client: str = SOURCES[0],
    headers: dict[str, str] | None = None,
) -> Any:  # fmt: skip
    path = f"/v1/hooks/{hook['hook_id']}/{token}"
    return await post(
        app, path, headers or {"content-type": "application/json"}, body, client=client
    )


async def test_an_alert_is_kept_by_its_token_as_json_or_as_text(api: Api, redis_server: str):
    hook = await _hook(api)
    assert len(hook["secret"]) == 43, "256 bits, base64url"
    async with ingress(api, redis_server) as app:
        assert (await _alert(app, hook, hook["secret"])).status == 202
        said = b'{"ticker": "BTC_USDT", "action": "sell", "quantity": "1.5"}'
        assert (await _alert(app, hook, hook["secret"], said, headers=TEXT)).status == 202
        refused = await _alert(app, hook, hook["secret"], b"close all", headers=TEXT)
        assert (refused.status, refused.json()["code"]) == (422, "invalid_signal")
    assert len(rows(api, "SELECT 1 FROM signals")) == 2


async def test_without_the_token_nobody_learns_anything(api: Api, redis_server: str):
    """A wrong token, no such hook, a hook that signs, a token where one signs: one answer."""
    hook = await _hook(api)
    admin = api.as_("admin")
    signing = await admin.make("/v1/hooks", strategy_id=hook["strategy_id"])
    async with ingress(api, redis_server) as app:
        answers = [
            await _alert(app, hook, "x" * 43),
            await _alert(app, {"hook_id": "n" * 32}, hook["secret"]),
            await _alert(app, signing, hook["secret"]),
            await _alert(app, hook, "x" * 43, client="203.0.113.9"),
        ]
        assert {answer.status for answer in answers} == {401}
        assert len({answer.json()["detail"] for answer in answers}) == 1
        unsigned = await post(
            app, f"/v1/hooks/{hook['hook_id']}", signed("whsec_" + "A" * 44, BODY), BODY
        )
        assert unsigned.status == 401


async def test_with_the_token_the_source_still_counts(api: Api, redis_server: str):
    hook = await _hook(api)
    async with ingress(api, redis_server) as app:
        reply = await _alert(app, hook, hook["secret"], client="203.0.113.9")
        assert (reply.status, reply.json()["code"]) == (403, "source_not_allowed")
        assert "203.0.113.9" in reply.json()["detail"]
    assert rows(api, "SELECT 1 FROM signals") == []


async def test_the_same_body_within_the_window_is_one_alert_however_it_comes(
    api: Api, redis_server: str
):
    hook = await _hook(api)
    async with ingress(api, redis_server) as one, ingress(api, redis_server) as other:
        replies = await asyncio.gather(
            *(_alert(app, hook, hook["secret"]) for app in (one, other) * 20)
        )
        later = await _alert(one, hook, hook["secret"])
    assert {reply.status for reply in (*replies, later)} == {202}
    assert len({reply.body for reply in (*replies, later)}) == 1
    assert len(rows(api, "SELECT 1 FROM signals")) == 1
    assert len(rows(api, "SELECT 1 FROM audit_inbox WHERE kind = 'signal.accepted'")) == 1


async def test_a_repeat_across_the_border_of_two_windows_is_found(
    api: Api, redis_server: str, monkeypatch: pytest.MonkeyPatch
):
    """At the border the id changes; the lock and the look at the one before make it one signal."""
    hook = await _hook(api, repeat_window_s=600)
    real = hooks_module.window
    shift = {"by": timedelta(0)}
    monkeypatch.setattr(
        hooks_module, "window", lambda sha, at, length: real(sha, at + shift["by"], length)
    )
    async with ingress(api, redis_server) as one, ingress(api, redis_server) as other:
        first = await _alert(one, hook, hook["secret"])
        shift["by"] = timedelta(seconds=599)
        again = await asyncio.gather(
            *(_alert(app, hook, hook["secret"]) for app in (one, other) * 5)
        )
        assert {reply.body for reply in again} == {first.body}
        shift["by"] = timedelta(seconds=1201)
        new = await _alert(one, hook, hook["secret"])
    assert new.status == 202
    assert new.body != first.body
    assert len(rows(api, "SELECT 1 FROM signals")) == 2


async def test_the_token_is_in_no_log_record_or_answer(
    api: Api, redis_server: str, capfd: pytest.CaptureFixture[str]
):
    hook = await _hook(api)
    said = []
    async with ingress(api, redis_server) as app:
        for client in (SOURCES[0], "203.0.113.9"):
            said.append(await _alert(app, hook, hook["secret"], client=client))
        said.append(await _alert(app, hook, hook["secret"], b"{"))
        path = f"/v1/hooks/{hook['hook_id']}/{hook['secret']}"
        said.append(await post(app, path, {}, b"", method="GET"))
        said.append(await post(app, f"{path}/more", {}, b""))
    assert [reply.status for reply in said] == [202, 403, 422, 405, 404]
    written = capfd.readouterr()
    everything = written.out + written.err + "".join(str((r.headers, r.body)) for r in said)
    for table in ("audit_inbox", "signals", "hook_secrets", "revisions"):
        everything += json.dumps(
            [[c if isinstance(c, str) else repr(c) for c in row] for row in rows(api, f"SELECT * FROM {table}")]
        )  # fmt: skip
    assert hook["secret"] not in everything


async def test_another_kind_of_sender_ends_the_secrets_it_had(api: Api, redis_server: str):
    hook = await _hook(api)
    admin = api.as_("admin")
    await admin.change(f"/v1/hooks/{hook['hook_id']}", "*", sender="standard_webhooks")
    async with ingress(api, redis_server) as app:
        assert (await _alert(app, hook, hook["secret"])).status == 401
        new = await admin.make(f"/v1/hooks/{hook['hook_id']}/secrets")
        assert new["secret"].startswith("whsec_")
    wrong = await admin("POST", f"/v1/hooks/{hook['hook_id']}/secrets", {"scheme": "url_token"})
    assert (wrong.status, wrong.json()["field"]) == (422, "scheme")


async def test_sources_are_addresses_and_a_wrong_one_is_named(api: Api):
    admin = api.as_("admin")
    strategy = (await admin.make("/v1/strategies", name="trend"))["strategy_id"]
    body = {"strategy_id": strategy, "sender": "tradingview", "sources": ["10.0.0.0/8", "nowhere"]}
    reply = await admin("POST", "/v1/hooks", body)
    assert reply.status == 422
    assert "'nowhere' is no IP address or network" in reply.json()["detail"]


async def test_a_sender_that_need_not_sign_any_more_waits_for_a_second_person(api: Api):
    admin = api.as_("admin")
    await admin.change("/v1/tenant", "*", settings={"four_eyes": ["credentials"]})
    strategy = (await admin.make("/v1/strategies", name="trend"))["strategy_id"]
    hook = await admin.make("/v1/hooks", strategy_id=strategy)
    answer = await admin(
        "PATCH", f"/v1/hooks/{hook['hook_id']}", {"sender": "tradingview"}, {"if-match": "*"}
    )
    assert answer.status == 202
    assert (await admin.get(f"/v1/hooks/{hook['hook_id']}"))["sender"] == "standard_webhooks"
