"""The bridge from an adapter's request to the HSM's signer: the port RequestSigner over its client.

The signer process reads the sealed credential, checks by its policy that this kind of request may
be signed with it, and answers with the signature. Neither side of this bridge ever sees a secret.
"""

from __future__ import annotations

from typing import Protocol

from opentelemetry.trace import SpanKind

from fanout.ports import BrokerAccount
from fanout.trace import inside
from tenancy.errors import Invalid
from tenancy.values import AccountID, TenantID


class SigningClient(Protocol):
    """What the bridge needs of `hsm.client.SignerClient`."""

    async def sign_request(
        self,
        sealed: bytes,
        *,
        tenant_id: TenantID,
        account_id: AccountID,
        scheme: str,
        method: str,
        path: str,
        query: str,
        body: bytes,
        timestamp: int,
    ) -> str: ...


class NoCredential(Invalid):
    """The account has no sealed credential: enrol one before it can trade."""

    code = "no_credential"


class HsmRequestSigner:
    """RequestSigner by way of the signer process."""

    def __init__(self, client: SigningClient) -> None:
        self._client = client

    async def sign_request(
        self,
        account: BrokerAccount,
        *,
        scheme: str,
        method: str,
        path: str,
        query: str,
        body: bytes,
        timestamp: int,
    ) -> str:
        """Raises NoCredential, and whatever the client raises (Unavailable, SigningRefused)."""
        if account.credential is None:
            raise NoCredential(f"account {account.account_id} has no credential")
        with inside("hsm.sign", {"scheme": scheme}, kind=SpanKind.CLIENT):
            return await self._client.sign_request(
                account.credential,
                tenant_id=account.tenant_id,
                account_id=account.account_id,
                scheme=scheme,
                method=method,
                path=path,
                query=query,
                body=body,
                timestamp=timestamp,
            )
