"""A witness as a program: its HTTP, its command line, and what a stranger on the wire can do to it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from audit.cosignature import Cosigner
from audit.policy import check_quorum, parse_policy
from audit.witness import request
from audit.witness.memory import hash_of
from audit.witness.request import MOST_BYTES
from audit.witness.server import Server
from audit.witness.witness import create, load
from ops.cli.witness import witness as command
from tests.fakes.growing_log import GrowingLog


@pytest.fixture
def log() -> GrowingLog:
    return GrowingLog().grow(3)


@pytest.fixture
def server(tmp_path, log) -> Iterator[Server]:
    create(tmp_path / "w", "witness.test/w1")
    witness = load(tmp_path / "w", lambda: 1_800_000_000)
    witness.memory.add(log.key.name, log.key)
    serving = Server(witness, ("127.0.0.1", 0))
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


def call(connection, method, path, body=None):
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def connect(server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)


def test_a_log_and_a_monitor_on_one_connection(server, log):
    connection = connect(server)
    asked = request.write(0, [], log.note())
    status, line, _ = call(connection, "POST", "/add-checkpoint", asked)
    assert status == 200
    policy = parse_policy(f"witness w {server.witness.key.public}\nquorum w\n".encode())
    assert check_quorum(log.note() + line, policy).met
    status, body, headers = call(connection, "POST", "/add-checkpoint", asked)
    assert (status, body, headers["Content-Type"]) == (409, b"3\n", "text/x.tlog.size")
    status, body, _ = call(connection, "GET", f"/{hash_of(log.key.name)}/checkpoint")
    assert (status, body) == (200, log.note() + line)
    assert call(connection, "GET", f"/{'0' * 64}/checkpoint")[0] == 404
    assert call(connection, "POST", "/else", b"")[0] == 404
    assert call(connection, "GET", "/add-checkpoint")[0] == 405
    connection.close()


def test_what_is_too_long_or_has_no_length_is_not_read(server):
    for headers, status in (
        ({"Content-Length": str(MOST_BYTES + 1)}, 413), ({"Content-Length": "-1"}, 400),
        ({"Transfer-Encoding": "chunked"}, 411), ({}, 411),
    ):  # fmt: skip
        connection = connect(server)
        connection.putrequest("POST", "/add-checkpoint")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (status, "close")
        connection.close()


def test_a_silent_stranger_does_not_keep_a_log_waiting(server, log):
    with socket.create_connection(server.server_address) as silent:
        silent.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
        connection = connect(server)
        asked = request.write(0, [], log.note())
        assert call(connection, "POST", "/add-checkpoint", asked)[0] == 200
        connection.close()


def test_init_add_list_and_run_from_the_command_line(tmp_path, log):
    runner, where = CliRunner(), ["--dir", str(tmp_path / "w")]
    made = runner.invoke(command, ["init", *where, "--name", "witness.test/w1"])
    key = Cosigner.parse(made.output.strip())
    assert runner.invoke(command, ["init", *where, "--name", "x"]).exit_code == 1
    assert runner.invoke(command, ["add", *where, "-"], input=f"{log.key}\n").exit_code == 0
    assert log.key.name in runner.invoke(command, ["list", *where]).output

    running = subprocess.Popen(
        [sys.executable, "-c", "from ops.cli.main import main; main()", "witness", "run", *where,
         "--port", "0"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert running.stdout is not None
        port = int(running.stdout.readline().rsplit(":", 1)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        status, line, _ = call(
            connection, "POST", "/add-checkpoint", request.write(0, [], log.note())
        )
        connection.close()
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0
    finally:
        running.kill()
        running.wait()
        running.stdout.close()
    assert status == 200
    policy = parse_policy(f"witness w {key}\nquorum w\n".encode())
    assert check_quorum(log.note() + line, policy).met
    assert " 3 " in runner.invoke(command, ["list", *where]).output
