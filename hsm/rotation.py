"""New versions of keys, beside the old ones: nothing that was sealed, encrypted or signed stops working.

A tenant's keys (KEK, open KEK, MAC key):

1. Read which versions the tokens hold. One that is whole and that the caller does not know was made
   by a ceremony that died before it was registered: it is taken, and none is made.
2. Make the next version in both tokens (hsm/ceremony.py; its crash leaves a set that no daemon uses).
3. Read all six objects again.

From the moment the version is whole the enroller seals under it, because it always takes the highest
one; the signer finds the version that a row names. Neither is restarted or told. Old versions stay,
to open what was sealed under them: a non-extractable secret cannot be wrapped again, it is enrolled anew.

The enrolment pair: a second RSA pair beside the first. The enroller gives out the newest public key and
opens what was encrypted to any of them, until the old pair is ended (hsm/ending.py).

A log's pairs, Ed25519 and P-256: the next version of both for the same origin (a log of before there were
second pairs has its first one then). Who signs with which, and for how long, is decided where
checkpoints are made (audit/integrator.py).

Only one ceremony may run at a time: whoever calls holds a lock for all hosts (ops/key_ceremonies.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from uuid import UUID

import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass

from hsm import ceremony, p256, templates
from hsm.ceremony import NO_DEFAULTS, ROLES, tokens
from hsm.errors import CeremonyRefused
from hsm.facts import Facts, KeyObject, described, record
from hsm.settings import TokenSettings
from hsm.templates import LOG_PREFIX, enrol_label, key_label, log_label, p256_label
from hsm.token import Anchor, enrol_versions


def rotate_tenant_keys(settings: TokenSettings, tenant_id: UUID, known: int) -> Facts:
    """The next version of a tenant's keys. `known`: the highest version that was ever registered.

    Raises CeremonyRefused where the tenant has no keys at all, or the new set is not whole.
    """
    with tokens(settings) as (enrol, sign):
        there = whole_versions(enrol + sign, tenant_id)
    if not there:
        raise CeremonyRefused(f"tenant {tenant_id} has no keys in the tokens: nothing to rotate")
    version = max(there)
    if version <= known:
        version = known + 1
        ceremony.create_tenant_keys(settings, tenant_id, version)
    with tokens(settings) as (enrol, sign):
        made = [
            described(anchor.label, key)
            for anchor in enrol + sign
            for key in _of_version(anchor, tenant_id, version)
        ]
        if version not in whole_versions(enrol + sign, tenant_id):
            raise CeremonyRefused(f"version {version} of tenant {tenant_id} is not whole: {made}")
    return record("rotate", "kek", str(tenant_id), [version], made=made)


def rotate_enrol_key(settings: TokenSettings, known: int) -> Facts:
    """The next version of the enrolment pair. `known`: the highest version that was registered."""
    made: list[KeyObject] = []
    with tokens(settings) as (enrol, _):
        for anchor in enrol:
            there = enrol_versions(anchor.session)
            if not there:
                raise CeremonyRefused(f"token {anchor.label!r} has no enrolment key")
            version = max(there)
            if version <= known:
                version = known + 1
                _make_enrol_pair(anchor, version)
            pair = pair_of(anchor.session, enrol_label(version))
            made += [described(anchor.label, key) for key in pair.values()]
            modulus = bytes(pair[ObjectClass.PUBLIC_KEY][Attribute.MODULUS])
    return record(
        "rotate", "enrol", "", [version], made=made, public_key=sha256(modulus).hexdigest()
    )


def rotate_log_key(settings: TokenSettings, origin: str, version: int) -> Facts:
    """The log's two pairs of that version; one that a dead ceremony left is taken as it is."""
    first = log_label(origin, version)
    second = p256_label(first)
    for label, make in ((first, ceremony.create_log_key), (second, ceremony.create_log_p256_key)):
        with tokens(settings) as (_, sign):
            there = pair_of(sign[0].session, LOG_PREFIX + label)
        if len(there) == 1:
            raise CeremonyRefused(
                f"half of the pair {label!r} is there: `portcullis hsm check` names it"
            )
        if not there:
            make(settings, first, origin)
    with tokens(settings) as (_, sign):
        pairs = [pair_of(sign[0].session, LOG_PREFIX + label) for label in (first, second)]
        made = [described(sign[0].label, key) for pair in pairs for key in pair.values()]
        points = [bytes(pair[ObjectClass.PUBLIC_KEY][Attribute.EC_POINT]) for pair in pairs]
    return record(
        "rotate", "log", origin, [version], made=made, public_key=points[0][-32:].hex(),
        p256_key=p256.spki(points[1]).hex(),
    )  # fmt: skip


def whole_versions(anchors: Sequence[Anchor], tenant_id: UUID) -> set[int]:
    """The versions of which every one of these tokens holds all three keys, each once."""
    return set.intersection(*(_whole_in(anchor.session, tenant_id) for anchor in anchors))


def pair_of(session: pkcs11.Session, label: str) -> dict[ObjectClass, Any]:
    """A pair's halves, by class."""
    keys = session.get_objects({Attribute.LABEL: label, Attribute.TOKEN: True})
    return {ObjectClass(key[Attribute.CLASS]): key for key in keys}


def _whole_in(session: pkcs11.Session, tenant_id: UUID) -> set[int]:
    labels = [
        str(key[Attribute.LABEL])
        for key in session.get_objects({Attribute.ID: tenant_id.bytes, Attribute.TOKEN: True})
    ]
    numbers = {label.rsplit("/v", 1)[-1] for label in labels}
    return {
        int(number)
        for number in numbers
        if number.isdecimal()
        and all(labels.count(key_label(role, tenant_id, int(number))) == 1 for role in ROLES)
    }


def _of_version(anchor: Anchor, tenant_id: UUID, version: int) -> list[Any]:
    labels = {key_label(role, tenant_id, version) for role in ROLES}
    keys = anchor.session.get_objects({Attribute.ID: tenant_id.bytes, Attribute.TOKEN: True})
    return [key for key in keys if str(key[Attribute.LABEL]) in labels]


def _make_enrol_pair(anchor: Anchor, version: int) -> None:
    """A public half alone is what a dead ceremony left: nobody gives it out, and it goes first."""
    for remains in pair_of(anchor.session, enrol_label(version)).values():
        remains.destroy()
    fit = anchor.profile.fit
    anchor.session.generate_keypair(
        KeyType.RSA, templates.RSA_BITS, label=enrol_label(version), store=True,
        capabilities=NO_DEFAULTS,
        public_template=fit(templates.ENROL_PUBLIC), private_template=fit(templates.ENROL_PRIVATE),
    )  # fmt: skip
