"""Times that a hold or an export is bounded by are moments that PostgreSQL and a leaf can hold."""

from __future__ import annotations

import msgspec
import pytest

from audit.export.selection import Selection
from audit.retention import Scope


@pytest.mark.parametrize(
    ("kind", "name"), [(Scope, "from_at"), (Scope, "to_at"), (Selection, "since")]
)
@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_outside_the_calendar_is_refused_by_name(kind, name, text):
    """A hold with such a time could be proposed, and then no hold of the tenant be read any more."""
    with pytest.raises(
        msgspec.ValidationError, match=f"{name}: in UTC its year is not from 1 to 9999"
    ):
        msgspec.convert({name: text}, kind)


def test_times_are_kept_in_utc():
    scope = msgspec.convert({"from_at": "2026-03-01T01:00:00+02:00"}, Scope)
    assert scope.from_at is not None
    assert scope.from_at.isoformat() == "2026-02-28T23:00:00+00:00"
