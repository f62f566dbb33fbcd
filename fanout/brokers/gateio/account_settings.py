"""What a tenant decides about one account at Gate.io futures: `settings` of the account's row.

    position_mode   one_way (if nothing is said) or hedge
    margin_mode     cross or isolated; nothing said: left as it is at Gate
    leverage        as text, "10"; only with margin_mode, because at Gate they are one thing
    account_kind    classic (if nothing is said) or unified, whose margin other products share

What is said is set at Gate before the first order that opens (arranging.py). Nothing said is nothing set.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import msgspec

from tenancy.account import OURS
from tenancy.errors import Invalid
from tenancy.values import exact


class AccountSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Raises ValueError (msgspec: ValidationError) where values clash."""

    position_mode: Literal["one_way", "hedge"] | None = None
    margin_mode: Literal["cross", "isolated"] | None = None
    leverage: str | None = None
    account_kind: Literal["classic", "unified"] = "classic"

    def __post_init__(self) -> None:
        if self.leverage is None:
            return
        if self.margin_mode is None:
            raise ValueError(
                'leverage needs margin_mode beside it, "cross" or "isolated": Gate.io sets both at once'
            )
        if not Decimal(1) <= exact(self.leverage, "leverage") <= Decimal(200):
            raise ValueError(f"leverage must be 1 to 200, got {self.leverage}")

    @property
    def hedge(self) -> bool:
        return self.position_mode == "hedge"

    @property
    def silent(self) -> bool:
        """Nothing has to be set at Gate."""
        return self.position_mode is None and self.margin_mode is None


class BadAccountSettings(Invalid):
    """The account's settings are not Gate.io's: says which, and what would be right."""

    code = "account_settings"


_NOTHING_SAID = AccountSettings()
_KNOWN = ", ".join(AccountSettings.__struct_fields__)


def read(settings: dict[str, Any]) -> AccountSettings:
    """Raises BadAccountSettings."""
    said = {name: value for name, value in settings.items() if name not in OURS}
    if not said:
        return _NOTHING_SAID
    try:
        return msgspec.convert(said, AccountSettings)
    except msgspec.ValidationError as why:
        raise BadAccountSettings(
            f"the account's settings for Gate.io futures: {why}; known are {_KNOWN}"
        ) from None
