"""Read every attribute of every object in every token again, and name what is weaker than it was drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pkcs11
from pkcs11 import Attribute, ObjectClass

from hsm import templates
from hsm.ceremony import ROLES, tokens
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
    """Tenants' keys that one token has, and another has not, or has twice."""
    labels = {anchor.label: Counter(_tenant_labels(anchor)) for anchor in (*enrol, *sign)}
    every = set().union(*labels.values())
    for token, held in labels.items():
        for label in sorted(every):
            if held[label] == 0:
                yield Finding(token, label, "is missing, and another token has it")
            elif held[label] > 1:
                yield Finding(token, label, f"is there {held[label]} times")


def _tenant_labels(anchor: Anchor) -> Iterator[str]:
    for key in anchor.session.get_objects({Attribute.TOKEN: True}):
        label = str(key[Attribute.LABEL])
        if _role_of(label) is not None:
            yield label


def _role_of(label: str) -> Role | None:
    for role in ROLES:
        if label.startswith(role + "/"):
            return role
    return None


def enrol_template(kind: ObjectClass, label: str) -> Template | None:
    role = _role_of(label)
    if role is not None and kind is ObjectClass.SECRET_KEY:
        return ENROL_SIDE[role]
    if label == ENROL_LABEL:
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
        return {
            ObjectClass.PRIVATE_KEY: templates.LOG_PRIVATE | BORN_HERE,
            ObjectClass.PUBLIC_KEY: templates.LOG_PUBLIC,
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
