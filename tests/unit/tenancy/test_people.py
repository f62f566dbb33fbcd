"""A person as a document."""

from __future__ import annotations

import msgspec
import pytest

from tenancy.people import Person, needs_second_factor, normal_email


def test_an_address_has_one_spelling() -> None:
    person = Person(email=" Ada@Example.COM ", name="Ada", roles=("viewer", "admin", "viewer"))
    assert person.email == "ada@example.com"
    assert person.roles == ("admin", "viewer")


@pytest.mark.parametrize("text", ["ada", "a@b@c", "a b@c.d", "@c.d", "a@", "a@" + "b" * 260])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="email"):
        normal_email(text)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"email": text, "name": "x"}, Person)


def test_who_decides_for_others_needs_a_second_factor() -> None:
    assert [
        role
        for role in ("operator", "admin", "trader", "approver", "compliance", "viewer")
        if needs_second_factor([role])
    ] == ["operator", "admin", "approver"]
