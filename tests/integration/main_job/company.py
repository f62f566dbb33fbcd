"""A customer of the running product, met as its people and programs meet it: HTTPS, cookies, files.

Nothing here reaches behind the listeners but to kill a process or to look for secrets.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import msgspec
import pyotp
from click.testing import CliRunner

from audit.proving import commitment
from gateway.admin import sealed_rows
from ops.audit_keys import audit_keys
from ops.cli.main import cli
from ops.initialise import Choices
from ops.settings import Settings
from ops.toml import dumps
from ops.trial.installation import Installation, fresh, remove, running
from ops.trial.sender import Hook, Sender, Sent, sender
from tenancy.database import Database
from tenancy.scope import TenantScope
from tenancy.values import TenantID

TIMEOUT = aiohttp.ClientTimeout(total=20.0, connect=5.0)
PASSWORD = "a rather long sentence {}"


class Answer(msgspec.Struct, frozen=True):
    """What came back; `content` is its JSON, or its text."""

    status: int
    content: Any
    headers: Mapping[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.content[name]


class Client:
    """Somebody at the management listener: a program with a key, or a person's browser."""

    def __init__(self, here: Installation, key: str = "", pem: Path | None = None) -> None:
        self.here, self.key, self.csrf, self.tenant = here, key, "", ""
        self.cookies: dict[str, str] = {}
        self.person_id = self.secret = self.email = self.password = ""
        self.trust = trusting(here, pem)
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self.trust)
            jar = aiohttp.DummyCookieJar()
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=TIMEOUT, cookie_jar=jar
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def headers(self, **more: str) -> dict[str, str]:
        said = {name.replace("_", "-"): value for name, value in more.items()}
        if self.key:
            said["authorization"] = f"Bearer {self.key}"
        if self.cookies:
            said["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            said["portcullis-csrf"] = self.csrf
        if self.tenant:
            said["portcullis-tenant"] = self.tenant
        return said

    async def __call__(
        self, method: str, path: str, body: Any = None, wanted: int | None = None, **more: str
    ) -> Answer:
        headers = self.headers(**more)
        data = None
        if body is not None:
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            headers["content-type"], data = kind, msgspec.json.encode(body)
        url = self.here.state.urls["admin"] + path
        async with self.session.request(method, url, data=data, headers=headers) as got:
            text = await got.text()
            for line in got.headers.getall("set-cookie", []):
                for name, morsel in SimpleCookie(line).items():
                    self.cookies[name] = morsel.value
            content = json.loads(text) if "json" in got.headers.get("content-type", "") else text
            answer = Answer(got.status, content, dict(got.headers))
        assert wanted is None or answer.status == wanted, (method, path, answer)
        return answer

    async def make(self, path: str, **body: Any) -> Any:
        return (await self("POST", path, body, wanted=201)).content

    async def change(self, path: str, wanted: int = 200, **body: Any) -> Any:
        return (await self("PATCH", path, body, wanted=wanted, if_match="*")).content

    # ---------------------------------------------------------------- people

    async def take_up(self, invitation: str, password: str) -> None:
        body = {"invitation": invitation, "password": password}
        taken = (await self("POST", "/v1/invitations", body, wanted=200)).content
        self.email, self.password = taken["email"], password
        self.house = taken["tenant"]

    async def sign_in(self, code: str | None = None) -> Answer:
        body = {"tenant": self.house, "email": self.email, "password": self.password}
        if code is not None:
            body["code"] = code
        self.cookies.clear()
        answer = await self("POST", "/v1/sessions", body)
        if answer.status == 200:
            self.csrf, self.person_id = answer["csrf_token"], answer["person_id"]
        return answer

    async def enrol_totp(self) -> None:
        begun = await self.make("/v1/me/factors/totp", label="phone")
        self.secret = begun["secret"]
        path = f"/v1/me/factors/{begun['factor_id']}/confirm"
        await self("POST", path, {"code": pyotp.TOTP(self.secret).now()}, wanted=200)


def trusting(here: Installation, pem: Path | None = None) -> ssl.SSLContext:
    """Trust in the installation's own authority alone; with `pem` a certificate of one's own."""
    context = ssl.create_default_context(cafile=str(here.places.var / "tls" / "ca.pem"))
    if pem is not None:
        context.load_cert_chain(str(pem))
    return context


class Company(msgspec.Struct):
    """A running installation, and who is signed in."""

    here: Installation
    clients: list[Client] = []
    secrets: list[str] = []
    """All that must be nowhere in plain text."""

    def client(self, key: str = "", pem: Path | None = None) -> Client:
        made = Client(self.here, key, pem)
        self.clients.append(made)
        return made

    def key_of(self, name: str) -> Client:
        """Whoever holds the key that this host keeps under `name`."""
        path = self.here.places.var / "secrets" / "keys" / f"{name}.key"
        key = path.read_text().strip()
        return self.client(key)

    async def cli(self, *words: str) -> Any:
        """`portcullis … --json`, as an operator types it on the host."""
        command = ["--settings", str(self.here.places.settings), *words, "--json"]
        result = await asyncio.to_thread(lambda: CliRunner().invoke(cli, command))
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    async def person(
        self, inviting: Client, name: str, *roles: str, factor: bool = False
    ) -> Client:
        """Invited, password set, signed in; with `factor` an app is enrolled, too."""
        email = f"{name}@example.com"
        made = await inviting.make("/v1/people", name=name.title(), email=email, roles=list(roles))
        return await self.joined(made["invitation"], name, factor=factor)

    async def joined(self, invitation: str, name: str, *, factor: bool = False) -> Client:
        person = self.client()
        await person.take_up(invitation, PASSWORD.format(uuid4().hex))
        assert (await person.sign_in()).status == 200
        if factor:
            await person.enrol_totp()
            self.secrets.append(person.secret)
        self.secrets += [invitation, person.password]
        return person

    async def hook(self, client: Client, strategy: str, name: str = "main") -> Hook:
        made = await client.make(
            "/v1/hooks", strategy_id=strategy, name=name, per_minute=100_000, per_hour=1_000_000
        )
        self.secrets.append(made["secret"])
        return Hook(made["hook_id"], made["secret"])

    @asynccontextmanager
    async def sender(self, hook: Hook) -> AsyncIterator[Sender]:
        authority = self.here.places.var / "tls" / "ca.pem"
        async with sender(self.here.state.urls["ingress"], authority, hook) as made:
            yield made


async def until(
    what: Callable[[], Awaitable[Any]], within_s: float = 15.0, every_s: float = 0.05
) -> Any:
    """What it gives, once that is true."""
    deadline = time.monotonic() + within_s
    while not (found := await what()):
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(every_s)
    return found


async def accepted(strategy: Sender, **fields: Any) -> Sent:
    """The answer to a signal whose hook may be a second old."""

    async def one() -> Sent | None:
        sent = await strategy.send(**fields)
        return sent if sent.status == 202 else None

    found: Sent = await until(one)
    return found


async def plan_of(client: Client, signal: str | None) -> Any:
    async def read() -> Any:
        answer = await client("GET", f"/v1/plans/{signal}")
        return answer.content if answer.status == 200 else None

    return await until(read, every_s=0.01)


@asynccontextmanager
async def company(
    directory: Path, choices: Choices, changes: Mapping[str, Any] | None = None
) -> AsyncIterator[Company]:
    """A fresh installation, up; `changes` are made to the `[admin]` of its settings before that."""
    where = await asyncio.to_thread(fresh, directory / "var", choices)
    try:
        if changes:
            text = msgspec.toml.decode(where.settings.read_bytes())
            text["admin"] |= changes
            where.settings.write_text(dumps(text))
        async with running(where) as here:
            made = Company(here, [], [])
            try:
                yield made
            finally:
                for client in made.clients:
                    await client.close()
    finally:
        await asyncio.to_thread(remove, where)


async def payload_of(settings: Settings, tenant: TenantID, leaf: bytes, stored: bytes) -> Any:
    """What a record says, opened with the installation's own keys."""
    async with audit_keys(settings, settings.database.admin, "test") as keys:
        return json.loads(await keys.open(tenant, stored, commitment(leaf)))


async def unneeded(database: Database, scope: TenantScope, version: int) -> bool:
    """No row of the tenant is sealed under that version of its keys."""
    async with database.tenant(scope) as conn:
        return not sealed_rows.needing(await sealed_rows.read(conn), version)
