"""A signer in this process: the same signatures as the HSM's, from secrets that are no secrets."""

from __future__ import annotations

import hashlib
import hmac

from fanout.ports import BrokerAccount
from tenancy.errors import PortcullisError, Unavailable
from tenancy.values import AccountID


class SigningRefused(PortcullisError):
    """The policy does not allow this signature."""

    code = "signing_refused"


class InProcessSigner:
    """RequestSigner for the schemes "gateio" and "gateio_ws". Built from the specification alone."""

    def __init__(self, secrets: dict[AccountID, bytes], default: bytes | None = None) -> None:
        self.secrets = secrets
        self.default = default
        self.failure: Exception | None = None
        self.signed = 0

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
        if self.failure is not None:
            raise self.failure
        if scheme not in ("gateio", "gateio_ws"):
            raise SigningRefused(f"scheme {scheme} is not known")
        secret = self.secrets.get(account.account_id, self.default)
        if secret is None:
            raise Unavailable("no such key")
        self.signed += 1
        if scheme == "gateio_ws":
            said = f"channel={path}&event={method}&time={timestamp}"
            return hmac.new(secret, said.encode(), hashlib.sha512).hexdigest()
        digest = hashlib.sha512(body).hexdigest()
        text = f"{method}\n{path}\n{query}\n{digest}\n{timestamp}"
        return hmac.new(secret, text.encode(), hashlib.sha512).hexdigest()
