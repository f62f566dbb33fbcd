"""On whose behalf a signal trades: a sender's, a person's, or the kill switch's own. Pure.

A signal of our own takes the same way as everybody's (kept, planned, in the log), so that closing
a position in an emergency is exactly as safe as opening it. It differs in four things only: it may
name the accounts that it is for, its ticker is the broker's own symbol, the kill switch's
closes even where everything is halted, and a correction of a drift is sized as it says.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tenancy.values import AccountID

Origin = Literal["hook", "kill_switch", "person", "reconciliation", "replay"]
"""`replay`: a sender's signal once more, because a person said so, for accounts that it did not reach."""


class Mandate(msgspec.Struct, frozen=True, kw_only=True):
    """`accounts` None: all that follow the strategy."""

    origin: Origin = "hook"
    accounts: frozenset[AccountID] | None = None

    @property
    def forced(self) -> bool:
        """Closes although halted, archived or switched off; it may never open."""
        return self.origin == "kill_switch"

    @property
    def as_named(self) -> bool:
        """What accounts set up scales nothing of it (fanout/as_named.py); what limits them holds."""
        return self.origin == "reconciliation"

    @property
    def names_symbols(self) -> bool:
        """Its ticker is the broker's symbol: no map applies."""
        return self.origin not in ("hook", "replay")


SENDERS = Mandate()
