"""How long records are kept, by class and regime; what a hold covers. Pure.

A record's class (`cls` in its leaf) says what kind of evidence it is. A tenant's regimes say for how many
years each class is kept: the longest of them. A class only grows, in the database too (migration 0021).

| regime    | rule                                                   | years |
| sec-17a-4 | 17 CFR 240.17a-4(a), the longest of its periods        | 6     |
| finra     | FINRA 4511(b), where no other period is said           | 6     |
| mifid     | Delegated Regulation (EU) 2017/565 Art. 72; MiFID II 16(7) | 5 |
| mifid-7   | the same, where the competent authority asks           | 7     |
| twse      | order records of the TWSE and TPEx                     | 5     |

What no regime speaks about, and a class that nobody has set, is kept for DEFAULT_YEARS.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Literal, get_args

import msgspec
from msgspec.structs import force_setattr

from tenancy.values import utc

Regime = Literal["sec-17a-4", "finra", "mifid", "mifid-7", "twse"]
Class = Literal["trade", "admin"]
CLASSES: tuple[Class, ...] = get_args(Class)
DEFAULT_YEARS = 6
"""audit_years_default() in the schema."""

YEARS: dict[Regime, int] = {"sec-17a-4": 6, "finra": 6, "mifid": 5, "mifid-7": 7, "twse": 5}
"""Of every class alike: orders and what led to them, and who changed what."""


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """How long a class is kept, and for whose sake."""

    cls: str
    years: int = DEFAULT_YEARS
    regimes: tuple[Regime, ...] = ()


def grown(term: Term, regimes: Collection[Regime], years: int = 0) -> Term:
    """The term with these regimes and at least so many years: never shorter, never fewer."""
    every = tuple(sorted({*term.regimes, *regimes}))
    longest = max([term.years, years, DEFAULT_YEARS, *(YEARS[regime] for regime in every)])
    return Term(cls=term.cls, years=longest, regimes=every)


class Scope(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What a hold is about. Each member narrows it; without any it is everything of the tenant.

    `oid`: an order's records; `acct`: an account's; `from_at`, `to_at`: what happened from, and before.
    """

    subject: str | None = None
    oid: str | None = None
    acct: str | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("from_at", "to_at"):
            if (at := getattr(self, name)) is not None:
                force_setattr(self, name, utc(at, name))
        if self.from_at is not None and self.to_at is not None and self.from_at >= self.to_at:
            raise ValueError("from_at: before to_at")
