"""What systemd hears of a process, on a socket of its kind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenancy.systemd import beat_s, tell, working


@pytest.fixture(params=["a path", "an abstract name"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = str(tmp_path / "notify")
    address = name if request.param == "a path" else "\0" + name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(address)
        heard.settimeout(5)
        yield heard, name if request.param == "a path" else "@" + name


def test_it_hears_that_the_work_begins_goes_on_and_ends(
    listener: tuple[socket.socket, str],
) -> None:
    heard, name = listener
    said: list[bytes] = []

    async def work() -> None:
        async with working({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000"}):
            said.extend([await asyncio.to_thread(heard.recv, 64) for _ in range(3)])
        said.append(heard.recv(64))

    asyncio.run(work())
    while said[-1] == b"WATCHDOG=1":
        said.append(heard.recv(64))  # a beat that was under way
    assert said[:3] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    assert said[-1] == b"STOPPING=1"


def test_a_loop_that_hangs_is_not_heard_of(listener: tuple[socket.socket, str]) -> None:
    heard, name = listener
    heard.setblocking(False)

    async def hang() -> None:
        async with working({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000"}):
            for _ in range(100_000):
                pass  # the loop gets no turn
            assert heard.recv(64) == b"READY=1"
            with pytest.raises(BlockingIOError):
                heard.recv(64)

    asyncio.run(hang())


def test_nobody_asked() -> None:
    tell("READY=1", {})


def test_a_systemd_that_does_not_listen_stops_nothing(tmp_path: Path) -> None:
    tell("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_how_often(environment: dict[str, str], wanted: float | None) -> None:
    assert beat_s(environment, 7) == wanted
