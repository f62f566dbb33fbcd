"""How bad the doctor's findings about one thing are."""

from __future__ import annotations

from ops.doctor.finding import Finding, worst_first


def level(found: Finding | list[Finding], what: str = "") -> str:
    """The worst level among the findings about `what`; at least one there has to be."""
    some = [found] if isinstance(found, Finding) else found
    about = [one for one in some if what in one.what]
    assert about, f"nothing is said about {what!r}: {[one.what for one in some]}"
    return worst_first(about)[0].level
