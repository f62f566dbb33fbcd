"""A delayed signal as the API shows it, and how a person takes it back."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.fakes.hooks import signed
from tests.fixtures.api import Api
from tests.integration.gateway.ingress import post
from tests.integration.gateway.set_up import rows
from tests.integration.gateway.test_hook_secrets import ingress

pytestmark = pytest.mark.stack


async def _delayed(api: Api, redis_server: str, **fields: Any) -> str:
    """The id of a signal that came in with these fields."""
    admin = api.as_("admin")
    strategy = (await admin.make("/v1/strategies", name="trend"))["strategy_id"]
    hook = await admin.make("/v1/hooks", strategy_id=strategy)
    body = json.dumps({"ticker": "BTC_USDT", "action": "buy", **fields}).encode()
    async with ingress(api, redis_server) as app:
        path = f"/v1/hooks/{hook['hook_id']}"
        reply = await post(app, path, signed(hook["secret"], body), body)
    assert reply.status == 202, reply.body
    return str(reply.json()["signalId"])


async def test_a_delayed_signal_shows_its_time(api: Api, redis_server: str):
    signal_id = await _delayed(api, redis_server, delay="+5 minutes")
    admin = api.as_("admin")
    for shown in (
        await admin.get(f"/v1/signals/{signal_id}"),
        (await admin.get("/v1/signals"))["items"][0],
    ):
        assert shown["status"] == "accepted"
        received, due = (
            datetime.fromisoformat(shown[name]) for name in ("received_at", "not_before")
        )
        assert abs(due - received - timedelta(minutes=5)) < timedelta(seconds=1)


async def test_a_signal_without_a_delay_has_no_time_to_wait_for(api: Api, redis_server: str):
    signal_id = await _delayed(api, redis_server)
    assert (await api.as_("admin").get(f"/v1/signals/{signal_id}"))["not_before"] is None


async def test_a_person_takes_a_waiting_signal_back_once_with_a_record(api: Api, redis_server: str):
    signal_id = await _delayed(api, redis_server, delay=3600)
    person = api.as_("admin")
    for _ in range(2):  # the same again changes nothing
        reply = await person("POST", f"/v1/signals/{signal_id}/cancel")
        assert (reply.status, reply.json()["status"]) == (200, "canceled")
    listed = (await person.get("/v1/signals?status=canceled"))["items"]
    assert [item["signal_id"] for item in listed] == [signal_id]
    payloads = rows(api, "SELECT payload FROM audit_inbox WHERE kind = 'signal.refused'")
    records = [(said["code"], said["signal_id"]) for said in map(json.loads, payloads[0])]
    assert len(payloads) == 1
    assert records == [("canceled", signal_id)]


async def test_what_is_planned_cannot_be_taken_back(api: Api, redis_server: str):
    signal_id = await _delayed(api, redis_server)
    rows(api, "UPDATE signals SET state = 'planned' RETURNING 1")
    reply = await api.as_("admin")("POST", f"/v1/signals/{signal_id}/cancel")
    assert (reply.status, reply.json()["code"]) == (409, "conflict")
    assert "planned already" in reply.json()["detail"]
