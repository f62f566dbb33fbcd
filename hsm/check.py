"""Read every attribute of every object in every token again, and name what is weaker than it was drawn."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import pkcs11
from pkcs11 import Attribute, ObjectClass

from hsm import templates
from hsm.ceremony import ROLES, find, tokens
from hsm.settings import TokenSettings
from hsm.templates import (
    ENROL_LABEL,
    ENROL_SIDE,
    LOG_PREFIX,
    RECORD_PREFIX,
    RSA_BITS,
    SIGN_SIDE,
    Role,
    Template,
)
from hsm.token import Anchor

TemplateOf = Callable[[ObjectClass, str], Template | None]

BORN_HERE: Template = {
    Attribute.LOCAL: True,
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.NEVER_EXTRACTABLE: True,
}
"""Of a private key that was made in this token and was never outside; a tenant's keys were carried."""


class Finding(NamedTuple):
    """One attribute that is weaker than its template, or an object that nobody drew."""

    token: str
    label: str
    what: str


def check(settings: TokenSettings) -> list[Finding]:
    """Read every attribute of every object again. Empty is good; each finding names one."""
    found: list[Finding] = []
    with tokens(settings) as (enrol, sign):
        for anchors, template_of in ((enrol, enrol_template), (sign, sign_template)):
            for anchor in anchors:
                found += _check_token(anchor, template_of)
        found += _missing(enrol, sign)
    return found


def _missing(enrol: Sequence[Anchor], sign: Sequence[Anchor]) -> Iterator[Finding]:
    """What should be there beside what is: the other roles of a version, in every token, once each."""
    labels = {anchor.label: Counter(_tenant_labels(anchor)) for anchor in (*enrol, *sign)}
    versions = {label.partition("/")[2] for held in labels.values() for label in held}
    for token, held in labels.items():
        for label in sorted(f"{role}/{version}" for version in versions for role in ROLES):
            if held[label] == 0:
                yield Finding(token, label, "is missing, and another key of its version is there")
            elif held[label] > 1:
                yield Finding(token, label, f"is there {held[label]} times")
    for anchor in (*enrol, *sign):
        yield from _half_pairs(anchor)
    for anchor in enrol:
        if not find(anchor.session, ENROL_LABEL) and not _has_newer_pair(anchor):
            yield Finding(anchor.label, ENROL_LABEL, "is missing: nothing can be enrolled")


def _tenant_labels(anchor: Anchor) -> Iterator[str]:
    for key in anchor.session.get_objects({Attribute.TOKEN: True}):
        label = str(key[Attribute.LABEL])
        if _role_of(label) is not None:
            yield label


def _half_pairs(anchor: Anchor) -> Iterator[Finding]:
    """Pairs of which there is not exactly one private and one public half."""
    pairs: dict[str, Counter[ObjectClass]] = defaultdict(Counter)
    for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
        for key in anchor.session.get_objects({Attribute.TOKEN: True, Attribute.CLASS: kind}):
            pairs[str(key[Attribute.LABEL])][kind] += 1
    for label, halves in sorted(pairs.items()):
        private, public = halves[ObjectClass.PRIVATE_KEY], halves[ObjectClass.PUBLIC_KEY]
        if (private, public) != (1, 1):
            what = f"has {private} private and {public} public halves; one of each is needed"
            yield Finding(anchor.label, label, what)


def _has_newer_pair(anchor: Anchor) -> bool:
    wanted = {Attribute.TOKEN: True, Attribute.CLASS: ObjectClass.PRIVATE_KEY}
    labels = (str(key[Attribute.LABEL]) for key in anchor.session.get_objects(wanted))
    return any(label.startswith(ENROL_LABEL + "/v") for label in labels)


def _of_another(key: Any, label: str) -> bool:
    """Whether a tenant's key has not the tenant's id: the enroller seeks by it."""
    if _role_of(label) is None:
        return False
    try:
        return bytes(key[Attribute.ID]) != UUID(label.split("/")[1]).bytes
    except (ValueError, IndexError, pkcs11.PKCS11Error):
        return True


def _role_of(label: str) -> Role | None:
    for role in ROLES:
        if label.startswith(role + "/"):
            return role
    return None


def enrol_template(kind: ObjectClass, label: str) -> Template | None:
    role = _role_of(label)
    if role is not None and kind is ObjectClass.SECRET_KEY:
        return ENROL_SIDE[role]
    if templates.enrol_version(label) is not None:
        return {
            ObjectClass.PRIVATE_KEY: templates.ENROL_PRIVATE | BORN_HERE,
            ObjectClass.PUBLIC_KEY: templates.ENROL_PUBLIC | {Attribute.MODULUS_BITS: RSA_BITS},
        }.get(kind)
    return None


def sign_template(kind: ObjectClass, label: str) -> Template | None:
    role = _role_of(label)
    if role is not None and kind is ObjectClass.SECRET_KEY:
        return SIGN_SIDE[role]
    if label.startswith((LOG_PREFIX, RECORD_PREFIX)):
        second = label.startswith(LOG_PREFIX) and templates.is_p256(label)
        return {
            ObjectClass.PRIVATE_KEY: templates.LOG_PRIVATE | BORN_HERE,
            ObjectClass.PUBLIC_KEY: templates.LOG_P256_PUBLIC if second else templates.LOG_PUBLIC,
        }.get(kind)
    return None


def _check_token(anchor: Anchor, template_of: TemplateOf) -> Iterator[Finding]:
    for key in anchor.session.get_objects({Attribute.TOKEN: True}):
        label = str(key[Attribute.LABEL])
        template = template_of(key[Attribute.CLASS], label)
        if template is None:
            yield Finding(anchor.label, label, "an object that no ceremony made")
            continue
        for attribute, wanted in anchor.profile.fit(template).items():
            if not _holds(anchor, key, attribute, wanted):
                yield Finding(anchor.label, label, f"{attribute.name} is not {wanted!r}")
        if _of_another(key, label):
            yield Finding(anchor.label, label, "ID is not the tenant's that its label names")


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
