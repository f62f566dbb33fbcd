"""No secret in what a program shows of itself: `repr`s, log lines, tracebacks, tasks.

Two halves. Every struct of ours with a member that is called a secret hides it. And each place that
holds a secret is broken while it holds one, and everything that could be shown then is looked at.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib
import io
import json
import logging
import pickle
import pkgutil
import re
import socket
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import hsm.daemon
from gateway.admin import second_factor
from gateway.hooks.registry import Registry
from gateway.hooks.verify import read_secret
from gateway.notify.secrets import ChannelSecrets
from gateway.notify.vapid import authorization
from hsm import ceremony, enrol, handover, pool, protocol, token
from hsm.client import SignerClient
from ops import enrolment, telemetry
from ops.api_client import Reply
from tenancy.errors import Invalid
from tenancy.ids import new_id
from tenancy.scope import Actor, TenantScope
from tenancy.secrecy import Plain
from tenancy.values import AccountID, TenantID

MARK = "hunter2-hunter2-hunter2-"
SECRET = f"{MARK}".encode()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TENANT = TenantID(UUID(int=1))
SCOPE = TenantScope(TENANT, Actor("human", "test"))

# ------------------------------------------------------------------ structs

PACKAGES = ("tenancy", "hsm", "audit", "fanout", "gateway", "ops")
SECRET_NAMES = re.compile(
    r"secret|secrets|plain|(client|hook)_secret|(current_)?password|password_hash|token|csrf_token"
    r"|nonce|verifier|invitation|invitation_url|once|codes|service_key"
)
ALSO_SECRET = {("hsm.protocol", "Done", "value"), ("gateway.hooks.verify", "Secret", "key")}
NO_SECRETS = {
    ("hsm.check", "Finding", "token"): "its label",
    ("hsm.facts", "KeyObject", "token"): "its label",
    ("hsm.record", "ObjectRecord", "token"): "its label",
    ("hsm.holders", "SealedPins", "nonce"): "AES-GCM's, which stands beside its ciphertext",
    ("hsm.backup", "_Head", "nonce"): "the same",
    ("hsm.conformance.visitor", "Errand", "token"): "its label",
    ("gateway.hooks.registry", "LiveSecret", "secret"): "a Secret, which hides itself",
    ("gateway.hooks.registry", "Hook", "secrets"): "LiveSecrets",
}


def structs() -> Iterator[type[msgspec.Struct]]:
    """Every struct of the product."""
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(path, package + "."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    left = msgspec.Struct.__subclasses__()
    while left:
        one = left.pop()
        left += one.__subclasses__()
        if one.__module__.split(".")[0] in PACKAGES:
            yield one


def test_every_struct_hides_its_members_that_are_called_secrets():
    shown = set()
    for kind in structs():
        for member in kind.__struct_fields__:
            place = (kind.__module__, kind.__qualname__, member)
            named = SECRET_NAMES.fullmatch(member) or place in ALSO_SECRET
            if not named or place in NO_SECRETS:
                continue
            values = dict.fromkeys(kind.__struct_fields__, UUID(int=0)) | {member: MARK}
            if MARK in repr(kind(**values)):
                shown.add(place)
    assert shown == set()


# ------------------------------------------------------------------ what is shown


class Shown:
    """All that a running process may show of an error: both logs, tracebacks, the task's repr."""

    async def of(self, work: Callable[[], Awaitable[Any]]) -> str:
        """What is shown when `work` is done as a task, whether it raises or not."""
        with contextlib.redirect_stderr(io.StringIO()) as capture:
            return "\n".join([*await self._said(work), capture.getvalue()])

    async def _said(self, work: Callable[[], Awaitable[Any]]) -> list[str]:
        task = asyncio.ensure_future(_awaited(work))
        await asyncio.wait([task])
        said = [repr(task), str(task)]
        error = task.exception()
        if error is not None:
            said += [repr(error), str(error), *traceback.format_exception(error)]
            asyncio.get_running_loop().call_exception_handler(
                {"message": "unhandled", "exception": error, "task": task}
            )
        for configure in (
            lambda: telemetry.set_up_logging("debug", process="test"),
            lambda: hsm.daemon.set_up_logging("test"),
        ):
            configure()
            log = structlog.get_logger()
            log.error("failed", exc_info=error, result=None if error else task.result())
            logging.getLogger("asyncio").error("failed: %r", task, exc_info=error)
        return said


async def _awaited(work: Callable[[], Awaitable[Any]]) -> Any:
    return await work()


@pytest.fixture
def shown() -> Iterator[Shown]:
    """Logging as the product sets it up, put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Shown()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def hidden(text: str) -> bool:
    """Neither the secret nor a spelling of a part of it is there."""
    raw = SECRET[:12]
    return not any(
        part in text for part in (MARK[:12], raw.hex(), base64.b64encode(raw).decode(), MARK[-12:])
    )


# ------------------------------------------------------------------ places that hold one


class Fault(Exception):
    """Thrown where a secret is at hand."""


def fault(*_: object, **__: object) -> Any:
    raise Fault


def _pem() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class Opener:
    """A signer that gives the secret back, and what it gives may be odd."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret

    async def open_secret(self, sealed: bytes, **_: object) -> bytes:
        return self.secret


async def encrypting_a_key(_: pytest.MonkeyPatch) -> None:
    enrol.encrypt_key(b"no PEM", SECRET)


async def encrypting_a_secret_that_is_too_long(_: pytest.MonkeyPatch) -> None:
    enrol.encrypt_secret(_pem(), SECRET * 20)


async def the_signer_framing_what_it_opened(_: pytest.MonkeyPatch) -> None:
    enrol.unframed(SECRET)


async def the_signer_answering(_: pytest.MonkeyPatch) -> None:
    answer = protocol.Done(1, SECRET)
    protocol.frame(msgspec.structs.replace(answer, value=SECRET * 10_000))


async def the_signer_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token gives the secret, and closing the key fails."""
    key = SimpleNamespace(destroy=fault)
    monkeypatch.setattr(type(key), "__getitem__", lambda *_: SECRET, raising=False)
    keys = pool.Keys.__new__(pool.Keys)
    monkeypatch.setattr(keys, "_unwrap", lambda *_: key)
    monkeypatch.setattr(pool, "unpack", lambda _: _sealed())
    keys.open_secret(b"")


def _sealed() -> Any:
    return hsm.envelope.SealedSecret(TENANT, "s", "hook", 1, b"", b"")


async def a_pin_that_the_token_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise token.PinIncorrect

    slot = SimpleNamespace(flags=0, open=refuses)
    token.Anchor(SimpleNamespace(slot_of=lambda _: slot), "label", MARK)  # type: ignore[arg-type]


async def a_pin_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceremony.secrets, "token_hex", lambda _: MARK)
    monkeypatch.setattr(ceremony.os, "fsync", fault)
    with tempfile.TemporaryDirectory() as directory:
        ceremony.make_pin(Path(directory) / "pin")


async def a_client_of_the_signer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """It succeeds: the task's own repr shows what the task ended with."""

    async def value(*_: object) -> bytes:
        return SECRET

    monkeypatch.setattr(SignerClient, "_value", value)
    return await SignerClient("/nowhere").open_secret(b"", tenant_id=TENANT, subject="s")


async def a_hooks_secret_without_its_prefix(_: pytest.MonkeyPatch) -> None:
    read_secret(SECRET)


async def a_hooks_secret_that_is_not_base64(_: pytest.MonkeyPatch) -> None:
    read_secret(b"whsec_" + SECRET)


async def ingress_opening_a_hook(_: pytest.MonkeyPatch) -> None:
    registry = Registry.__new__(Registry)
    registry._opener, registry._open = Opener(SECRET), {}
    await registry._open_one(new_id(), TENANT, b"")
    assert registry._open == {}
    raise Fault


async def a_channels_secret(_: pytest.MonkeyPatch) -> None:
    await ChannelSecrets(Opener(SECRET))._key(SCOPE, new_id(), b"")


async def a_chats_address(_: pytest.MonkeyPatch) -> None:
    """Of a letter that no address has, so that whoever reads it fails."""
    address = await ChannelSecrets(Opener(SECRET + "é".encode())).plain(SCOPE, new_id(), b"")
    address.text()


async def a_tenants_push_key(_: pytest.MonkeyPatch) -> None:
    authorization("https://push.example/a", b"no point", Plain(SECRET), "mailto:a@example.com", 0)


def _call(secret: bytes) -> Any:
    clock = SimpleNamespace(now=lambda: NOW)
    return SimpleNamespace(services=SimpleNamespace(signer=Opener(secret), clock=clock))


async def _code(secret: bytes) -> Any:
    factor = SimpleNamespace(sealed=b"", factor_id=new_id(), last_step=None)
    return await second_factor.totp_step(_call(secret), SCOPE, factor, "123456")  # type: ignore[arg-type]


async def a_persons_code_from_a_secret_that_is_not_base32(_: pytest.MonkeyPatch) -> Any:
    return await _code(SECRET)


async def a_persons_code_from_a_secret_that_is_no_text(_: pytest.MonkeyPatch) -> Any:
    return await _code(SECRET + b"\xff")


async def an_api_secret_on_its_way_in(_: pytest.MonkeyPatch) -> Any:
    wanted = enrolment.ApiSecret(AccountID(new_id()), "public", SECRET)
    api = SimpleNamespace(get=fault)
    return await enrolment.enrol(api, wanted)  # type: ignore[arg-type]


async def an_api_secret_that_cannot_be_encrypted(_: pytest.MonkeyPatch) -> Any:
    wanted = enrolment.ApiSecret(AccountID(new_id()), "public", SECRET)
    await enrolment._put(SimpleNamespace(), b"no PEM", wanted, "")  # type: ignore[arg-type]


async def an_answer_with_a_secret_shown_once(_: pytest.MonkeyPatch) -> Any:
    return Reply(status=201, content={"secret": MARK})


async def a_session_whose_login_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "harden", lambda: None)
    signer, session = socket.socketpair()
    with signer:
        signer.sendall(protocol.frame(protocol.Done(1, SECRET)))
        with handover.handed(session.detach()) as secret:
            fault(secret.text(), secret)


PLACES = [
    encrypting_a_key, encrypting_a_secret_that_is_too_long, the_signer_framing_what_it_opened,
    the_signer_answering, the_signer_opening, a_pin_that_the_token_refuses,
    a_pin_that_cannot_be_written, a_client_of_the_signer,
    a_hooks_secret_without_its_prefix, a_hooks_secret_that_is_not_base64, ingress_opening_a_hook,
    a_channels_secret, a_chats_address, a_tenants_push_key, a_persons_code_from_a_secret_that_is_not_base32,
    a_persons_code_from_a_secret_that_is_no_text, an_api_secret_on_its_way_in,
    an_api_secret_that_cannot_be_encrypted, an_answer_with_a_secret_shown_once,
    a_session_whose_login_breaks,
]  # fmt: skip
END_WELL = {a_client_of_the_signer, an_answer_with_a_secret_shown_once}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
async def test_a_fault_where_a_secret_is_at_hand_shows_nothing_of_it(shown, monkeypatch, place):
    outcome: list[bool] = []

    async def work() -> Any:
        try:
            result = await place(monkeypatch)
        except Exception:
            outcome.append(False)
            raise
        outcome.append(True)
        return result

    text = await shown.of(work)
    assert outcome == [place in END_WELL], text
    assert hidden(text), text


async def test_what_shows_a_secret_is_found(shown):
    """The control: an error that carries the bytes, and a result that is ordinary bytes."""

    async def raises() -> None:
        (SECRET + b"\xff").decode("ascii")

    async def returns() -> bytes:
        return SECRET

    assert not hidden(await shown.of(raises))
    assert not hidden(await shown.of(returns))


async def test_a_traceback_in_the_log_has_lines_of_code_and_no_values(shown):
    async def raises() -> None:
        plain = SECRET
        fault(plain)

    text = await shown.of(raises)
    [line, *_] = [one for one in text.splitlines() if one.startswith("{") and "Fault" in one]
    assert "fault(plain)" in json.loads(line)["exception"]
    assert hidden(text)


# ------------------------------------------------------------------ Plain


def test_a_plain_secret_is_its_bytes_and_does_not_show_them():
    secret = Plain(SECRET)
    assert secret == SECRET
    assert bytes(secret) == SECRET
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", repr([secret])):
        assert hidden(text)
    assert "24 secret bytes" in repr(secret)


def test_a_plain_secret_is_not_pickled():
    secret = Plain(SECRET)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)


def test_a_plain_secret_that_is_no_text_says_so_without_itself():
    assert Plain(SECRET).text() == MARK
    with pytest.raises(Invalid) as raised:
        Plain(SECRET + b"\xff").text()
    assert hidden(repr(raised.value))
    assert raised.value.__context__ is None
