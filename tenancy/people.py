"""People as documents: who they are and which roles they have; how an e-mail address is compared.

`Person` is what may be edited and what its versions hold. Whether somebody is invited, active or
disabled follows from facts (`people.state`), and how they come in is no part of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Annotated, NewType
from uuid import UUID

import msgspec
from msgspec import Meta

from tenancy.roles import Role
from tenancy.values import Name

PersonID = NewType("PersonID", UUID)

SECOND_FACTOR_ROLES = frozenset({"operator", "admin", "approver", "examiner"})
"""Who decides for others, or may take all records away, does nothing before a second factor was shown."""

_ADDRESS = r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,189}"
_EMAIL = re.compile(_ADDRESS)
Email = Annotated[
    str, Meta(min_length=3, max_length=254, extra_json_schema={"pattern": rf"^\s*{_ADDRESS}\s*$"})
]


class Person(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person of one tenant. `disabled` people cannot come in; their sessions end at once."""

    email: Email
    name: Name
    roles: tuple[Role, ...] = ()
    disabled: bool = False

    def __post_init__(self) -> None:
        if self.email != normal_email(self.email):
            msgspec.structs.force_setattr(self, "email", normal_email(self.email))
        if list(self.roles) != sorted(set(self.roles)):
            msgspec.structs.force_setattr(self, "roles", tuple(sorted(set(self.roles))))


def normal_email(text: str) -> str:
    """The one spelling under which an address is kept and found: NFC, lower case, no spaces around.

    Raises ValueError for what is not one address. Whether mail arrives there, only mail shows.
    """
    address = unicodedata.normalize("NFC", text.strip()).lower()
    if _EMAIL.fullmatch(address) is None or len(address) > 254:
        raise ValueError("email: one address is needed, as name@example.com")
    return address


def needs_second_factor(roles: Iterable[str]) -> bool:
    """Must somebody with these roles show a second factor before anything else?"""
    return not SECOND_FACTOR_ROLES.isdisjoint(roles)
