"""Which licences may ship: none of the GPL, the AGPL and the BUSL, and none that nobody stated. Pure.

The LGPL may: what is shipped is the unmodified library, which its user may replace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from license_expression import ExpressionError, get_spdx_licensing

from ops.bundle.distribution import Distribution

REFUSED = re.compile(
    r"(?i)(?<![a-z])a?gpl|affero|(?<!lesser )(?<!library )general public licen[cs]e|busl|business source"
)

_SPDX = get_spdx_licensing()


def refused(distributions: Iterable[Distribution]) -> list[str]:
    """One sentence for each that may not ship."""
    found = []
    for one in distributions:
        if not one.licence or one.licence.upper() == "UNKNOWN":
            found.append(f"{one.name} {one.version} states no licence, and so may not ship")
        elif not may_ship(one.licence):
            found.append(f"{one.name} {one.version} is under {one.licence}, and so may not ship")
    return found


def may_ship(licence: str) -> bool:
    """Of `A OR B` we choose the one that may; of `A AND B` both have to."""
    try:
        return _free(_SPDX.parse(licence))
    except ExpressionError:  # words of their own, and no expression
        return REFUSED.search(licence) is None


def _free(expression: object) -> bool:
    parts: tuple[object, ...] = getattr(expression, "args", ())
    if isinstance(expression, _SPDX.OR):
        return any(_free(part) for part in parts)
    if isinstance(expression, _SPDX.AND):
        return all(_free(part) for part in parts)
    return REFUSED.search(str(expression)) is None
