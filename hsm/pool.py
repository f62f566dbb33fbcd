"""One session of the sign token, for one thread: keys by handle, bounded, behind a canary.

Handles start again after a library is re-initialised or a token re-inserted: tenant A's stale
handle then signs with tenant B's key. Therefore every session key is used through `Keys`, which

1. makes a first session key of its own, the canary, from random bytes that no other epoch has;
2. lets no answer out before the canary, used *after* the work, has sung rightly;
3. otherwise gives up for good (TokenLost): the process ends, and the next one starts from
   nothing. No handle outlives the epoch in which it was made.

A key that a ceremony has destroyed meanwhile ends here too: before a session key is used whose KEK
was not seen for WRAPPER_SEEN_S, the KEK is looked at by its handle; where it is gone, every session
key that came from it is dropped and the answer is KeyMissing. (PKCS#11 keeps an unwrapped key alive
without its wrapper: off-boarding would otherwise end with the daemon's next restart only.)

Each thread has its own `Keys`, and a sealed row always goes to the same thread, so nothing here
is locked and nothing is evicted under another thread's hands. Only when a KEK was last seen, they
know in common.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import (
    EncryptedDataInvalid,
    EncryptedDataLenRange,
    GeneralError,
    KeyHandleInvalid,
    ObjectHandleInvalid,
    PKCS11Error,
    SignatureInvalid,
    SignatureLenRange,
    WrappedKeyInvalid,
    WrappedKeyLenRange,
)

from hsm import p256
from hsm.envelope import Sealed, SealedKey, SealedSecret, unpack
from hsm.errors import KeyMissing, SealBroken, TokenLost
from hsm.mac import Mac, handle_of
from hsm.templates import (
    LOG_PREFIX,
    OPENED_SECRET,
    SIGNING_KEY,
    Role,
    Template,
    is_p256,
    key_label,
)
from hsm.token import Anchor

_CANARY_TEXT = b"still the same keys"

_BAD_BLOB = (
    WrappedKeyInvalid, WrappedKeyLenRange, EncryptedDataInvalid, EncryptedDataLenRange,
    GeneralError,
)  # fmt: skip
_GONE = (ObjectHandleInvalid, KeyHandleInvalid)
WRAPPER_SEEN_S = 2.0
"""No session key is used for longer than this after its KEK was destroyed."""
_NEVER = float("-inf")
_BAD_MAC = (SignatureInvalid, SignatureLenRange)


class SessionKey:
    """An unwrapped key in its session, and whose it is."""

    __slots__ = ("_handle", "_key", "_mac", "owner", "sealed", "wrapper")

    def __init__(
        self, key: pkcs11.SecretKey, sealed: SealedKey, account_id: UUID, mac: Mac
    ) -> None:
        self._key = key
        self._handle = handle_of(key)
        self._mac = mac
        self.sealed = sealed
        self.wrapper = key_label("kek", sealed.tenant_id, sealed.kek_version)
        self.owner = (sealed.tenant_id.int, account_id.int)

    def __repr__(self) -> str:
        return f"<SessionKey of {self.sealed.subject}>"

    def hmac_sha512(self, text: bytes) -> bytes:
        return self._mac.sign(self._handle, text)

    def destroy(self) -> None:
        self._key.destroy()


class Keys:
    """The sign token as one thread uses it."""

    def __init__(
        self, anchor: Anchor, *, keys_max: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`now` counts seconds; only differences matter."""
        self._session = anchor.open_session()
        self._profile = anchor.profile
        value = secrets.token_bytes(64)
        self._mac = Mac(anchor.module, handle_of(self._session))
        self._song = hmac.digest(value, _CANARY_TEXT, "sha512")
        self._canary = self._session.create_object(
            {**anchor.profile.fit(SIGNING_KEY), Attribute.VALUE: value}
        )
        self._keys_max = keys_max
        self._live: OrderedDict[bytes, SessionKey] = OrderedDict()
        self._token_keys: dict[str, pkcs11.Key] = {}
        self._origins: dict[str, str] = {}
        self._now = now
        self._seen = anchor.wrappers_seen
        self.hits = self.misses = 0
        self.check_canary()

    def __len__(self) -> int:
        return len(self._live)

    def check_canary(self) -> None:
        """Raise TokenLost unless our handles still mean our keys."""
        try:
            song = self._mac.sign(handle_of(self._canary), _CANARY_TEXT)
        except PKCS11Error as error:
            raise TokenLost(f"the canary is silent: {type(error).__name__}") from None
        if song != self._song:
            raise TokenLost("the canary sang with another key: handles have changed")

    def cached(self, name: bytes) -> SessionKey | None:
        """The key, if it is held. Raises KeyMissing where its KEK is gone, TokenLost."""
        key = self._live.get(name)
        if key is None:
            self.misses += 1
            return None
        if self._now() - self._seen.get(key.wrapper, _NEVER) >= WRAPPER_SEEN_S:
            self._look_for_wrapper(key)
        self.hits += 1
        self._live.move_to_end(name)
        return key

    def held(self, name: bytes) -> SessionKey | None:
        """As cached(), and nothing is counted or moved by it."""
        return self._live.get(name)

    def prove(self, data: bytes) -> UUID:
        """Whose row it is, by its MAC alone; nothing is opened. Raises SealBroken, KeyMissing."""
        sealed = unpack(data)
        self._verify_row(sealed)
        return sealed.tenant_id

    def load(self, name: bytes, data: bytes) -> SessionKey:
        """Verify the row's MAC, unwrap its key, keep it. Raises SealBroken, KeyMissing, TokenLost."""
        sealed = unpack(data)
        if not isinstance(sealed, SealedKey):
            raise SealBroken("the sealed row is not a signing key")
        try:
            account_id = UUID(sealed.subject)
        except ValueError:
            raise SealBroken("the sealed row's subject is no account") from None
        unwrapped = self._unwrap(sealed, "kek", SIGNING_KEY)
        key = SessionKey(unwrapped, sealed, account_id, self._mac)
        self._live[name] = key
        self._seen[key.wrapper] = self._now()
        while len(self._live) > self._keys_max:
            _, oldest = self._live.popitem(last=False)
            oldest.destroy()
        return key

    def open_secret(self, data: bytes) -> tuple[SealedSecret, bytes]:
        """The row, verified, and its framed plain text. Raises as load()."""
        sealed = unpack(data)
        if not isinstance(sealed, SealedSecret):
            raise SealBroken("the sealed row is a signing key: it never comes out")
        key = self._unwrap(sealed, "open", OPENED_SECRET)
        try:
            return sealed, bytes(key[Attribute.VALUE])
        finally:
            key.destroy()

    def log_sign(self, label: str, text: bytes) -> bytes:
        """Ed25519 over `text`, 64 bytes; of a second pair ECDSA over its SHA-256, DER. Raises KeyMissing."""
        key = self._token_key(LOG_PREFIX + label, ObjectClass.PRIVATE_KEY)
        second = is_p256(label)
        mechanism = Mechanism.ECDSA if second else Mechanism.EDDSA
        data = p256.digest(text) if second else text
        try:
            signature: bytes = key.sign(data, mechanism=mechanism)  # type: ignore[attr-defined]
        except _GONE:
            self._origins.pop(label, None)
            raise self._gone(LOG_PREFIX + label) from None
        return p256.der(signature) if second else signature

    def log_origin(self, label: str) -> str:
        """The origin that the log key was made for. Raises KeyMissing."""
        if label not in self._origins:
            key = self._token_key(LOG_PREFIX + label, ObjectClass.PRIVATE_KEY)
            self._origins[label] = bytes(key[Attribute.ID]).decode()
        return self._origins[label]

    def log_public_key(self, label: str) -> bytes:
        """32 bytes; of a second pair its SubjectPublicKeyInfo. Raises KeyMissing."""
        key = self._token_key(LOG_PREFIX + label, ObjectClass.PUBLIC_KEY)
        point = bytes(key[Attribute.EC_POINT])
        return p256.spki(point) if is_p256(label) else point[-32:]  # behind its DER header 04 20

    def _unwrap(self, sealed: Sealed, role: Role, template: Template) -> pkcs11.SecretKey:
        self._verify_row(sealed)
        wrapper = self._tenant_key(role, sealed.tenant_id, sealed.kek_version)
        try:
            return wrapper.unwrap_key(  # type: ignore[attr-defined]
                ObjectClass.SECRET_KEY, KeyType.GENERIC_SECRET, sealed.wrapped,
                mechanism=self._profile.kwp, capabilities=0, template=self._profile.fit(template),
            )  # fmt: skip
        except _GONE:
            raise self._gone(key_label(role, sealed.tenant_id, sealed.kek_version)) from None
        except _BAD_BLOB as error:
            # SoftHSM says GeneralError for a bad blob and for a dead token: the canary knows.
            self.check_canary()
            raise SealBroken(f"the key does not unwrap: {type(error).__name__}") from None

    def _verify_row(self, sealed: Sealed) -> None:
        mac = self._tenant_key("mac", sealed.tenant_id, sealed.kek_version)
        try:
            whole = mac.verify(  # type: ignore[attr-defined]
                sealed.under_mac(), sealed.mac, mechanism=Mechanism.SHA256_HMAC
            )
        except _GONE:
            label = key_label("mac", sealed.tenant_id, sealed.kek_version)
            raise self._gone(label) from None
        except _BAD_MAC:
            whole = False
        if not whole:
            raise SealBroken("the row's MAC is wrong: it was altered, or is another tenant's")

    def _look_for_wrapper(self, held: SessionKey) -> None:
        """Raise KeyMissing, and drop what came from it, if the KEK of this key is not there any more."""
        label, now = held.wrapper, self._now()
        wrapper = self._token_key(label, ObjectClass.SECRET_KEY)
        try:
            there = str(wrapper[Attribute.LABEL]) == label
        except _GONE:
            there = False
        if not there:
            raise self._gone(label)
        self._seen[label] = now

    def _gone(self, label: str) -> KeyMissing:
        """Forget a destroyed key's handles, and every session key of its tenant and version."""
        self.check_canary()
        for kind in ObjectClass:
            self._token_keys.pop(f"{kind.name}:{label}", None)
        wrapper = "kek" + label[label.index("/") :]
        self._seen.pop(wrapper, None)
        for name, key in list(self._live.items()):
            if key.wrapper == wrapper:
                self._live.pop(name).destroy()
        return KeyMissing(f"key {label!r} is not in the sign token any more")

    def _tenant_key(self, role: Role, tenant_id: UUID, version: int) -> pkcs11.Key:
        return self._token_key(key_label(role, tenant_id, version), ObjectClass.SECRET_KEY)

    def _token_key(self, label: str, kind: ObjectClass) -> pkcs11.Key:
        """Searching is linear in the token, so a found key is kept; a missing one is sought anew."""
        name = f"{kind.name}:{label}"
        key = self._token_keys.get(name)
        if key is None:
            wanted = {
                Attribute.CLASS: kind, Attribute.LABEL: label, Attribute.TOKEN: True,
            }  # fmt: skip
            found = list(self._session.get_objects(wanted))
            if len(found) != 1:
                raise KeyMissing(f"{len(found)} keys {label!r} in the sign token, one is needed")
            key = self._token_keys[name] = found[0]  # type: ignore[assignment]
        return key  # type: ignore[return-value]
