"""The doctor's looks at real sockets and files: a venue that answers, lies about the time, or shuts the door."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ops.doctor import brokers, certificates, disk, files, ports, redis
from ops.doctor.looking import Ground, in_thread
from ops.initialise import Choices, document
from ops.listener_settings import Tls
from ops.paths import places
from ops.settings import Settings, decode_settings
from ops.tls import create_dev_certificates
from ops.toml import dumps
from ops.trial.installation import free_port


def settings_in(directory: Path, **choices: int) -> Settings:
    made = dumps(document(places(directory / "var"), Choices(**choices)))  # type: ignore[arg-type]
    return decode_settings(made.encode())


@asynccontextmanager
async def venue(
    answer: Callable[[], bytes], context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Answers each request so, and ends the connection. Yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def told(ahead_s: float = 0.0, status: str = "200 OK") -> bytes:
    body = json.dumps({"server_time": int((time.time() + ahead_s) * 1000)}).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


async def asked(port: int, scheme: str = "http") -> brokers.Asked:
    table = {"base_url": f"{scheme}://127.0.0.1:{port}", "clock_error_ms": 1000}
    return await in_thread(brokers.ask, "gateio", table)


def levels(seen: brokers.Asked) -> list[str]:
    return [one.level for one in brokers.judge(seen)]


async def test_a_venue_that_answers_and_whose_clock_agrees_is_well() -> None:
    async with venue(told) as port:
        seen = await asked(port)
    assert (seen.failed, seen.status) == ("", 200)
    assert seen.ahead_s is not None
    assert abs(seen.ahead_s) <= seen.sure_s


async def test_a_venue_whose_clock_is_far_from_ours_is_wrong_in_both_directions() -> None:
    for ahead_s in (30.0, -30.0):
        async with venue(lambda ahead_s=ahead_s: told(ahead_s)) as port:  # type: ignore[misc]
            assert levels(await asked(port)) == ["well", "wrong"]


async def test_a_venue_that_tells_its_time_only_in_the_header_is_read_to_the_second() -> None:
    date = "Sun, 22 Nov 2026 03:00:00 GMT"
    text = f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with venue(text.encode) as port:
        seen = await asked(port)
    assert seen.ahead_s is not None
    assert seen.sure_s >= 0.5
    at = datetime(2026, 11, 22, 3, tzinfo=UTC).timestamp()
    assert abs(seen.ahead_s + time.time() - at) < 60


async def test_where_it_fails_is_said_step_by_step(tmp_path: Path) -> None:
    async with venue(lambda: told(status="503 Maintenance")) as port:
        assert (await asked(port)).status == 503
    async with venue(lambda: b"") as port:
        assert (await asked(port)).failed == "answer"
    assert (await asked(free_port())).failed == "connection"
    create_dev_certificates(tmp_path, datetime.now(UTC))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    async with venue(told, context) as port:
        seen = await asked(port, "https")
    assert seen.failed == "TLS"
    assert "certificate" in seen.why


async def test_the_certificate_that_is_shown_is_compared_with_the_one_on_disk(
    tmp_path: Path,
) -> None:
    create_dev_certificates(tmp_path, datetime.now(UTC))
    tls = Tls(certificate=tmp_path / "server.pem", key=tmp_path / "server.key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.certificate, tls.key)
    async with venue(told, context) as port:
        shown = await certificates.shown("127.0.0.1", port, "localhost")
    seen = certificates.read("ingress", tls, "localhost")
    own = x509.load_pem_x509_certificate(tls.certificate.read_bytes())
    assert shown == own
    assert seen.fingerprint == own.fingerprint(hashes.SHA256()).hex()
    assert (seen.fits, seen.names[0], seen.chain_broken) == (True, "localhost", False)
    assert await certificates.shown("127.0.0.1", free_port(), "localhost") is None


def test_another_pairs_key_and_a_chain_in_the_wrong_order_are_seen(tmp_path: Path) -> None:
    for name in ("one", "two"):
        create_dev_certificates(tmp_path / name, datetime.now(UTC))
    wrong = Tls(certificate=tmp_path / "one/server.pem", key=tmp_path / "two/server.key")
    assert certificates.read("ingress", wrong, "localhost").fits is False
    chain = tmp_path / "chain.pem"
    for first, then, broken in (("server", "ca", False), ("ca", "server", True)):
        chain.write_bytes(
            b"".join((tmp_path / f"one/{one}.pem").read_bytes() for one in (first, then))
        )
        seen = certificates.read("ingress", Tls(certificate=chain, key=wrong.key), "localhost")
        assert (seen.length, seen.chain_broken) == (2, broken)


def test_a_stranger_on_our_port_is_named_while_we_are_down(tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        settings = settings_in(tmp_path, ingress_port=port, admin_port=free_port())
        ingress, admin = ports.look(Ground(settings, tmp_path, None))
    assert ingress.listened
    assert os.getpid() in [one.pid for one in ingress.holders]
    assert [ports.judge(one).level for one in (ingress, admin)] == ["wrong", "well"]


def test_file_systems_are_seen_once_each_with_what_lies_there(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    for path in disk.places(settings).values():
        path.mkdir(parents=True, exist_ok=True)
    mounts = disk.look(settings)
    told_of = {one for mount in mounts for one in mount.whose.split(", ")}
    assert told_of == set(disk.places(settings))
    assert all(mount.kind and mount.total_bytes >= mount.free_bytes > 0 for mount in mounts)


def test_a_secret_that_others_may_read_is_found_where_it_lies(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    key = settings.instance.var / "secrets" / "keys" / "operator.key"
    key.parent.mkdir(parents=True, mode=0o700)
    settings.instance.var.joinpath("secrets").chmod(0o700)
    key.touch(mode=0o600)
    ground = Ground(settings, tmp_path / "none", None)
    assert [one.level for one in files.judge(files.look(ground))] == ["well"]
    key.chmod(0o640)
    wrong = files.judge(files.look(ground))[0]
    assert (wrong.level, "operator.key" in wrong.what, "chmod 600" in wrong.then) == (
        "wrong",
        True,
        True,
    )


def test_a_redis_that_is_not_there_says_so(tmp_path: Path) -> None:
    seen = redis.look(f"unix://{tmp_path}/none.sock")
    assert seen.info is None
    assert "ConnectionError" in seen.why
