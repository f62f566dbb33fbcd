"""Behind a proxy a request looks as it does without one, and one that nobody vouches for is not served."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.admin.client_certificates import client_certificate_sha256
from gateway.proxied import Proxied, Untold, told

OTHERS = [(b"host", b"hooks.example"), (b"webhook-id", b"msg_1")]


def scope(*said: tuple[bytes, bytes]) -> dict[str, Any]:
    return {
        "type": "http", "path": "/v1/hooks/x", "client": None, "scheme": "http",
        "headers": [*OTHERS, *said],
    }  # fmt: skip


@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8::9"])
def test_the_address_is_the_one_that_the_proxy_says(address: str) -> None:
    seen = told(scope((b"x-portcullis-client", address.encode())))
    assert seen["client"] == (address, 0)
    assert seen["scheme"] == "https"
    assert seen["headers"] == OTHERS
    assert client_certificate_sha256(seen) is None


@pytest.mark.parametrize("text", ["ab" * 32, "AB" * 32])
def test_the_certificate_is_where_a_handshake_of_our_own_puts_it(text: str) -> None:
    seen = told(
        scope((b"x-portcullis-client", b"::1"), (b"x-portcullis-certificate", text.encode()))
    )
    assert client_certificate_sha256(seen) == bytes([0xAB]) * 32
    assert seen["headers"] == OTHERS


def test_an_empty_certificate_is_none() -> None:
    seen = told(scope((b"x-portcullis-client", b"::1"), (b"x-portcullis-certificate", b"")))
    assert client_certificate_sha256(seen) is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([], "0 headers x-portcullis-client, 1 is needed"),
        ([(b"x-portcullis-client", b"::1")] * 2, "2 headers x-portcullis-client, 1 is needed"),
        ([(b"x-portcullis-client", b"10.0.0.1, 10.0.0.2")], "an address is needed"),
        ([(b"x-portcullis-client", b"\xff")], "an address is needed"),
        (
            [
                (b"x-portcullis-client", b"::1"),
                (b"x-portcullis-certificate", b"ab" * 32),
                (b"x-portcullis-certificate", b"cd" * 32),
            ],
            "2 headers x-portcullis-certificate",
        ),
        (
            [(b"x-portcullis-client", b"::1"), (b"x-portcullis-certificate", b"abcd")],
            "32 bytes in hex are needed",
        ),
    ],
)
async def test_a_request_that_nobody_vouches_for_reaches_no_application(
    said: list[tuple[bytes, bytes]], why: str
) -> None:
    with pytest.raises(Untold, match=why):
        told(scope(*said))
    sent: list[Any] = []

    async def application(*_: Any) -> None:
        sent.append("reached")

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read of it")

    await Proxied(application)(scope(*said), receive, send)
    assert sent[0]["status"] == 500
    assert "reached" not in sent


async def test_what_is_no_request_passes() -> None:
    seen: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await Proxied(application)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]
