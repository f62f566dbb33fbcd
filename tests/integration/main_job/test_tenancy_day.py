"""A day at a customer's: set up, traded, asked, watched, cut off and put back, each by who does it.

The tests run in the order of the file and tell one story in one installation.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from standardwebhooks import Webhook

from ops.initialise import PAPER_INSTRUMENTS, Choices
from ops.stack.postgres import Postgres
from ops.trial.exchange import broker_settings, exchange
from tests.fakes.mail_server import mail_server
from tests.fakes.receiver import receiver
from tests.fixtures.tls import Certificate
from tests.integration.main_job.company import (
    accepted,
    company,
    plan_of,
    until,
)
from tests.integration.main_job.people_of_day import (
    BUY,
    Day,
    Listener,
    answered,
    asked,
    asking,
    bot_index,
    dumped,
    found_in,
    fresh_code,
    has_heard,
    has_mail,
    is_back,
    live_account,
    opened,
    orders,
    orders_of,
    records,
    shown_by_ps,
    stopped,
)
from tests.integration.ops.test_client_certificates import Authority

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

SELL = {"ticker": "BTC_USDT", "action": "exit"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def day(
    tmp_path_factory: pytest.TempPathFactory, certificate: Certificate
) -> AsyncIterator[Day]:
    directory = tmp_path_factory.mktemp("day")
    authority = Authority(directory, "clients")
    async with (
        exchange(directory / "exchange.log") as market,
        receiver(certificate) as desk,
        mail_server(None) as post,
    ):
        choices = Choices(
            ingress_port=0, admin_port=0,
            brokers={
                "gateio": broker_settings(market.url, connections=4),
                "paper": {"instruments": PAPER_INSTRUMENTS},
            },
        )  # fmt: skip
        changes = {
            "client_ca": str(authority.pem),
            "notify_allow_networks": ["127.0.0.0/8", "::1/128"],
            "notify_ca_file": certificate.certfile,
            "smtp": {"host": "127.0.0.1", "port": post.port, "tls": "none",
                     "sender": "portcullis@example.com"},
        }  # fmt: skip
        async with company(directory, choices, changes) as house:
            yield await opened(house, market, desk, post, authority)


async def test_the_first_administrator_sets_up_and_a_signed_signal_trades_on_paper(
    day: Day,
) -> None:
    admin = day.admin
    strategy = await admin.make("/v1/strategies", name="trend", settings={"default_quantity": "1"})
    group = await admin.make("/v1/groups", name="careful")
    day.ids = {"strategy": strategy["strategy_id"], "group": group["group_id"]}
    account = await admin.make(
        "/v1/accounts", name="Client 1", broker="paper", currency="USDT", stated_equity="100000",
        group_id=day.ids["group"],
    )  # fmt: skip
    day.ids["account"] = account["account_id"]
    subscription = await admin.make(
        "/v1/subscriptions", strategy_id=day.ids["strategy"], account_id=day.ids["account"]
    )
    day.ids["subscription"] = subscription["subscription_id"]
    day.hook = await day.house.hook(admin, day.ids["strategy"])
    async with day.house.sender(day.hook) as sender:
        day.first = (await accepted(sender, **BUY)).signal_id or ""
    assert (await orders(day.trader, day.first, "filled"))[0]["order_qty"] == "2"
    assert len(await orders(day.viewer, day.first, "filled")) == 1


async def test_another_customer_sees_nothing_of_it_and_a_cookie_alone_changes_nothing(
    day: Day,
) -> None:
    assert (await day.other("GET", "/v1/orders")).content["items"] == []
    for path in (f"/v1/signals/{day.first}", f"/v1/accounts/{day.ids['account']}"):
        assert (await day.other("GET", path)).status == 404
    token, day.trader.csrf = day.trader.csrf, "wrong"
    halt = {"scope": "tenant", "level": "block_all", "reason": "x"}
    refused = await day.trader("POST", "/v1/halts", halt)
    day.trader.csrf = token
    assert (refused.status, refused["code"]) == (403, "csrf_failed")
    assert (await day.viewer("POST", "/v1/strategies", {"name": "x"})).status == 403


async def test_a_second_sign_in_needs_the_code_and_each_code_counts_once(day: Day) -> None:
    again = day.house.client()
    again.house, again.email, again.password = "Acme", day.admin.email, day.admin.password
    half = await again.sign_in()
    assert (half.status, half["code"]) == (401, "second_factor_required")
    code = fresh_code(day.admin)
    assert (await again.sign_in(code)).status == 200
    assert (await again.sign_in(code)).status == 401


# ------------------------------------------------------------------ signals by approval


async def test_approved_is_one_order_and_rejected_is_none(day: Day) -> None:
    async with asking(day) as sender:
        no = await asked(day, sender)
        assert (await answered(day, day.viewer, no, "approve")).status == 403
        assert (await answered(day, day.trader, no, "reject"))["state"] == "rejected"
        yes = await asked(day, sender)
        assert (await answered(day, day.approver, yes, "approve"))["state"] == "approved"
        assert len(await orders(day.trader, yes, "filled")) == 1
        late = await answered(day, day.trader, yes, "reject")
        assert (late.status, late["code"]) == (409, "already_decided")
        assert (await day.trader("GET", f"/v1/orders?signal_id={no}"))["items"] == []


async def test_workers_killed_between_the_yes_and_the_order_make_exactly_one(day: Day) -> None:
    here = day.house.here
    async with asking(day) as sender:
        sent = await asked(day, sender)
        pids = [here.state.processes[name].pid for name in here.names("worker")]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)  # so that the yes is there, and no order is
        answer = await answered(day, day.trader, sent, "approve")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert answer["state"] == "approved"
        assert len(await orders(day.trader, sent, "filled")) == 1
        await asyncio.sleep(1)
        assert len(await orders(day.trader, sent, "filled")) == 1


# ------------------------------------------------------------------ four eyes


async def test_a_limit_is_raised_by_two_people_two_seconds_ahead(day: Day) -> None:
    await day.admin.change("/v1/tenant", settings={"four_eyes": ["limits", "roles"]})
    path = f"/v1/groups/{day.ids['group']}"
    await day.admin.change(path, limits={"max_order_quantity": "3"})
    proposed = await day.admin.change(path, wanted=202, limits={"max_order_quantity": "5"})
    where = f"/v1/proposals/{proposed['proposal_id']}"
    own = await day.admin("POST", f"{where}/approve", {})
    assert (own.status, own["code"]) == (403, "own_proposal")
    hour = datetime.now(UTC) + timedelta(seconds=2)
    said = await day.approver("POST", f"{where}/approve", {"effective_from": hour.isoformat()})
    assert (said.status, said["state"]) == (200, "approved")
    assert (await day.viewer("GET", path))["limits"]["max_order_quantity"] == "3"

    async def applied() -> Any:
        return (await day.viewer("GET", path))["limits"]["max_order_quantity"] == "5"

    await until(applied, within_s=6)
    late = (datetime.now(UTC) - hour).total_seconds()
    assert 0 <= late < 2.5, late
    print(f"applied {late:.2f} s after its hour")


async def test_a_keys_proposal_is_not_for_its_maker_to_agree_to(day: Day) -> None:
    await day.admin.change("/v1/tenant", wanted=202, settings={"four_eyes": ["limits"]})
    made = await day.admin("POST", "/v1/service-keys", {"name": "bot"})
    key_id = made["key_id"]
    scopes = ["accounts:read", "accounts:write", "limits:write", "events:read", "orders:read"]
    more = await day.admin.change(f"/v1/service-keys/{key_id}", wanted=202, scopes=scopes)
    await day.approver("POST", f"/v1/proposals/{more['proposal_id']}/approve", {}, wanted=200)
    bot = day.house.client(made["key"])
    day.house.secrets.append(made["key"].split("_", 2)[2])
    limits = {"max_order_quantity": "7"}
    waits = await bot.change(f"/v1/groups/{day.ids['group']}", wanted=202, limits=limits)
    where = f"/v1/proposals/{waits['proposal_id']}/approve"
    assert (await day.admin("POST", where, {}))["code"] == "own_proposal"
    assert (await bot("POST", where, {})).status == 403
    await day.approver("POST", where, {}, wanted=200)
    group = await day.admin("GET", f"/v1/groups/{day.ids['group']}")
    assert group["limits"] == limits
    day.ids["bot"] = key_id


# ------------------------------------------------------------------ live events


async def test_a_stream_goes_on_after_the_admin_process_was_killed(day: Day) -> None:
    heard = Listener()
    assert day.hook is not None
    async with day.house.sender(day.hook) as sender:
        first = asyncio.create_task(heard.listen(day.admin, "?after=0"))
        await accepted(sender, **SELL)
        await until(has_heard(heard, "order.fill", 4))
        day.house.here.kill("admin-0")
        await asyncio.wait_for(first, 10)
        between = (await accepted(sender, **BUY)).signal_id
        await until(is_back(day.admin), within_s=20)
        second = asyncio.create_task(heard.listen(day.admin))
        await until(has_heard(heard, "order.fill", 5))
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
    assert heard.ids == sorted(set(heard.ids)), "nothing twice, nothing out of order"
    whole = [event["id"] for event in await records(day.admin, "?after=0")]
    assert heard.ids == whole[: len(heard.ids)], "no gap"
    assert between in json.dumps(heard.events)


# ------------------------------------------------------------------ notifications and alerts


async def test_a_refused_live_order_and_the_kill_switch_reach_the_desk_and_the_mailbox(
    day: Day,
) -> None:
    admin = day.admin
    hooked = await admin.make(
        "/v1/channels", name="desk", kind="webhook", url=day.desk.url,
        events=["order.rejected", "kill_switch", "alert"],
    )  # fmt: skip
    day.house.secrets.append(hooked["secret"])
    live = await live_account(day)
    await admin.make(
        "/v1/channels", name="mail", kind="email", recipients=["risk@example.com"], events=["alert"]
    )
    assert day.hook is not None
    async with day.house.sender(day.hook) as sender:
        refused = (await accepted(sender, **BUY)).signal_id
        await orders_of(day, refused, live, "rejected")
        over = (await accepted(sender, **{**BUY, "quantity": 50})).signal_id
        await plan_of(admin, over)
    halt = {"scope": "account", "object_id": live, "level": "block_all", "reason": "bad key"}
    await day.trader("POST", "/v1/halts", halt, wanted=200)

    async def told() -> bool:
        names = {a.event["data"]["alert"] for a in day.desk.arrivals}
        keys = {"credential_failed", "credential_refused"}
        return names >= {"order_rejected", "limit_blocked", "kill_switch"} | keys

    await until(told)
    for arrival in day.desk.arrivals:
        assert Webhook(hooked["secret"]).verify(arrival.body, arrival.headers) == arrival.event
    by_alert = {a.event["data"]["alert"]: a.event["data"] for a in day.desk.arrivals}
    assert by_alert["credential_failed"]["account_id"] == live
    assert by_alert["credential_refused"]["facts"]["code"] == "key"
    assert by_alert["limit_blocked"]["facts"]["limit"] == "max_order_quantity"
    await until(has_mail(day))
    assert day.post.recipients[0] == ["risk@example.com"]


# ------------------------------------------------------------------ data subjects, operators, certificates


async def test_a_persons_data_are_given_to_them_and_to_compliance_without_a_secret(
    day: Day,
) -> None:
    own = await day.trader("GET", "/v1/me/data", wanted=200)
    assert own["person"]["email"] == "tracy@example.com"
    assert own["sessions"]
    assert any("kill_switch" in json.dumps(entry) for entry in own["audit_entries"])
    theirs = await day.admin("GET", f"/v1/people/{day.trader.person_id}/data", wanted=200)
    for text in (json.dumps(own.content), json.dumps(theirs.content)):
        assert not [secret for secret in day.house.secrets if secret in text]
    assert (await day.viewer("GET", f"/v1/people/{day.trader.person_id}/data")).status == 403


async def test_a_certificate_stands_for_a_key_and_a_strangers_is_nobody(day: Day) -> None:
    pem, fingerprint = day.clients.issue("machine")
    scopes = ["orders:read"]
    body = {"name": "machine", "scopes": scopes, "certificate_sha256": fingerprint.hex()}
    waits = await day.admin("POST", "/v1/service-keys", body, wanted=202)  # roles are guarded
    day.house.secrets.append(waits["key"])
    machine = day.house.client(pem=pem)
    assert (await machine("GET", "/v1/orders")).status == 403
    path = f"/v1/proposals/{waits['proposal_id']}/approve"
    key_id = (await day.approver("POST", path, {}, wanted=200))["object_id"]
    assert (await machine("GET", "/v1/orders", wanted=200))["items"]
    assert (await machine("GET", "/v1/people")).status == 403
    stranger = day.house.client(pem=day.clients.issue("stranger")[0])
    assert (await stranger("GET", "/v1/orders")).status == 401
    await day.admin("DELETE", f"/v1/service-keys/{key_id}", wanted=204, if_match="*")
    assert (await machine("GET", "/v1/orders")).status == 401


async def test_an_operator_is_let_in_recorded_and_loses_the_stream_with_the_grant(
    day: Day,
) -> None:
    """And so does a service key that is revoked."""
    ask = {"tenant_id": day.tenant, "reason": "ticket 7", "minutes": 5}
    grant = (await day.operator("POST", "/v1/access", ask, wanted=201))["grant_id"]
    day.operator.tenant = day.tenant
    assert (await day.operator("GET", "/v1/orders")).status == 403
    await day.admin("POST", f"/v1/access/{grant}/grant", wanted=200)
    assert (await day.operator("GET", "/v1/orders", wanted=200))["items"]
    halt = {"scope": "tenant", "level": "block_all", "reason": "x"}
    assert (await day.operator("POST", "/v1/halts", halt)).status == 403
    uses = [e for e in await records(day.admin, "?after=0") if e["kind"] == "key.use"]
    assert {"list_orders"} <= {e["facts"].get("operation") for e in uses}
    bot = day.house.clients[bot_index(day)]
    streams = [Listener(), Listener()]
    tasks = [
        asyncio.create_task(heard.listen(client))
        for heard, client in zip(streams, (day.operator, bot), strict=True)
    ]
    for heard in streams:
        await asyncio.wait_for(heard.opened.wait(), 5)
    await day.admin("POST", f"/v1/access/{grant}/revoke", wanted=200)
    path = f"/v1/service-keys/{day.ids['bot']}"
    await day.admin("DELETE", path, wanted=204, if_match="*")
    done, _ = await asyncio.wait(tasks, timeout=15)
    assert len(done) == 2, "each was asked again whether it still may"
    assert [heard.said.split(";")[0] for heard in streams] == ["forbidden", "bad_key"]
    assert (await day.operator("GET", "/v1/orders")).status == 403
    day.operator.tenant = ""


# ------------------------------------------------------------------ parts away


async def test_with_redis_hanging_signals_are_taken_and_the_api_answers(day: Day) -> None:
    assert day.hook is not None
    async with day.house.sender(day.hook) as sender, stopped(day, "redis"):
        sent = await accepted(sender, **BUY)
        assert sent.took_s < 2
        assert (await day.viewer("GET", "/v1/orders")).status == 200
        await plan_of(day.admin, sent.signal_id)
    assert (await day.viewer("GET", "/v1/orders")).status == 200


async def test_with_the_signer_hanging_reading_goes_on_and_no_code_is_believed(day: Day) -> None:
    late = day.house.client()
    late.house, late.email, late.password = "Acme", day.approver.email, day.approver.password
    async with stopped(day, "signer"):
        refused = await late.sign_in(fresh_code(day.approver))
        assert (refused.status, refused["code"]) == (503, "unavailable")
        assert (await day.viewer("GET", "/v1/orders")).status == 200
        assert (await day.viewer.sign_in()).status == 200, "who has no app needs no signer"
        hook = await day.house.hook(day.admin, day.ids["strategy"], "second")
        async with day.house.sender(hook) as sender:
            waits = await sender.send(**BUY)
            assert waits.status == 503
            assert "unavailable" in waits.answer
        async with day.house.sender(day.hook) as sender:  # type: ignore[arg-type]
            assert (await sender.send(**BUY)).status == 202, "what is open goes on"
    async with day.house.sender(hook) as sender:
        await accepted(sender, **BUY)


# ------------------------------------------------------------------ secrets


async def test_no_secret_is_in_a_file_a_process_or_a_dump(day: Day) -> None:
    here = day.house.here
    day.house.secrets += [
        value for client in day.house.clients for value in (*client.cookies.values(), client.key)
        if value
    ]  # fmt: skip
    plain = [secret.split("_", 2)[-1] for secret in day.house.secrets]
    needles = [secret.encode() for secret in plain if len(secret) >= 16]
    keys = here.places.var / "secrets"
    files = [
        path
        for root in (here.places.var, here.places.runtime)
        for path in root.rglob("*")
        if path.is_file() and not path.is_relative_to(keys)
    ]
    assert [str(path) for path in files if found_in(path.read_bytes(), needles)] == []
    for process in here.state.processes.values():
        assert not found_in(shown_by_ps(process.pid), needles)
    dump = await asyncio.to_thread(dumped, Postgres(here.places).superuser())
    assert b"CREATE TABLE" in dump
    assert not found_in(dump, needles)
