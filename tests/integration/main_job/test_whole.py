"""The whole product, every process real: one trace from hook to broker, and no secret in any file."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from ops.cli.main import cli
from ops.initialise import Choices
from ops.tenants import operator_scope
from ops.trial.customer import Customer, customer
from ops.trial.exchange import Exchange, broker_settings, exchange, exchange_account
from ops.trial.installation import Installation, fresh, remove, running
from ops.trial.outcome import settled, story
from ops.trial.sender import Hook, Sender, Sent, sender
from tenancy.database import Database
from tenancy.scope import TenantScope
from tenancy.values import TenantID
from tests.fakes.collector import Collector, Seen, collector
from tests.integration.main_job.traced import lines, one_of, parents, records

ACCOUNTS = 3


class Whole:
    """What the tests of this file look at."""

    def __init__(self) -> None:
        self.collector: Collector
        self.secrets: list[str] = []
        self.here: Installation
        self.scope: TenantScope
        self.hook: Hook
        self.service_key = ""
        self.sent: Sent
        self.database: Database
        self.market: Exchange

    async def set_up(self, house: Customer, market: Exchange) -> None:
        self.market = market
        self.scope, self.service_key = house.scope, house.service_key
        names = [f"client {index}" for index in range(ACCOUNTS)]
        await house.declare(
            strategies=[{"name": "trend"}],
            accounts=[
                {"name": name, "broker": "gateio", "currency": "USDT", "stated_equity": "1000"}
                for name in names
            ],
            subscriptions=[{"strategy": "trend", "account": name} for name in names],
        )
        enrolled = await house.connect(
            market, dict.fromkeys((await house.accounts()).values(), "10000")
        )
        self.hook = await house.hook((await house.strategies())["trend"])
        self.secrets += [one.secret.decode() for one in enrolled]
        self.secrets += [self.hook.secret, self.service_key.split("_", 2)[2]]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def whole(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Whole]:
    """An installation with three accounts that has carried out one signal."""
    it, var = Whole(), tmp_path_factory.mktemp("whole") / "var"
    where = None
    try:
        async with exchange(var.parent / "exchange.log") as market, collector() as it.collector:
            choices = Choices(
                ingress_port=0,
                admin_port=0,
                worker_processes=1,
                otlp_endpoint=it.collector.url,
                brokers={"gateio": broker_settings(market.url, connections=8)},
            )
            where = await asyncio.to_thread(fresh, var, choices)
            async with running(where) as it.here:
                async with customer(it.here, "Acme") as house:
                    await it.set_up(house, market)
                it.database = Database(it.here.settings.database.admin, name="test", size=1)
                await it.database.open()
                authority = it.here.places.var / "tls" / "ca.pem"
                async with sender(it.here.state.urls["ingress"], authority, it.hook) as strategy:
                    it.sent = await _accepted(strategy)
                    await settled(it.database, it.scope, [it.sent.signal_id or ""], within_s=20.0)
                    yield it
                await it.database.close()
    finally:
        if where is not None:
            await asyncio.to_thread(remove, where)


def _is_whole(found: list[Seen]) -> bool:
    """The last of each kind is here: every order's send, which ends after what hangs under it."""
    names = [span.name for span in found]
    return names.count("order.send") == ACCOUNTS and {"hook", "wake", "outcome"} <= set(names)


async def _accepted(strategy: Sender) -> Sent:
    """A new hook is in force within a second: until then the answer is `try again`."""
    for _ in range(50):
        sent = await strategy.send(ticker="BTC_USDT", action="buy", quantity=2)
        if sent.status == 202:
            return sent
        await asyncio.sleep(0.1)
    raise AssertionError(sent.answer)


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
class TestWhole:
    async def test_one_trace_leads_from_the_hook_to_each_broker_request(self, whole: Whole):
        """Each span hangs under the right one, over two processes and Redis."""
        found = await whole.collector.trace(whole.sent.trace_id, _is_whole)
        hook, kept, wake = (one_of(found, name) for name in ("hook", "keep", "wake"))
        plan, outcome = one_of(found, "plan"), one_of(found, "outcome")
        assert {hook.process, kept.process, wake.process} == {"ingress-0"}
        assert {plan.process, outcome.process} == {"worker-0"}
        assert hook.parent_id == ""
        assert [kept.parent_id, outcome.parent_id] == [hook.span_id, hook.span_id]
        assert plan.parent_id == (wake if plan.said["found_by"] == "wake" else hook).span_id
        assert parents(found) == {
            "intend": {"plan"},
            "order.send": {"intend"},
            "order.submit": {"order.send"},
            "hsm.sign": {"order.submit"},
            "broker.request": {"order.submit"},
            "order.learn": {"order.send"},
        }

    async def test_each_order_has_its_signature_its_request_and_its_lesson_in_the_trace(
        self, whole: Whole
    ):
        told = await story(whole.database, whole.scope, whole.sent.signal_id or "")
        found = await whole.collector.trace(whole.sent.trace_id, _is_whole)
        sends = [span for span in found if span.name == "order.send"]
        assert {span.said["cl_ord_id"] for span in sends} == {a.cl_ord_id for a in told.attempts}
        assert {span.said["state"] for span in sends} == {"filled"}
        assert {span.said["signal_id"] for span in sends} == {whole.sent.signal_id}
        for span in found:
            assert span.begun_ns <= span.ended_ns

    async def test_the_trace_is_in_the_answer_the_audit_record_and_one_line_for_each_step(
        self, whole: Whole
    ):
        trace, signal = whole.sent.trace_id, whole.sent.signal_id
        accepted, planned, outcome = await lines(
            whole.here.places.log, trace, "signal_accepted", "signal_planned", "signal_outcome"
        )
        assert {line["signal_id"] for line in (accepted, planned, outcome)} == {signal}
        assert (accepted["hook_id"], accepted["status"]) == (whole.hook.hook_id, 202)
        assert planned["reasons"] == {"order": ACCOUNTS}
        assert outcome["states"] == {"filled": ACCOUNTS}
        kinds = await records(whole.here.settings.recorder.store, trace)
        assert {
            "signal.accepted",
            "signal.planned",
            "order.intent",
            "order.sent",
            "order.fill",
        } <= kinds

    async def test_the_status_link_answers_to_the_tenants_key_alone(self, whole: Whole):
        link = json.loads(whole.sent.answer)["links"]["self"]
        path = urllib.parse.urlsplit(link).path
        url = whole.here.state.urls["admin"] + path
        async with aiohttp.ClientSession() as session:
            key = {"authorization": f"Bearer {whole.service_key}"}
            async with session.get(url, ssl=False, headers=key) as answer:
                assert answer.status == 200
                body = await answer.json()
            async with session.get(url, ssl=False) as answer:
                assert answer.status == 401
        assert whole.sent.signal_id in json.dumps(body)

    async def test_health_and_metrics_answer_on_the_management_listener(self, whole: Whole):
        async with aiohttp.ClientSession() as session:
            for path, wanted in (("/healthz", ""), ("/readyz", ""), ("/metrics", "portcullis_")):
                url = whole.here.state.urls["admin"] + path
                async with session.get(url, ssl=False) as answer:
                    assert answer.status == 200
                    assert wanted in await answer.text()

    async def test_an_operator_sets_up_a_customer_by_commands_and_sends_a_first_signal(
        self, whole: Whole, tmp_path: Path
    ):
        """README.md, "A first signal of your own", command by command (the paper broker aside)."""
        made = await portcullis(whole, "tenant", "create", "My Fund")
        assert _mode(Path(made["key_file"])) == 0o600
        await portcullis(whole, "strategy", "create", "trend", "--default-quantity", "1")
        await portcullis(
            whole, "account", "create", "Client 1", "--broker", "gateio", "--currency", "USDT"
        )
        (tmp_path / "api").write_text("an API secret")
        enrol = (
            "credential", "enrol", "--account", "Client 1", "--secret-file", str(tmp_path / "api"),
            "--api-key",
        )  # fmt: skip
        refused = await invoke(whole, *enrol, "nobody")
        assert (refused.exit_code, "INVALID_KEY" in refused.output) == (1, True)
        await whole.market.accounts([exchange_account("somebody", "an API secret", "10000")])
        live = await portcullis(whole, *enrol, "somebody", "--test-order")
        assert (live["state"], live["kek_version"]) == ("live", 1)
        assert live["proof"]["checks"][-1] == "test_order"
        # What opens waits until the book agrees, and with a revoked key nobody could say that it does.
        scope = operator_scope(TenantID(UUID(made["tenant_id"])))
        await self._agrees(whole, scope)
        await whole.market.change_key("somebody", revoked=True)
        await portcullis(
            whole, "subscription", "create", "--strategy", "trend", "--account", "Client 1"
        )
        secret = tmp_path / "whsec"
        hook = await portcullis(
            whole, "hook", "create", "main", "--strategy", "trend", "--out", str(secret)
        )
        assert "whsec_" not in json.dumps(hook)
        assert _mode(secret) == 0o600
        listed = await portcullis(whole, "account", "list")
        assert [row["name"] for row in listed] == ["Client 1"]
        answer = await self._send(whole, "main", secret)
        await settled(whole.database, scope, [answer["signalId"]], within_s=20.0)
        told = await story(whole.database, scope, answer["signalId"])
        # The exchange does not know this key any more: the story says so in its own words.
        assert [(a.state, (a.text or "").split(":")[0]) for a in told.attempts] == [
            ("rejected", "auth_key")
        ]

    async def _agrees(self, whole: Whole, scope: TenantScope) -> None:
        async with asyncio.timeout(20):
            while True:
                async with whole.database.tenant(scope) as conn:
                    found = await (
                        await conn.execute("SELECT state FROM reconciliations")
                    ).fetchall()
                if found == [("agreed",)]:
                    return
                await asyncio.sleep(0.1)

    async def _send(self, whole: Whole, hook: str, secret: Path) -> dict[str, Any]:
        """A new hook is in force within a second."""
        words = ("hook", "send", hook, '{"ticker": "BTC_USDT", "action": "buy"}')
        for _ in range(50):
            result = await invoke(whole, *words, "--secret-file", str(secret))
            if result.exit_code == 0:
                answer: dict[str, Any] = json.loads(result.output.splitlines()[-1])
                return answer
            await asyncio.sleep(0.1)
        raise AssertionError(result.output)

    async def test_what_cannot_be_set_up_is_named(self, whole: Whole):
        wrong = await invoke(
            whole, "account", "create", "X", "--broker", "nope", "--currency", "USDT"
        )
        assert (wrong.exit_code, "connected: gateio" in wrong.output) == (1, True)
        again = await invoke(whole, "strategy", "create", "trend")
        assert (again.exit_code, "in use" in again.output) == (1, True)
        nobody = await invoke(whole, "strategy", "show", "nobody")
        assert (nobody.exit_code, "portcullis strategy list" in nobody.output) == (1, True)
        nothing = await invoke(whole, "strategy", "change", "trend")
        assert (nothing.exit_code, "say which member" in nothing.output) == (2, True)
        asked = await invoke(whole, "strategy", "archive", "trend", "--yes")
        assert (asked.exit_code, "is used by" in asked.output) == (1, True)

    async def test_what_was_exported_is_applied_without_a_difference(
        self, whole: Whole, tmp_path: Path
    ):
        """And a changed limit is one difference, shown before it is asked for."""
        file = tmp_path / "tenant.toml"
        assert (await invoke(whole, "export", "-o", str(file))).exit_code == 0
        same = await invoke(whole, "apply", "-f", str(file), "--prune")
        assert (same.exit_code, "no difference" in same.output) == (0, True)
        file.write_text(
            file.read_text() + "\n[[groups]]\nname = 'g'\nlimits.max_order_quantity = 2.5\n"
        )
        asked = await invoke(whole, "apply", "-f", str(file))
        assert (asked.exit_code, "+ group g" in asked.output) == (1, True)
        done = await invoke(whole, "apply", "-f", str(file), "--yes", "--reason", "größer")
        assert (done.exit_code, "applied: 1 made" in done.output) == (0, True), done.output
        file.write_text(file.read_text().replace("2.5", "-1"))
        line = file.read_text().splitlines().index("[[groups]]") + 1
        wrong = await invoke(whole, "apply", "-f", str(file), "--yes")
        assert (wrong.exit_code, f"line {line}" in wrong.output) == (1, True)
        assert "limits.max_order_quantity" in wrong.output

    async def test_no_secret_is_in_any_file_that_the_product_wrote(self, whole: Whole):
        """Logs, database and write-ahead log, Redis, audit store, settings: every byte of var."""
        needles = [needle.encode() for secret in whole.secrets for needle in _spellings(secret)]
        found = [
            str(path)
            for root in (whole.here.places.var, whole.here.places.runtime)
            for path in root.rglob("*")
            if path.is_file() and _holds(path, needles)
        ]
        assert found == []


async def invoke(whole: Whole, *words: str) -> Result:
    """`portcullis --settings … words`, as an operator types it."""
    command = ["--settings", str(whole.here.places.settings), *words]
    return await asyncio.to_thread(lambda: CliRunner().invoke(cli, command))


async def portcullis(whole: Whole, *words: str, json_wanted: bool = True) -> Any:
    """The same, for a command that must work; its JSON."""
    result = await invoke(whole, *words, *(["--json"] if json_wanted else []))
    assert result.exit_code == 0, result.output
    return json.loads(result.output) if json_wanted else None


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def _spellings(secret: str) -> list[str]:
    """The secret as it is typed, and as the key that it says."""
    plain = [secret]
    if secret.startswith("whsec_"):
        plain.append(base64.b64decode(secret.removeprefix("whsec_")).hex())
        plain.append(secret.removeprefix("whsec_"))
    return plain


def _holds(path: Path, needles: list[bytes]) -> bool:
    content = path.read_bytes()
    return any(needle in content for needle in needles)
