"""The enroller: alone knows the enrol token's PIN; turns a client's envelope into a sealed row.

`python -m hsm.enroller --config FILE.toml` (hsm/settings.py). The client encrypted a secret to
the RSA key of this token. Inside the token the secret is unwrapped, wrapped again under the
tenant's key, and the row gets its MAC; the plain secret is in no process of ours. This token
cannot open what it sealed, and cannot sign for a broker.

There may be several enrolment pairs: the newest public half is given out, and what was encrypted to
an older one opens as long as that pair is there (hsm/rotation.py).

What an attacker with this daemon's PIN *and* fresh ciphertexts could do is open those very
ciphertexts, by wrapping under a key of his own. CKA_WRAP_WITH_TRUSTED closes that on hardware;
SoftHSM keeps trusted keys in clear on disk, so it would open more than it closes here. Hence:
ciphertexts are not kept.
"""

from __future__ import annotations

import sys
from uuid import UUID

import pkcs11
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import (
    EncryptedDataInvalid,
    EncryptedDataLenRange,
    GeneralError,
    PKCS11Error,
    WrappedKeyInvalid,
    WrappedKeyLenRange,
)

from hsm import protocol
from hsm.daemon import main
from hsm.enrol import KEY_BYTES, MAX_SECRET_BYTES
from hsm.envelope import SealedKey, SealedSecret, pack
from hsm.errors import KeyMissing, MalformedRequest, TokenLost
from hsm.module import Module
from hsm.pins import read_pin
from hsm.settings import DaemonSettings
from hsm.templates import ENROLLED_SECRET, Role, enrol_label, key_label
from hsm.token import Anchor, enrol_versions

_BAD_CIPHERTEXT = (
    EncryptedDataInvalid, EncryptedDataLenRange, WrappedKeyInvalid, WrappedKeyLenRange,
    GeneralError,
)  # fmt: skip
_UNSEALED = b""


class EnrolDesk:
    """What may be asked of the enroller."""

    name = "enroller"

    def __init__(self, anchor: Anchor) -> None:
        self._anchor = anchor

    def admit(self, request: protocol.Request) -> int:
        if isinstance(request, (protocol.EnrolKey, protocol.SealKey, protocol.SealSecret)):
            return 0
        raise MalformedRequest("the enroller does not sign: ask the signer")

    def worker(self) -> EnrolWorker:
        return EnrolWorker(self._anchor)


class EnrolWorker:
    """One thread at the enrol token. Enrolment is rare: keys are sought each time."""

    def __init__(self, anchor: Anchor) -> None:
        self._session = anchor.open_session()
        self._profile = anchor.profile
        self._sealed = 0

    def serve(self, request: protocol.Request) -> bytes:
        if isinstance(request, protocol.EnrolKey):
            return self._public_key_pem()
        if isinstance(request, protocol.SealKey):
            return self._seal_key(request)
        if isinstance(request, protocol.SealSecret):
            return self._seal_secret(request)
        raise MalformedRequest("not a request for the enroller")

    def proven(self, request: protocol.Request) -> UUID | None:
        """Nobody shows a row here."""
        return None

    def settle(self) -> None:
        """No canary: each answer used handles found by label for it alone, so none can be stale."""
        self._check_alive()

    def figures(self) -> dict[str, int]:
        return {"sealed": self._sealed}

    def _public_key_pem(self) -> bytes:
        label = enrol_label(self._enrol_versions()[0])
        key = self._one({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: label})
        numbers = RSAPublicNumbers(
            int.from_bytes(key[Attribute.PUBLIC_EXPONENT], "big"),
            int.from_bytes(key[Attribute.MODULUS], "big"),
        )
        return numbers.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def _seal_key(self, request: protocol.SealKey) -> bytes:
        version, wrapped = self._rewrap(request.tenant_id, "kek", request.ciphertext, KEY_BYTES)
        row = SealedKey(
            request.tenant_id, str(request.account_id), request.broker, version, wrapped, _UNSEALED
        )
        return self._with_mac(row)

    def _seal_secret(self, request: protocol.SealSecret) -> bytes:
        lengths = tuple(range(8, MAX_SECRET_BYTES + 9, 8))
        version, wrapped = self._rewrap(request.tenant_id, "open", request.ciphertext, lengths)
        row = SealedSecret(
            request.tenant_id, request.subject, request.purpose, version, wrapped, _UNSEALED
        )
        return self._with_mac(row)

    def _rewrap(
        self, tenant_id: UUID, role: Role, ciphertext: bytes, lengths: tuple[int, ...]
    ) -> tuple[int, bytes]:
        """From under the RSA key to under the tenant's, inside the token."""
        version = self._newest(tenant_id)
        kek = self._tenant_key(role, tenant_id, version)
        secret = self._unwrap(ciphertext)
        try:
            wrapped = bytes(kek.wrap_key(secret, mechanism=self._profile.kwp))  # type: ignore[attr-defined]
        finally:
            secret.destroy()
        # SoftHSM tells no CKA_VALUE_LEN of an unwrapped key; KWP adds eight bytes to its length.
        if len(wrapped) - 8 not in lengths:
            raise MalformedRequest("the secret is not padded as hsm/enrol.py pads it")
        return version, wrapped

    def _unwrap(self, ciphertext: bytes) -> pkcs11.SecretKey:
        """With whichever pair opens it, the newest first: OAEP opens under no other one."""
        why = ""
        for version in self._enrol_versions():
            wanted = {
                Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: enrol_label(version),
            }  # fmt: skip
            try:
                return self._one(wanted).unwrap_key(  # type: ignore[attr-defined]
                    ObjectClass.SECRET_KEY, KeyType.GENERIC_SECRET, ciphertext,
                    mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=self._profile.oaep,
                    capabilities=0, template=self._profile.fit(ENROLLED_SECRET),
                )  # fmt: skip
            except _BAD_CIPHERTEXT as error:
                self._check_alive()
                why = type(error).__name__
        raise MalformedRequest(f"the ciphertext does not open ({why}): encrypt to this key")

    def _enrol_versions(self) -> list[int]:
        """Newest first."""
        versions = enrol_versions(self._session)
        if not versions:
            raise KeyMissing("the enrol token has no enrolment key: `portcullis hsm init` makes it")
        return versions[::-1]

    def _with_mac(self, row: SealedKey | SealedSecret) -> bytes:
        mac = self._tenant_key("mac", row.tenant_id, row.kek_version)
        value = mac.sign(row.under_mac(), mechanism=Mechanism.SHA256_HMAC)  # type: ignore[attr-defined]
        self._sealed += 1
        return pack(
            type(row)(
                row.tenant_id, row.subject, row.purpose, row.kek_version, row.wrapped, bytes(value)
            )
        )

    def _newest(self, tenant_id: UUID) -> int:
        """The highest version whose MAC key is here: the ceremony puts that one in last."""
        prefix = key_label("mac", tenant_id, 0)[:-1]
        wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.ID: tenant_id.bytes}
        labels = [str(key[Attribute.LABEL]) for key in self._session.get_objects(wanted)]
        versions = [int(label[len(prefix) :]) for label in labels if label.startswith(prefix)]
        if not versions:
            raise KeyMissing(f"tenant {tenant_id} has no keys: `portcullis hsm tenant` makes them")
        return max(versions)

    def _tenant_key(self, role: Role, tenant_id: UUID, version: int) -> pkcs11.Key:
        return self._one(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.LABEL: key_label(role, tenant_id, version),
            }
        )

    def _one(self, wanted: dict[Attribute, object]) -> pkcs11.Key:
        found = list(self._session.get_objects({**wanted, Attribute.TOKEN: True}))
        if len(found) != 1:
            label = wanted[Attribute.LABEL]
            raise KeyMissing(f"{len(found)} keys {label!r} in the enrol token, one is needed")
        return found[0]  # type: ignore[return-value]

    def _check_alive(self) -> None:
        """SoftHSM says GeneralError for bad input and for a dead token alike: ask for something else."""
        try:
            self._session.generate_random(64)
        except PKCS11Error as error:
            raise TokenLost(f"the enrol token is gone: {type(error).__name__}") from None


def open_desk(settings: DaemonSettings) -> EnrolDesk:
    """Load the library and log in, once. Raises ConfigurationError, KeyMissing, PinRefused."""
    module = Module.load(settings.module, settings.softhsm_conf, settings.profile)
    return EnrolDesk(Anchor(module, settings.token_label, read_pin(settings.pin_file)))


if __name__ == "__main__":
    sys.exit(main("enroller", open_desk))
