"""The signer: alone knows the sign token's PIN; signs what the policy allows, and nothing else.

`python -m hsm.signer --config FILE.toml` (hsm/settings.py). It never takes bytes to sign: a
broker request comes as its parts and the string is built here; a checkpoint is parsed and must
name the origin that its key was made for. The sealed row says whose key it is and for which
broker, under a MAC that the token verifies; the request must say the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from uuid import UUID
from zlib import crc32

from pkcs11.exceptions import PKCS11Error

from hsm import policy, protocol
from hsm.daemon import main
from hsm.enrol import unframed
from hsm.envelope import Sealed, name_of
from hsm.errors import MalformedRequest, SealBroken, SigningRefused, TokenLost, UnknownKey
from hsm.module import Module
from hsm.pins import read_pin
from hsm.pool import Keys, SessionKey
from hsm.settings import DaemonSettings
from hsm.token import Anchor
from tenancy.errors import PortcullisError


class SigningDesk:
    """What may be asked of the signer, decided before the token is touched."""

    name = "signer"

    def __init__(
        self, anchor: Anchor, *, keys_max: int, now: Callable[[], float] = time.time
    ) -> None:
        """`keys_max` is per thread; `now` is the clock that requests are checked against."""
        self._anchor = anchor
        self._keys_max = keys_max
        self._now = now

    def admit(self, request: protocol.Request) -> int:
        """Raises SigningRefused, MalformedRequest. A sealed row always meets the same thread."""
        if isinstance(request, protocol.SignRequest):
            policy.check_request(request, self._now())
            return protocol.row_thread(request)
        if isinstance(request, protocol.OpenSecret):
            return protocol.row_thread(request)
        if isinstance(request, protocol.SignNote):
            policy.checkpoint_origin(request.text)
            return crc32(request.label.encode())
        if isinstance(request, protocol.PublicKey):
            return 0
        raise MalformedRequest("the signer does not enrol: ask the enroller")

    def worker(self) -> SigningWorker:
        return SigningWorker(Keys(self._anchor, keys_max=self._keys_max))


class SigningWorker:
    """One thread at the sign token."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def serve(self, request: protocol.Request) -> bytes:
        if isinstance(request, protocol.SignRequest):
            return self._sign(request)
        if isinstance(request, protocol.SignNote):
            return self._sign_note(request)
        if isinstance(request, protocol.OpenSecret):
            return self._open(request)
        if isinstance(request, protocol.PublicKey):
            return self._keys.log_public_key(request.label)
        raise MalformedRequest("not a request for the signer")

    def proven(self, request: protocol.Request) -> UUID | None:
        """The tenant whose row it showed: it is held here, or its MAC is right."""
        try:
            if isinstance(request, protocol.SignRequest):
                held = self._keys.held(request.name)
                if held is not None:
                    return held.sealed.tenant_id
                if request.sealed is not None and name_of(request.sealed) == request.name:
                    return self._keys.prove(request.sealed)
            elif isinstance(request, protocol.OpenSecret):
                return self._keys.prove(request.sealed)
        except TokenLost:
            raise
        except (PortcullisError, PKCS11Error):
            pass  # not proven; the canary says whether the token is well
        return None

    def settle(self) -> None:
        self._keys.check_canary()

    def figures(self) -> dict[str, int]:
        return {
            "keys": len(self._keys), "key_hits": self._keys.hits, "key_misses": self._keys.misses,
        }  # fmt: skip

    def _sign(self, request: protocol.SignRequest) -> bytes:
        key = self._key(request)
        if key.owner != (request.tenant_id.int, request.account_id.int):
            raise SealBroken("the sealed row belongs to another tenant or account")
        policy.check_purpose(key.sealed.purpose, request.scheme)
        policy.check_market(key.sealed.purpose, request.path)
        return key.hmac_sha512(policy.text_to_sign(request))

    def _key(self, request: protocol.SignRequest) -> SessionKey:
        key = self._keys.cached(request.name)
        if key is not None:
            return key
        if request.sealed is None:
            raise UnknownKey("the key is not held now: send its sealed row")
        if name_of(request.sealed) != request.name:
            raise MalformedRequest("the sealed row does not have that name")
        return self._keys.load(request.name, request.sealed)

    def _sign_note(self, request: protocol.SignNote) -> bytes:
        origin = policy.checkpoint_origin(request.text)
        if self._keys.log_origin(request.label) != origin:
            raise SigningRefused(f"log key {request.label!r} was not made for origin {origin!r}")
        return self._keys.log_sign(request.label, request.text)

    def _open(self, request: protocol.OpenSecret) -> bytes:
        sealed, plain = self._keys.open_secret(request.sealed)
        check_owner(sealed, request.tenant_id, request.subject)
        policy.check_opening(sealed.purpose)
        return unframed(plain)


def check_owner(sealed: Sealed, tenant_id: UUID, subject: str) -> None:
    """Raise SealBroken unless the row is that tenant's and that subject's."""
    if sealed.tenant_id != tenant_id or sealed.subject != subject:
        raise SealBroken("the sealed row belongs to another tenant or account")


def open_desk(settings: DaemonSettings) -> SigningDesk:
    """Load the library and log in, once. Raises ConfigurationError, KeyMissing, PinRefused."""
    module = Module.load(settings.module, settings.softhsm_conf, settings.profile)
    anchor = Anchor(module, settings.token_label, read_pin(settings.pin_file))
    return SigningDesk(anchor, keys_max=settings.keys_max // settings.worker_threads)


if __name__ == "__main__":
    sys.exit(main("signer", open_desk))
