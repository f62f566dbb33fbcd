"""A customer's people and programs for test_tenancy_day.py: who there is, and what they are asked to do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pyotp
import pytest

from hsm.enrol import encrypt_key
from ops.stack.postgres import binaries
from ops.trial.exchange import Exchange, exchange_account
from ops.trial.sender import Hook, Sender
from tests.fakes.mail_server import MailServer
from tests.fakes.receiver import Receiver
from tests.integration.main_job.company import (
    Client,
    Company,
    accepted,
    plan_of,
    until,
)
from tests.integration.ops.test_client_certificates import Authority

BUY = {"ticker": "BTC_USDT", "action": "buy", "quantity": 2}


class Day(msgspec.Struct, kw_only=True):
    """Who is there, and what they have made."""

    house: Company
    market: Exchange
    desk: Receiver
    post: MailServer
    clients: Authority
    admin: Client
    trader: Client
    approver: Client
    viewer: Client
    operator: Client
    other: Client
    """The key of another customer."""
    tenant: str
    ids: dict[str, str] = {}
    hook: Hook | None = None
    sender: Any = None
    webhook_secret: str = ""
    first: str = ""


async def opened(
    house: Company, market: Exchange, desk: Receiver, post: MailServer, clients: Authority
) -> Day:
    """Two customers made by commands, and the people of the first."""
    made = await house.cli("tenant", "create", "Acme")
    await house.cli("tenant", "create", "Other")
    invited = await house.cli(
        "user", "create", "Ada", "--email", "ada@example.com", "--roles", "admin", "--as", "acme"
    )
    admin = await house.joined(invited["invitation"], "ada")
    early = await admin("GET", "/v1/strategies")
    assert (early.status, early["code"]) == (403, "second_factor_enrolment_required")
    await admin.enrol_totp()
    house.secrets.append(admin.secret)
    chief = await house.cli(
        "user", "create", "Op", "--email", "op@example.com", "--roles", "operator",
        "--as", "operator",
    )  # fmt: skip
    return Day(
        house=house, market=market, desk=desk, post=post, clients=clients, admin=admin,
        trader=await house.person(admin, "tracy", "trader"),
        approver=await house.person(admin, "axel", "approver", factor=True),
        viewer=await house.person(admin, "vera", "viewer"),
        operator=await house.joined(chief["invitation"], "op", factor=True),
        other=house.key_of("other"), tenant=made["tenant_id"],
    )  # fmt: skip


def fresh_code(person: Client) -> str:
    """One of a step that was not used: the next one is taken a step early."""
    return pyotp.TOTP(person.secret).at(datetime.now(UTC) + timedelta(seconds=30))


async def orders(client: Client, sent: str | None, status: str, most: int = 1) -> list[Any]:
    async def read() -> Any:
        items = (await client("GET", f"/v1/orders?signal_id={sent}", wanted=200))["items"]
        return items if items and all(item["status"] == status for item in items) else None

    found: list[Any] = await until(read)
    assert len(found) <= most
    return found


@asynccontextmanager
async def asking(day: Day) -> AsyncIterator[Sender]:
    """The subscription asks for a person's yes."""
    path = f"/v1/subscriptions/{day.ids['subscription']}"
    more = {"needs_approval": True, "allow_add_to_position": True}
    await day.admin.change(path, settings=more)
    assert day.hook is not None
    async with day.house.sender(day.hook) as sender:
        yield sender
    await day.admin.change(path, settings=dict.fromkeys(more))


async def asked(day: Day, sender: Sender) -> str:
    sent = (await accepted(sender, **BUY)).signal_id or ""
    (entry,) = (await plan_of(day.admin, sent))["entries"]
    assert entry["reason"] == "awaits_approval"
    return sent


async def answered(day: Day, who: Client, sent: str, verb: str) -> Any:
    path = f"/v1/approvals/{sent}/{day.ids['account']}/{verb}"
    return await who("POST", path, {"comment": "I looked"})


class Listener:
    """Server-sent events as a browser reads them, without its coming back."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.events: list[Any] = []
        self.last = ""
        self.said = ""
        self.opened = asyncio.Event()

    async def listen(self, client: Client, query: str = "") -> None:
        """Until the server ends it or is gone."""
        url = client.here.state.urls["admin"] + "/v1/events" + query
        headers = client.headers() | ({"last-event-id": self.last} if self.last else {})
        endless = aiohttp.ClientTimeout(total=None)
        try:
            async with client.session.get(url, headers=headers, timeout=endless) as got:
                assert got.status == 200, await got.text()
                self.opened.set()
                async for line in got.content:
                    self._take(line.decode().rstrip("\n"))
        except aiohttp.ClientError:
            pass

    def _take(self, line: str) -> None:
        name, _, value = line.partition(": ")
        if name == "id":
            self.last = value
        elif not name and value:
            self.said = value
        elif name == "data":
            self.events.append(json.loads(value))
            self.ids.append(self.events[-1]["id"])


async def records(client: Client, query: str) -> list[Any]:
    """What the log holds up to now."""
    heard = Listener()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await heard.listen(client, query)
    return heard.events


def has_heard(heard: Listener, kind: str, count: int) -> Any:
    async def enough() -> bool:
        return sum(event["kind"] == kind for event in heard.events) >= count

    return enough


def is_back(client: Client) -> Any:
    async def answers() -> bool:
        try:
            return (await client("GET", "/v1/me")).status == 200
        except aiohttp.ClientError:
            return False

    return answers


def has_mail(day: Day) -> Any:
    async def arrived() -> bool:
        return any("order" in mail.get_content().lower() for mail in day.post.mails)

    return arrived


async def live_account(day: Day) -> str:
    """One whose key the exchange took, and then took back. A key that it never knew does not get so far."""
    admin = day.admin
    live = await admin.make(
        "/v1/accounts", name="Live", broker="gateio", currency="USDT", stated_equity="1000",
        group_id=day.ids["group"],
    )  # fmt: skip
    account: str = live["account_id"]
    secret = os.urandom(16).hex()
    day.house.secrets.append(secret)
    await put_key(day, account, "nobody", secret)
    await credential_is(day, account, "refused")
    await day.market.accounts([exchange_account("somebody", secret, "10000")])
    await put_key(day, account, "somebody", secret)
    await credential_is(day, account, "live")
    await agrees(day, account)  # else nothing opens there, and the exchange is never asked
    await day.market.change_key("somebody", revoked=True)
    await admin.make("/v1/subscriptions", strategy_id=day.ids["strategy"], account_id=account)
    return account


async def agrees(day: Day, account: str) -> None:
    """Our book of the account and its broker's are known to agree."""

    async def read() -> bool:
        path = f"/v1/reconciliations?account_id={account}&state=agreed"
        return bool((await day.admin("GET", path, wanted=200))["items"])

    await until(read)


async def put_key(day: Day, account: str, api_key: str, secret: str) -> None:
    key = (await day.admin("GET", "/v1/enrolment-key", wanted=200))["public_key_pem"]
    envelope = b64encode(encrypt_key(key.encode(), secret.encode())).decode()
    body = {"api_key": api_key, "envelope": envelope}
    await day.admin("PUT", f"/v1/accounts/{account}/credential", body, wanted=200)


async def credential_is(day: Day, account: str, state: str) -> None:
    async def read() -> bool:
        found = await day.admin("GET", f"/v1/accounts/{account}/credential", wanted=200)
        return bool(found["state"] == state)

    await until(read)


async def orders_of(day: Day, sent: str | None, account: str, status: str) -> None:
    async def read() -> bool:
        path = f"/v1/orders?signal_id={sent}&account_id={account}"
        return [o["status"] for o in (await day.trader("GET", path))["items"]] == [status]

    await until(read)


def bot_index(day: Day) -> int:
    return next(index for index, one in enumerate(day.house.clients) if day.ids["bot"] in one.key)


@asynccontextmanager
async def stopped(day: Day, name: str) -> AsyncIterator[None]:
    """The process hangs: it takes connections and answers none."""
    pid = day.house.here.state.processes[name].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def shown_by_ps(pid: int) -> bytes:
    """Its arguments and its environment."""
    return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))


def dumped(conninfo: str) -> bytes:
    """The whole database as SQL, by somebody whom no wall stops."""
    command = [binaries() / "pg_dump", "--inserts", conninfo]
    return subprocess.run(command, capture_output=True, check=True).stdout


def found_in(content: bytes, needles: list[bytes]) -> list[bytes]:
    return [needle for needle in needles if needle in content]
