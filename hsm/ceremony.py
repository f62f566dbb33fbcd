"""Make tokens and keys, once each, and look at them afterwards.

The only code that holds both tokens' PINs at once; run by an operator's command, never by a
daemon. A key that must be in both tokens (a tenant's KEK, open KEK and MAC key) is in clear
nowhere, not even here:

1. generate it in the enrol token as a *session* object, sensitive, extractable;
2. wrap it there under the public half of a transport RSA pair that the sign token made for this
   ceremony only, and whose private half never leaves that token's session;
3. unwrap it into the sign token with its final template: unwrap-only or verify-only;
4. when all three are there, copy each in the enrol token to a stored, no longer extractable
   object with its final template: wrap-only or sign-only; the MAC key last.

A crash before the MAC key's copy leaves a set that no daemon uses (the enroller seals only under
versions whose MAC key it has): the same command removes the remains and makes a fresh set. After
that copy the set is whole, and making it again is refused.

Running daemons find new keys by themselves: SoftHSM notices another process' objects at the next
search, and the daemons keep no memory of a key that they did not find.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

from hsm import templates
from hsm.errors import CeremonyRefused
from hsm.module import Module
from hsm.settings import TokenSettings
from hsm.templates import (
    ENROL_LABEL,
    ENROL_SIDE,
    KEY_TYPES,
    LOG_PREFIX,
    OAEP,
    SIGN_SIDE,
    Role,
    Template,
    key_label,
)
from hsm.token import Anchor, read_pin

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
    """Make both tokens and the enrol RSA pair; PIN files of mode 0600 where they are absent.

    Returns the enrol public modulus. Raises CeremonyRefused where a token of either label
    exists: a token is never made over another.
    """
    with _library(settings) as module:
        for label in (settings.enrol_label, settings.sign_label):
            if module.has_token(label):
                raise CeremonyRefused(f"token {label!r} exists already; nothing was changed")
        enrol_pin = make_pin(settings.enrol_pin_file)
        _make_token(module, settings.enrol_label, make_pin(settings.enrol_so_pin_file), enrol_pin)
        _make_token(
            module, settings.sign_label,
            make_pin(settings.sign_so_pin_file), make_pin(settings.sign_pin_file),
        )  # fmt: skip
    with _library(settings) as module:
        anchor = Anchor(module, settings.enrol_label, enrol_pin)
        public, _ = anchor.session.generate_keypair(
            KeyType.RSA, templates.RSA_BITS, label=ENROL_LABEL, store=True, capabilities=NO_DEFAULTS,
            public_template=templates.ENROL_PUBLIC, private_template=templates.ENROL_PRIVATE,
        )  # fmt: skip
        return bytes(public[Attribute.MODULUS])


def create_tenant_keys(settings: TokenSettings, tenant_id: UUID, version: int = 1) -> None:
    """Make a tenant's three keys in both tokens (the steps are above).

    Raises CeremonyRefused where that version is whole already.
    """
    with _both(settings) as (enrol, sign):
        if _find(enrol.session, key_label("mac", tenant_id, version)):
            raise CeremonyRefused(f"tenant {tenant_id} has keys of version {version} already")
        for session in (enrol.session, sign.session):
            for role in ROLES:
                for remains in _find(session, key_label(role, tenant_id, version)):
                    remains.destroy()
        fresh = {role: _generate(enrol.session, role) for role in ROLES}
        transport = _Transport(enrol.session, sign.session)
        for role, key in fresh.items():
            transport.carry(role, key, tenant_id, version)
        transport.close()
        for role, key in fresh.items():
            _keep(key, role, tenant_id, version)


def create_log_key(settings: TokenSettings, label: str, origin: str | None = None) -> bytes:
    """Make an Ed25519 pair in the sign token for the log `origin` (the label, if not given).

    Returns the 32-byte public key. The key signs checkpoints of that origin only. Raises
    CeremonyRefused where the label is taken.
    """
    with _library(settings) as module:
        anchor = Anchor(module, settings.sign_label, read_pin(settings.sign_pin_file))
        name = LOG_PREFIX + label
        if _find(anchor.session, name):
            raise CeremonyRefused(f"a log key {label!r} exists already")
        public, _ = anchor.session.generate_keypair(
            KeyType.EC_EDWARDS, label=name, id=(origin or label).encode(), store=True,
            mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN, capabilities=NO_DEFAULTS,
            public_template=templates.LOG_PUBLIC, private_template=templates.LOG_PRIVATE,
        )  # fmt: skip
        return bytes(public[Attribute.EC_POINT])[-32:]


class Finding(NamedTuple):
    """One attribute that is weaker than its template, or an object that nobody drew."""

    token: str
    label: str
    what: str


def check(settings: TokenSettings) -> list[Finding]:
    """Read every attribute of every object again. Empty is good; each finding names one."""
    with _both(settings) as (enrol, sign):
        return [*_check_token(enrol, _enrol_template), *_check_token(sign, _sign_template)]


def make_pin(path: Path) -> str:
    """The PIN in the file, which is made (0600, 128 random bits) where there is none."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_pin(path)
    pin = secrets.token_hex(16)
    with os.fdopen(descriptor, "w") as file:
        file.write(pin + "\n")
        file.flush()
        os.fsync(file.fileno())
    return pin


_one_at_a_time = threading.Lock()


@contextmanager
def _library(settings: TokenSettings) -> Iterator[Module]:
    """The library for one ceremony; every handle and login ends with it."""
    with _one_at_a_time:
        module = Module.load(settings.module, settings.softhsm_conf)
        try:
            yield module
        finally:
            module.finalize()


@contextmanager
def _both(settings: TokenSettings) -> Iterator[tuple[Anchor, Anchor]]:
    with _library(settings) as module:
        yield (
            Anchor(module, settings.enrol_label, read_pin(settings.enrol_pin_file)),
            Anchor(module, settings.sign_label, read_pin(settings.sign_pin_file)),
        )


def _make_token(module: Module, label: str, so_pin: str, pin: str) -> None:
    token = module.init_token(label, so_pin)
    session = token.open(rw=True, so_pin=so_pin)
    session.init_pin(pin)
    session.close()


def _find(session: pkcs11.Session, label: str) -> list[Any]:
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
    """Steps 2 and 3: a one-way from the enrol token to the sign token, for one ceremony."""

    def __init__(self, enrol: pkcs11.Session, sign: pkcs11.Session) -> None:
        self._public, self._private = sign.generate_keypair(
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

    def carry(self, role: Role, key: pkcs11.SecretKey, tenant_id: UUID, version: int) -> None:
        blob = self._wrapper.wrap_key(  # type: ignore[attr-defined]
            key, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=OAEP
        )
        self._private.unwrap_key(  # type: ignore[attr-defined]
            ObjectClass.SECRET_KEY, KEY_TYPES[role], blob,
            mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=OAEP,
            id=tenant_id.bytes, label=key_label(role, tenant_id, version),
            store=True, capabilities=NO_DEFAULTS, template=SIGN_SIDE[role],
        )  # fmt: skip

    def close(self) -> None:
        for key in (self._wrapper, self._public, self._private):
            key.destroy()


# ------------------------------------------------------------------ check


def _role_of(label: str) -> Role | None:
    for role in ROLES:
        if label.startswith(role + "/"):
            return role
    return None


def _enrol_template(kind: ObjectClass, label: str) -> Template | None:
    role = _role_of(label)
    if role is not None and kind is ObjectClass.SECRET_KEY:
        return ENROL_SIDE[role]
    if label == ENROL_LABEL:
        return {
            ObjectClass.PRIVATE_KEY: templates.ENROL_PRIVATE,
            ObjectClass.PUBLIC_KEY: templates.ENROL_PUBLIC,
        }.get(kind)
    return None


def _sign_template(kind: ObjectClass, label: str) -> Template | None:
    role = _role_of(label)
    if role is not None and kind is ObjectClass.SECRET_KEY:
        return SIGN_SIDE[role]
    if label.startswith(LOG_PREFIX):
        return {
            ObjectClass.PRIVATE_KEY: templates.LOG_PRIVATE,
            ObjectClass.PUBLIC_KEY: templates.LOG_PUBLIC,
        }.get(kind)
    return None


def _check_token(anchor: Anchor, template_of: Any) -> Iterator[Finding]:
    for key in anchor.session.get_objects({Attribute.TOKEN: True}):
        label = str(key[Attribute.LABEL])
        template = template_of(key[Attribute.CLASS], label)
        if template is None:
            yield Finding(anchor.label, label, "an object that no ceremony made")
            continue
        for attribute, wanted in template.items():
            if not _holds(anchor, key, attribute, wanted):
                yield Finding(anchor.label, label, f"{attribute.name} is not {wanted!r}")


def _holds(anchor: Anchor, key: Any, attribute: Attribute, wanted: Any) -> bool:
    if attribute is not Attribute.UNWRAP_TEMPLATE:
        try:
            return bool(key[attribute] == wanted)
        except pkcs11.PKCS11Error:
            return False
    packing = templates.TemplateMapper()
    packed = {int(name): packing.pack_attribute(name, value) for name, value in wanted.items()}
    session = anchor.session
    found = anchor.module.nested(session.handle, key.handle, int(attribute))  # type: ignore[attr-defined]
    return found == packed
