"""Mutual TLS as it is served: Hypercorn, uvloop, real handshakes, a service key bound to a certificate."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypercorn.asyncio import run as hypercorn_run

from gateway.admin.app import admin_app
from gateway.admin.client_certificates import client_certificate_sha256, fingerprint
from gateway.admin.operation import Services
from ops import serve
from ops.listener_settings import Tls
from ops.processes import listen
from ops.tls import create_dev_certificates
from tenancy.clock import SystemClock
from tenancy.database import Database as Pool
from tenancy.errors import ConfigurationError
from tenancy.scope import Actor
from tenancy.store.service_keys import create_service_key
from tenancy.store.tenants import create_tenant
from tests.fakes.vault import Vault

pytestmark = pytest.mark.stack


class Authority:
    """A certificate authority that signs certificates for clients, into files."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory, self.name = directory, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.pem = directory / f"{name}.pem"
        self.certificate = self._signed(self.key, name, ca=True)
        self.pem.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def issue(self, name: str, *, days: int = 1) -> tuple[Path, bytes]:
        """The file with certificate and key, and the fingerprint."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(key, name, ca=False, days=days)
        path = self.directory / f"{name}-{self.name}.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(certificate.public_bytes(Encoding.PEM) + secret)
        return path, fingerprint(certificate.public_bytes(Encoding.DER))

    def _signed(
        self, key: ec.EllipticCurvePrivateKey, name: str, *, ca: bool, days: int = 1
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        begin, end = sorted((now - timedelta(minutes=1), now + timedelta(days=days)))
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .sign(self.key, SHA256())
        )


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    create_dev_certificates(tmp_path, datetime.now(UTC))
    return Tls(certificate=tmp_path / "server.pem", key=tmp_path / "server.key")


@pytest.fixture(autouse=True)
def hypercorn_as_it_was() -> Any:
    before = hypercorn_run.TCPServer
    yield
    hypercorn_run.TCPServer = before


async def get(port: int, tls: Tls, certificate: Path | None, path: str = "/v1/signals") -> str:
    """The status line, or what the handshake ended with."""
    context = ssl.create_default_context(cafile=str(tls.certificate.parent / "ca.pem"))
    if certificate is not None:
        context.load_cert_chain(certificate)
    try:
        reader, writer = await asyncio.open_connection(
            "localhost", port, ssl=context, family=socket.AF_INET
        )
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        line = await asyncio.wait_for(reader.readline(), 10)
        writer.transport.abort()
    except (ssl.SSLError, ConnectionError) as error:
        return type(error).__name__
    return line.decode().strip() or "closed"


def served(
    scene: Callable[[int], Any], make_app: Callable[[], Any], tls: Tls, client_ca: Path | None
) -> Any:
    """Run `scene(port)` while the app is served as production serves it."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    result: list[Any] = []

    async def main() -> int:
        stop = asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            app = await stack.enter_async_context(make_app())
            serving = asyncio.create_task(
                serve.serve(app, fd=listener.fileno(), tls=tls, stop=stop, client_ca=client_ca)
            )
            result.append(await scene(port))
            stop.set()
            await serving
        return 0

    assert serve.run(main) == 0
    listener.detach()
    return result[0]


def test_a_key_bound_to_a_certificate_is_known_by_it_until_it_is_revoked(
    tls: Tls, tmp_path: Path, database: Any
) -> None:
    """Good: in. None: 401. Another one of the same CA: 401. Of another CA, or out of date: no handshake."""
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    good, known = ours.issue("robot")
    stranger, _ = ours.issue("stranger")
    foreign, _ = theirs.issue("robot")
    late, _ = ours.issue("late", days=-1)
    seen: dict[str, str] = {}

    @contextlib.asynccontextmanager
    async def app() -> Any:
        pool = Pool(database.conninfo("admin"), name="admin", size=2)
        await pool.open()
        vault = Vault()
        services = Services(
            database=pool, redis=None, enroller=vault, signer=vault, clock=SystemClock(),  # type: ignore[arg-type]
            brokers=(), hooks_base_url="",
        )  # fmt: skip
        scope = await create_tenant(pool, "acme", Actor("human", "test"))
        async with pool.tenant(scope) as conn:
            await create_service_key(conn, scope, "robot", ["signals:read"])
            await conn.execute("UPDATE service_keys SET certificate_sha256 = %s", (known,))
        app.revoke = revoke(pool, scope)  # type: ignore[attr-defined]
        yield admin_app(services, checks={})
        await pool.close()

    def revoke(pool: Pool, scope: Any) -> Any:
        async def now() -> None:
            async with pool.tenant(scope) as conn:
                await conn.execute("UPDATE service_keys SET revoked_at = now()")

        return now

    async def scene(port: int) -> None:
        seen["good"] = await get(port, tls, good)
        seen["forbidden"] = await get(port, tls, good, "/v1/people")
        for name, path in (("none", None), ("stranger", stranger), ("foreign", foreign),
                           ("late", late)):  # fmt: skip
            seen[name] = await get(port, tls, path)
        await app.revoke()  # type: ignore[attr-defined]
        seen["revoked"] = await get(port, tls, good)

    served(scene, app, tls, ours.pem)
    assert seen["good"].startswith("HTTP/1.1 200")
    assert seen["forbidden"].startswith("HTTP/1.1 403")
    for name in ("none", "stranger", "revoked"):
        assert seen[name].startswith("HTTP/1.1 401"), name
    for name in ("foreign", "late"):
        assert not seen[name].startswith("HTTP"), (name, seen[name])


def test_without_a_client_ca_nobody_is_known_by_a_certificate(tls: Tls, tmp_path: Path) -> None:
    """The server does not ask for one, so none comes, and the state stays empty."""
    good, _ = Authority(tmp_path, "ours").issue("robot")
    shown: list[bytes | None] = []

    async def tell(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            shown.append(client_certificate_sha256(scope))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    @contextlib.asynccontextmanager
    async def app() -> Any:
        yield tell

    async def scene(port: int) -> str:
        return await get(port, tls, good)

    assert served(scene, app, tls, None).startswith("HTTP/1.1 200")
    assert shown == [None]


def test_a_hypercorn_that_builds_something_else_is_said_so_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hypercorn_run, "TCPServer", object)
    with pytest.raises(ConfigurationError, match="client_ca"):
        serve.check_hypercorn()
