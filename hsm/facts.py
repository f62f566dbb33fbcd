"""What a ceremony of a key's later life did, in one frozen value: the content of its signed record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from pkcs11 import Attribute, ObjectClass

What = Literal["rotate", "retire", "destroy"]
Kind = Literal["kek", "enrol", "log"]
"""`kek`: a tenant's three keys of one version; `enrol`: the RSA pair; `log`: an audit log's pair."""


class KeyObject(msgspec.Struct, frozen=True, order=True):
    """One object of one token, as it was read there."""

    token: str
    label: str
    object_class: str


class Tried(msgspec.Struct, frozen=True):
    """A sealed row that was tried at the sign token. `outcome`: "opens", or the code of the refusal.

    `row` is its name, 32 hex digits (hsm.envelope.name_of): neither the row nor what is in it.
    """

    row: str
    kek_version: int
    outcome: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """`subject`: the tenant's id, the log's origin, or "" for the enrolment pair.

    `left`: objects that a search, made afterwards in a session of its own, still found: 0, or the
    ceremony has raised. `public_key`: hex; of a log 32 bytes, of the enrolment pair the SHA-256
    of its modulus. `p256_key`: hex; of a log's second pair, SubjectPublicKeyInfo.
    """

    what: What
    kind: Kind
    subject: str
    versions: tuple[int, ...]
    made: tuple[KeyObject, ...] = ()
    destroyed: tuple[KeyObject, ...] = ()
    left: int = 0
    public_key: str = ""
    p256_key: str = ""
    tried: tuple[Tried, ...] = ()


def record(what: What, kind: Kind, subject: str, versions: Iterable[int], **more: Any) -> Facts:
    """The facts of one ceremony, in one order: the same ceremony gives the same bytes."""
    for name in ("made", "destroyed"):
        more[name] = tuple(sorted(more.get(name, ())))
    return Facts(
        what=what, kind=kind, subject=subject, versions=tuple(sorted(set(versions))), **more
    )


def described(token: str, key: Any) -> KeyObject:
    """The object as it is now."""
    return KeyObject(token, str(key[Attribute.LABEL]), ObjectClass(key[Attribute.CLASS]).name)
