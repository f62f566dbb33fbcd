"""All or none: an entry of which too few accounts pass every check is made for nobody. Pure.

Asked are the accounts that follow the strategy and have something to do: not those that are switched
off, not addressed, or hold already what the signal wants. Who cannot open for any other reason counts
against. Only what opens is held to it: what closes a position, closes it. It is decided in the plan,
so before the first order of anybody leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

import msgspec

from fanout.groups import Group
from fanout.reasons import Reason
from tenancy.strategy import StrategySettings

EXCUSED = frozenset(
    {
        Reason.SUBSCRIPTION_DISABLED,
        Reason.NOT_ADDRESSED,
        Reason.POSITION_EXISTS,
        Reason.ON_TARGET,
        Reason.CANCEL_ONLY,
    }
)


def hold(groups: Sequence[Group], settings: StrategySettings) -> list[Group]:
    """The groups, none of which opens where the quorum is not met."""
    if settings.quorum_percent is None and not settings.quorum_accounts:
        return list(groups)
    if not any(group.opens for group in groups) or _met(groups, settings):
        return list(groups)
    return [withdrawn(group) if group.opens else group for group in groups]


def _met(groups: Sequence[Group], settings: StrategySettings) -> bool:
    passing = sum(len(group.place) for group in groups if group.opens)
    asked = passing + sum(len(group.place) for group in groups if _fails(group))
    share = Decimal(0) if settings.quorum_percent is None else settings.quorum_percent
    if passing * 100 < share * asked:
        return False
    named = frozenset(settings.quorum_accounts or ())
    return not named & _failing(groups) and named <= _known(groups)


def _fails(group: Group) -> bool:
    """Whether its accounts count against: one that only closes has done all that it was to do."""
    return not group.legs and group.reason not in EXCUSED


def _failing(groups: Sequence[Group]) -> set[UUID]:
    return {account for group in groups if _fails(group) for account in group.account_id}


def _known(groups: Sequence[Group]) -> set[UUID]:
    return {account for group in groups for account in group.account_id}


def withdrawn(group: Group) -> Group:
    """The same accounts, of which none opens: the quorum is not met."""
    return msgspec.structs.replace(
        group, reason=Reason.QUORUM_NOT_MET, legs=(), cancel_open=False, asked=[]
    )
