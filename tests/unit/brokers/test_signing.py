"""The bridge to the signer passes the request on unchanged, and nothing without a credential."""

from __future__ import annotations

from typing import Any

import pytest

from fanout.brokers.signing import HsmRequestSigner, NoCredential
from tests.fakes.orders import an_account


class RecordingClient:
    def __init__(self) -> None:
        self.calls: list[tuple[bytes, dict[str, Any]]] = []

    async def sign_request(self, sealed: bytes, **described: Any) -> str:
        self.calls.append((sealed, described))
        return "ab" * 64


REQUEST: dict[str, Any] = {
    "scheme": "gateio",
    "method": "POST",
    "path": "/api/v4/futures/usdt/orders",
    "query": "",
    "body": b"{}",
    "timestamp": 1541993715,
}


async def test_the_signer_gets_the_sealed_key_its_owner_and_the_request() -> None:
    account, client = an_account(), RecordingClient()
    assert await HsmRequestSigner(client).sign_request(account, **REQUEST) == "ab" * 64
    owner = {"tenant_id": account.tenant_id, "account_id": account.account_id}
    assert client.calls == [(b"sealed", owner | REQUEST)]


async def test_an_account_without_credential_signs_nothing() -> None:
    client = RecordingClient()
    with pytest.raises(NoCredential):
        await HsmRequestSigner(client).sign_request(an_account(credential=None), **REQUEST)
    assert not client.calls
