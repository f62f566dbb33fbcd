"""What the doctor makes of a listener behind a proxy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ops.doctor import proxied
from ops.tls import create_dev_certificates

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SOCKET = Path("/run/portcullis/ingress.sock")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> x509.Certificate:
    directory = tmp_path_factory.mktemp("tls")
    create_dev_certificates(directory, NOW)
    return x509.load_pem_x509_certificate((directory / "server.pem").read_bytes())


@pytest.mark.parametrize(
    ("up", "taken", "host", "after_days", "levels", "word"),
    [
        (True, True, "localhost", 0, ["well", "well", "well"], "is for localhost"),
        (False, False, "localhost", 0, ["well", "well", "well"], "nothing of ours runs"),
        (True, False, "localhost", 0, ["wrong", "well", "well"], "answers 503"),
        (True, True, "hooks.example", 0, ["well", "well", "wrong"], "base_url says hooks.example"),
        (True, True, "localhost", 380, ["well", "warning", "well"], "in 17 days"),
        (True, True, "localhost", 400, ["well", "wrong", "well"], "every sender refuses us"),
    ],
)
def test_a_listener_behind_a_proxy(
    shown: x509.Certificate,
    up: bool,
    taken: bool,
    host: str,
    after_days: int,
    levels: list[str],
    word: str,
) -> None:
    seen = proxied.Proxied("ingress", SOCKET, f"https://{host}", up, taken, shown)
    found = proxied.judge(seen, NOW + timedelta(days=after_days))
    assert [one.level for one in found] == levels
    assert any(word in f"{one.seen} {one.then}" for one in found), found


def test_a_proxy_that_does_not_answer() -> None:
    seen = proxied.Proxied("admin", SOCKET, "https://localhost:8443", True, True, None)
    (_, silent) = proxied.judge(seen, NOW)
    assert silent.level == "wrong"
    assert "nobody answers TLS" in silent.seen
