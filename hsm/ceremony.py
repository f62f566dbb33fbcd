"""Make tokens and keys, once each. hsm/check.py looks at them afterwards.

The only code that holds both tokens' PINs at once; run by an operator's command, never by a
daemon. A key that must be in both tokens (a tenant's KEK, open KEK and MAC key) is in clear
nowhere, not even here:

1. generate it in the enrol token as a *session* object, sensitive, extractable;
2. wrap it there under the public half of a transport RSA pair that the sign token made for this
   ceremony only, and whose private half never leaves that token's session;
3. unwrap it into the sign token with its final template: unwrap-only or verify-only;
4. when all three are there, copy each in the enrol token to a stored, no longer extractable
   object with its final template: wrap-only or sign-only; the MAC key last.

Where there are further HSMs (mirrors), each of their sign tokens gets the keys as in 2 and 3, and each
of their enrol tokens too, before the first one: with its own transport pair, and wrap-only or sign-only.
So any of the signers opens what any of the enrollers sealed. Enrolment pairs and log keys are each
token's own: SoftHSM wraps no Ed25519 key (KEY_NOT_WRAPPABLE), so checkpoints wait for the first HSM.

A crash before the MAC key's copy leaves a set that no daemon uses (the enroller seals only under
versions whose MAC key it has): the same command removes the remains and makes a fresh set. After
that copy the set is whole, and making it again is refused.

Running daemons find new keys by themselves: SoftHSM notices another process' objects at the next
search, and the daemons keep no memory of a key that they did not find.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

from hsm import p256, templates
from hsm.errors import CeremonyRefused
from hsm.module import Module
from hsm.ownership import hand_over
from hsm.pins import make_pin, read_pin
from hsm.profile import Profile
from hsm.settings import TokenSettings
from hsm.templates import (
    ENROL_LABEL,
    ENROL_SIDE,
    KEY_TYPES,
    LOG_PREFIX,
    SIGN_SIDE,
    Role,
    Template,
    key_label,
)
from hsm.token import Anchor

NO_DEFAULTS = MechanismFlag(0)
"""The binding fills in usages of its own unless it is told that there are none."""

ROLES: tuple[Role, ...] = ("kek", "open", "mac")
_KEY_BITS: dict[Role, int] = {"kek": 256, "open": 256, "mac": 256}
_GENERATE: dict[Role, Mechanism] = {
    "kek": Mechanism.AES_KEY_GEN,
    "open": Mechanism.AES_KEY_GEN,
    "mac": Mechanism.GENERIC_SECRET_KEY_GEN,
}


def init_tokens(settings: TokenSettings) -> bytes:
    """Make all tokens and the enrol RSA pairs; PIN files of mode 0600 where they are absent.

    Returns the first enrol token's public modulus. Raises CeremonyRefused where a token of either label
    exists: a token is never made over another.
    """
    with library(settings) as module:
        for pair in settings.pairs:
            for label in (pair.enrol_label, pair.sign_label):
                if module.has_token(label):
                    raise CeremonyRefused(f"token {label!r} exists already; nothing was changed")
        for pair in settings.pairs:
            _make_token(module, pair.enrol_label, pair.enrol_so_pin_file, pair.enrol_pin_file)
            _make_token(module, pair.sign_label, pair.sign_so_pin_file, pair.sign_pin_file)
    with tokens(settings) as (enrol, _):
        moduli = [_make_enrol_pair(anchor) for anchor in enrol]
        return moduli[0]


def create_tenant_keys(settings: TokenSettings, tenant_id: UUID, version: int = 1) -> None:
    """Make a tenant's three keys in all tokens (the steps are above).

    Raises CeremonyRefused where that version is whole already.
    """
    with tokens(settings) as (enrol, sign):
        first, *others = (anchor.session for anchor in enrol)
        if find(first, key_label("mac", tenant_id, version)):
            raise CeremonyRefused(f"tenant {tenant_id} has keys of version {version} already")
        signing = [anchor.session for anchor in sign]
        for session in (first, *others, *signing):
            for role in ROLES:
                for remains in find(session, key_label(role, tenant_id, version)):
                    remains.destroy()
        fresh = {role: _generate(first, role) for role in ROLES}
        profile = enrol[0].profile
        ways = [(session, SIGN_SIDE) for session in signing]
        ways += [(session, ENROL_SIDE) for session in others]
        for session, side in ways:
            transport = _Transport(first, session, profile)
            for role, key in fresh.items():
                transport.carry(
                    key, role, key_label(role, tenant_id, version), tenant_id, side[role]
                )
            transport.close()
        for role, key in fresh.items():
            _keep(key, role, tenant_id, version)


def create_log_key(settings: TokenSettings, label: str, origin: str | None = None) -> bytes:
    """Make an Ed25519 pair in the sign token for the log `origin` (the label, if not given).

    Returns the 32-byte public key. The key signs checkpoints of that origin only. Raises
    CeremonyRefused where the label is taken.
    """
    with library(settings) as module:
        anchor = Anchor(module, settings.sign_label, read_pin(settings.sign_pin_file))
        name = LOG_PREFIX + label
        if find(anchor.session, name):
            raise CeremonyRefused(f"a log key {label!r} exists already")
        public, _ = anchor.session.generate_keypair(
            KeyType.EC_EDWARDS, label=name, id=(origin or label).encode(), store=True,
            mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN, capabilities=NO_DEFAULTS,
            public_template=module.profile.fit(templates.LOG_PUBLIC),
            private_template=module.profile.fit(templates.LOG_PRIVATE),
        )  # fmt: skip
        return bytes(public[Attribute.EC_POINT])[-32:]


def create_log_p256_key(settings: TokenSettings, label: str, origin: str | None = None) -> bytes:
    """Make the second pair beside create_log_key()'s of the same label: ECDSA on the curve P-256.

    Returns its SubjectPublicKeyInfo, DER, 91 bytes. Raises CeremonyRefused where the label is taken.
    """
    with library(settings) as module:
        anchor = Anchor(module, settings.sign_label, read_pin(settings.sign_pin_file))
        name = LOG_PREFIX + templates.p256_label(label)
        if find(anchor.session, name):
            raise CeremonyRefused(f"a second log key {label!r} exists already")
        public, _ = anchor.session.generate_keypair(
            KeyType.EC, label=name, id=(origin or label).encode(), store=True,
            mechanism=Mechanism.EC_KEY_PAIR_GEN, capabilities=NO_DEFAULTS,
            public_template=module.profile.fit(templates.LOG_P256_PUBLIC),
            private_template=module.profile.fit(templates.LOG_PRIVATE),
        )  # fmt: skip
        return p256.spki(bytes(public[Attribute.EC_POINT]))


_one_at_a_time = threading.Lock()


@contextmanager
def library(settings: TokenSettings) -> Iterator[Module]:
    """The library for one ceremony; every handle and login ends with it, and what it made is each token's."""
    with _one_at_a_time:
        module = Module.load(settings.module, settings.softhsm_conf, settings.profile)
        try:
            yield module
        finally:
            module.finalize()
            hand_over(settings.softhsm_conf)


@contextmanager
def tokens(settings: TokenSettings) -> Iterator[tuple[list[Anchor], list[Anchor]]]:
    """Enrol tokens and sign tokens of all HSMs, logged in for one ceremony; the first HSM's first.

    Raises PinRefused, KeyMissing where there is no such token.
    """
    with library(settings) as module:
        yield (
            [Anchor(module, p.enrol_label, read_pin(p.enrol_pin_file)) for p in settings.pairs],
            [Anchor(module, p.sign_label, read_pin(p.sign_pin_file)) for p in settings.pairs],
        )


def _make_token(module: Module, label: str, so_pin_source: Path, pin_source: Path) -> None:
    so_pin = make_pin(so_pin_source)
    token = module.init_token(label, so_pin)
    session = token.open(rw=True, so_pin=so_pin)
    session.init_pin(make_pin(pin_source))
    session.close()


def _make_enrol_pair(anchor: Anchor) -> bytes:
    """Returns the modulus."""
    public, _ = anchor.session.generate_keypair(
        KeyType.RSA, templates.RSA_BITS, label=ENROL_LABEL, store=True, capabilities=NO_DEFAULTS,
        public_template=anchor.profile.fit(templates.ENROL_PUBLIC),
        private_template=anchor.profile.fit(templates.ENROL_PRIVATE),
    )  # fmt: skip
    return bytes(public[Attribute.MODULUS])


def find(session: pkcs11.Session, label: str) -> list[Any]:
    """Stored objects of that label."""
    return list(session.get_objects({Attribute.LABEL: label, Attribute.TOKEN: True}))


def _generate(session: pkcs11.Session, role: Role) -> pkcs11.SecretKey:
    """Step 1. Usage is final already; only 'extractable' and 'stored' change later."""
    uses = {use: value for use, value in ENROL_SIDE[role].items() if use in templates.USES}
    return session.generate_key(
        KEY_TYPES[role], _KEY_BITS[role], mechanism=_GENERATE[role], capabilities=NO_DEFAULTS,
        template={**uses, Attribute.PRIVATE: True, Attribute.SENSITIVE: True,
                  Attribute.EXTRACTABLE: True},
    )  # fmt: skip


def _keep(key: pkcs11.SecretKey, role: Role, tenant_id: UUID, version: int) -> None:
    """Step 4. CKA_MODIFIABLE goes last, see hsm/templates.py."""
    key.copy(
        {
            Attribute.TOKEN: True,
            Attribute.EXTRACTABLE: False,
            Attribute.ID: tenant_id.bytes,
            Attribute.LABEL: key_label(role, tenant_id, version),
            Attribute.MODIFIABLE: False,
        }
    )
    key.destroy()


class _Transport:
    """Steps 2 and 3: a one-way from the enrol token to another token, for one ceremony."""

    def __init__(self, enrol: pkcs11.Session, target: pkcs11.Session, profile: Profile) -> None:
        self._profile = profile
        self._public, self._private = target.generate_keypair(
            KeyType.RSA, templates.TRANSPORT_BITS, capabilities=NO_DEFAULTS,
            private_template={
                **templates.HIDDEN, Attribute.UNWRAP: True, Attribute.DECRYPT: False,
            },
        )  # fmt: skip
        self._wrapper = enrol.create_object(
            {
                Attribute.CLASS: ObjectClass.PUBLIC_KEY,
                Attribute.KEY_TYPE: KeyType.RSA,
                Attribute.MODULUS: self._public[Attribute.MODULUS],
                Attribute.PUBLIC_EXPONENT: self._public[Attribute.PUBLIC_EXPONENT],
                Attribute.TOKEN: False,
                Attribute.WRAP: True,
                Attribute.ENCRYPT: False,
                Attribute.VERIFY: False,
            }
        )

    def carry(
        self, key: pkcs11.SecretKey, role: Role, label: str, tenant_id: UUID, template: Template
    ) -> None:
        """Store the key there, with its final template."""
        blob = self._wrapper.wrap_key(  # type: ignore[attr-defined]
            key, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=self._profile.oaep
        )
        self._private.unwrap_key(  # type: ignore[attr-defined]
            ObjectClass.SECRET_KEY, KEY_TYPES[role], blob,
            mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=self._profile.oaep,
            id=tenant_id.bytes, label=label, store=True, capabilities=NO_DEFAULTS,
            template=self._profile.fit(template),
        )  # fmt: skip

    def close(self) -> None:
        for key in (self._wrapper, self._public, self._private):
            key.destroy()
