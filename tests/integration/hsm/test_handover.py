"""A secret goes from the signer to one session process: a real launcher, a real child, a fake SDK's login."""

import asyncio
import hmac
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from hsm import ceremony
from hsm.enrol import encrypt_secret
from hsm.errors import SignerUnavailable
from hsm.handover import launch
from tests.fixtures.softhsm import SoftHSM
from tests.memory import Search, spellings

ROOT = Path(__file__).parents[3]
TENANT, ACCOUNT = uuid4(), str(uuid4())
SECRET = secrets.token_hex(24).encode()
looks_into_memory = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may look into the memory of other processes"
)


@pytest.fixture(scope="module")
def door(vault: SoftHSM) -> Path:
    """The signer's socket for session launchers."""
    ceremony.create_tenant_keys(vault.settings, TENANT)
    vault.stop("signer")
    path = vault.directory / "session.sock"
    vault.start("signer", doors=f'{{ session = {{ socket = "{path}", purposes = ["sdk"] }} }}')
    return path


class Broker:
    """What the session logs in at; one session."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def line(self) -> bytes:
        return (await asyncio.wait_for(self._reader.readline(), 20)).strip()

    async def say(self, line: bytes) -> None:
        self._writer.write(line + b"\n")
        await self._writer.drain()

    async def challenge(self) -> bool:
        """Ask, and is the answer made with the secret?"""
        asked = secrets.token_hex(8).encode()
        await self.say(asked)
        return await self.line() == hmac.digest(SECRET, asked, "sha512").hex().encode()


class Session:
    """The launcher, the session that it launched, and the broker that the session is at."""

    def __init__(self, launcher: asyncio.subprocess.Process, broker: Broker, hello: bytes) -> None:
        self.launcher, self.broker = launcher, broker
        self.pid, self.no_other_descriptor = int(hello.split()[0]), hello.split()[1] == b"True"


@asynccontextmanager
async def session(
    vault: SoftHSM, door: Path, purpose: str = "sdk", account: str = ACCOUNT
) -> AsyncIterator[Session]:
    async with vault.enroller() as enroller:
        ciphertext = encrypt_secret(await enroller.public_key_pem(), SECRET)
        row = await enroller.seal_secret(TENANT, ACCOUNT, purpose, ciphertext)
    file, socket = vault.directory / "row", vault.directory / "broker.sock"
    file.write_bytes(row)
    came: asyncio.Future[Broker] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_unix_server(
        lambda reader, writer: came.set_result(Broker(reader, writer)), str(socket)
    )
    launcher = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.session_launcher",
        "--door", str(door), "--row", str(file), "--tenant", str(TENANT), "--subject", account,
        "--", sys.executable, "-m", "tests.fakes.sdk_session", "--broker", str(socket),
        cwd=ROOT,
    )  # fmt: skip
    broker = await asyncio.wait_for(came, 20)
    try:
        yield Session(launcher, broker, await broker.line())
    finally:
        broker._writer.close()
        server.close()
        socket.unlink()
        await asyncio.wait_for(launcher.wait(), 20)


async def test_a_session_logs_in_with_the_secret_and_inherits_nothing_else(vault, door):
    async with session(vault, door) as it:
        assert it.no_other_descriptor
        assert await it.broker.challenge()
        await it.broker.say(b"welcome")
        assert await it.broker.line() == b"in"
    assert it.launcher.returncode == 0


@looks_into_memory
async def test_the_secret_is_in_the_session_while_it_logs_in_and_in_no_other_process_then_or_later(
    vault, door
):
    """The look during the login is the control: the same search finds it there."""
    needles = spellings(SECRET)
    async with session(vault, door) as it:
        assert await it.broker.challenge()  # the session waits for the broker's answer
        assert "plain" in {needle for needle, _ in Search(needles)(it.pid)}
        assert Search(needles)(it.launcher.pid) == {}
        await it.broker.say(b"welcome")
        assert await it.broker.line() == b"in"
        assert Search(needles)(it.pid) == {}
        assert Search(needles)(it.launcher.pid) == {}


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"purpose": "hook"}, b"signing_refused"), ({"account": str(uuid4())}, b"seal_broken")],
)
async def test_a_secret_that_is_not_for_this_session_is_not_handed_over(vault, door, wrong, code):
    async with session(vault, door, **wrong) as it:
        assert await it.broker.line() == code
    assert it.launcher.returncode == 4


async def test_a_signer_that_is_away_starts_no_session(tmp_path):
    with pytest.raises(SignerUnavailable, match="nothing answers"):
        await launch(
            ["/bin/false"], door=tmp_path / "nobody", sealed=b"", tenant_id=UUID(int=1), subject="s"
        )
