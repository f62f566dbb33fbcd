"""The daemons' shape without a token: who may connect, what a lost token does to a batch."""

import asyncio
import os
import time
from pathlib import Path

import pytest
from pkcs11.exceptions import KeySizeRange

from hsm import protocol
from hsm.client import SignerClient, error_of
from hsm.crew import Job, serve_batch
from hsm.daemon import EXIT_TOKEN_LOST, Daemon
from hsm.errors import MalformedRequest, SignerUnavailable, TokenLost
from hsm.listening import listen
from hsm.openers import Door
from hsm.settings import DaemonSettings, read_daemon_settings
from tenancy.errors import ConfigurationError


class Scripted:
    """A desk and worker that answers with the label; some labels are trouble."""

    name = "scripted"

    def __init__(self) -> None:
        self.alive = True

    def admit(self, request):
        return 0

    def worker(self):
        return self

    def figures(self):
        return {}

    def serve(self, request):
        if request.label == "odd":
            raise KeySizeRange
        if request.label == "hangs":
            time.sleep(1.0)
        if request.label == "dying":
            self.alive = False
        return request.label.encode()

    def proven(self, request):
        return None

    def settle(self):
        if not self.alive:
            raise TokenLost("the canary is silent")


class Deaf:
    """A connection that nobody listens at."""

    def __init__(self, *forgotten):
        self.forgotten = set(forgotten)


class Daemonised:
    """A Daemon in this loop, on its own socket."""

    def __init__(self, tmp_path: Path, **more) -> None:
        self.settings = DaemonSettings(
            module=Path("/none"), token_label="", pin_file=Path("/none"),
            socket=tmp_path / "s", state_dir=tmp_path / "state", **more,
        )  # fmt: skip

    async def __aenter__(self):
        self.daemon = Daemon(self.settings, Scripted())
        self.task = asyncio.create_task(self.daemon.run())
        while not self.settings.socket.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return self

    async def __aexit__(self, *_):
        self.daemon.stop()
        await self.task


async def test_our_own_user_is_served(tmp_path):
    async with Daemonised(tmp_path) as d, SignerClient(d.settings.socket) as client:
        assert await client.public_key("x") == b"x"


async def test_another_user_is_turned_away_before_a_byte_is_read(tmp_path, monkeypatch):
    """The kernel says who connected; the daemon's user is another here."""
    monkeypatch.setattr("hsm.listening.os.getuid", lambda: os.geteuid() + 12345)
    async with Daemonised(tmp_path) as d, SignerClient(d.settings.socket, timeout_s=0.3) as client:
        with pytest.raises(SignerUnavailable, match="hangs up"):
            await client.public_key("x")
        assert d.daemon.figures()["answered"] == 0


async def test_a_named_user_is_served(tmp_path, monkeypatch):
    uid = os.geteuid()
    monkeypatch.setattr("hsm.listening.os.getuid", lambda: uid + 12345)
    async with (
        Daemonised(tmp_path, peer_uids=[uid]) as d,
        SignerClient(d.settings.socket) as client,
    ):
        assert await client.public_key("x") == b"x"


@pytest.mark.parametrize("where", ["main", "door"])
async def test_a_door_has_users_of_its_own(tmp_path, monkeypatch, where):
    """Who is named at one is turned away at the other."""
    uid = os.geteuid()
    monkeypatch.setattr("hsm.listening.os.getuid", lambda: uid + 12345)
    peers = [uid] if where == "door" else []
    door = Door(socket=tmp_path / "d", purposes=[], signs=True, peer_uids=peers)
    async with Daemonised(
        tmp_path, peer_uids=[uid] if where == "main" else [], doors={"one": door}
    ) as d:
        sockets = {"main": d.settings.socket, "door": door.socket}
        for name, path in sockets.items():
            async with SignerClient(path, timeout_s=0.3) as client:
                if name == where:
                    assert await client.public_key("x") == b"x"
                else:
                    with pytest.raises(SignerUnavailable, match="hangs up"):
                        await client.public_key("x")


async def test_a_lost_token_ends_the_daemon_with_a_status_that_asks_for_a_restart(tmp_path):
    """Nobody takes its place here; who asks is told, by its last words, why."""
    async with Daemonised(tmp_path) as d, SignerClient(d.settings.socket, timeout_s=0.3) as client:
        with pytest.raises(SignerUnavailable, match="it ended: token_lost"):
            await client.public_key("dying")
        assert await asyncio.wait_for(d.task, 5) == EXIT_TOKEN_LOST


async def test_a_request_that_the_token_refuses_does_not_end_it(tmp_path):
    async with Daemonised(tmp_path) as d, SignerClient(d.settings.socket) as client:
        with pytest.raises(Exception, match="KeySizeRange"):
            await client.public_key("odd")
        assert await client.public_key("x") == b"x"


async def test_a_hung_call_ends_the_process(tmp_path, monkeypatch):
    """No thread can be stopped from outside; a clean process can be started."""
    ended = []
    monkeypatch.setattr("hsm.daemon.os._exit", ended.append)
    async with Daemonised(tmp_path, hang_s=0.2) as d, SignerClient(d.settings.socket) as client:
        await client.public_key("hangs")
    assert set(ended) == {EXIT_TOKEN_LOST}


def test_no_answer_of_a_batch_leaves_when_the_canary_is_silent_after_it():
    """Signatures made before the loss was seen may be another tenant's."""
    requests = [protocol.PublicKey(n, label) for n, label in enumerate(("x", "y", "dying", "z"))]
    served = serve_batch(Scripted(), [Job(Deaf(), r, 0.0) for r in requests])
    assert served.answers == []
    assert served.lost is not None
    assert [(job.request.id, error.code) for job, error in served.refused] == [
        (n, "token_lost") for n in range(4)
    ]


def test_a_dead_daemons_socket_is_replaced_and_a_living_ones_is_not(tmp_path):
    path = tmp_path / "s"
    first = listen(path, 0o600)
    with pytest.raises(ConfigurationError, match="another daemon"):
        listen(path, 0o600)
    first.close()
    second = listen(path, 0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    second.close()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("worker_threads = 0", "worker_threads"), ("colour = 1", "colour"),
        ("cpus = [4096]", "cpus: this process may use"),
        ('pin = "1234"', "pin"), (f'x = 1\nsocket = "{"/x" * 60}"', "socket"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(tmp_path, line, words):
    path = tmp_path / "c.toml"
    rest = 'module = "/m"\ntoken_label = "t"\npin_file = "/p"\n'
    socket = "" if "socket" in line else 'socket = "/s"\n'
    path.write_text(rest + socket + line.replace("x = 1\n", "") + "\n")
    with pytest.raises(ConfigurationError, match=words):
        read_daemon_settings(path)


async def test_a_malformed_answer_ends_the_connection_not_the_client(tmp_path):
    """Whoever sits on the socket and talks nonsense is unavailable, nothing worse."""

    async def nonsense(reader, writer):
        await reader.read(1)
        writer.write(b"\x00\x00\x00\x01\xc0")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(nonsense, str(tmp_path / "n"))
    async with SignerClient(tmp_path / "n") as client:
        with pytest.raises(SignerUnavailable):
            await client.status()
    server.close()
    await server.wait_closed()


def test_the_error_of_a_code_is_the_error_that_was_raised():
    error = error_of(protocol.Refused(1, "malformed_request", "why"))
    assert isinstance(error, MalformedRequest)
    assert str(error) == "why"
    assert isinstance(error_of(protocol.Refused(1, "never heard", "why")), SignerUnavailable)
