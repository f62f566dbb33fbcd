"""What runs is found by who listens at its socket, where no supervisor of ours wrote it down."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from ops.initialise import Choices, document
from ops.paths import places
from ops.processes import doors, health_sockets
from ops.running import Running, running
from ops.settings import Settings, decode_settings
from ops.state import State, identify, write_state
from ops.toml import dumps

LISTENS = """
import socket, sys
servers = []
for path in sys.argv[1:]:
    servers.append(socket.socket(socket.AF_UNIX))
    servers[-1].bind(path)
    servers[-1].listen()
print("listens", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    where = places(tmp_path / "var")
    made = decode_settings(dumps(document(where, Choices(backup=tmp_path / "archive"))).encode())
    runtime = tmp_path / "run"  # short enough for a socket's path
    runtime.mkdir()
    instance = msgspec.structs.replace(made.instance, runtime=runtime)
    names = ("signer_socket", "enroller_socket", "admin_socket", "hook_socket", "audit_socket")
    hsm = msgspec.structs.replace(made.hsm, **{name: runtime / name for name in names})
    return msgspec.structs.replace(made, instance=instance, hsm=hsm)


@contextmanager
def listening(*paths: Path) -> Iterator[int]:
    """Another process that listens there; its pid."""
    words = [sys.executable, "-c", LISTENS, *map(str, paths)]
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"listens\n"
        yield child.pid
    finally:
        child.communicate()


def found(settings: Settings) -> Running:
    seen = running(settings)
    assert seen is not None
    return seen


def test_nobody_listens_and_a_dead_daemons_socket_is_nobody(settings: Settings) -> None:
    assert running(settings) is None
    path = doors(settings)["worker-0"].path
    with listening(path):
        pass
    assert path.is_socket()
    assert running(settings) is None


def test_each_is_found_by_its_socket_with_its_pid_and_age(settings: Settings) -> None:
    ours = doors(settings)
    some = [ours[name].path for name in ("signer", "worker-0")]
    with listening(*some) as pid:
        seen = found(settings)
        assert (seen.supervisor, seen.ready) == (None, False)
        assert {name: one.pid for name, one in seen.processes.items()} == {
            "signer": pid, "worker-0": pid,
        }  # fmt: skip
        worker = seen.processes["worker-0"]
        assert worker.restarts is None
        assert worker.since is not None
        assert timedelta() <= datetime.now(UTC) - worker.since < timedelta(minutes=5)
        assert seen.health == health_sockets(settings)
        assert seen.urls["ingress"] == settings.ingress.base_url


def test_all_of_them_are_ready(settings: Settings) -> None:
    with listening(*{door.path for door in doors(settings).values()}):
        assert found(settings).ready


def test_the_archive_says_how_it_is_as_the_others_do(settings: Settings) -> None:
    """Its page is one of those that Prometheus is told of: eight alerts depend on it."""
    assert {name.partition("-")[0] for name in health_sockets(settings)} == {
        "clock", "archive", "recorder", "worker", "admin", "ingress",
    }  # fmt: skip


def test_what_our_supervisor_wrote_comes_first(settings: Settings) -> None:
    me = identify(os.getpid(), restarts=2)
    assert me is not None
    state = State(
        supervisor=me, settings=Path("/s"), ready=True, urls={}, processes={"redis": me}, health={}
    )  # fmt: skip
    write_state(settings.instance.runtime / "state.json", state)
    with listening(doors(settings)["worker-0"].path):
        seen = found(settings)
    assert seen.supervisor is not None
    assert {name: one.restarts for name, one in seen.processes.items()} == {"redis": 2}
