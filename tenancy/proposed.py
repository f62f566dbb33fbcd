"""A strategy as somebody thinks of setting it up: what would stand in place of what stands. Pure.

Each member is whole: `settings` takes the place of the strategy's own settings, not a part of it,
and what it does not say is inherited as always. Nothing of a proposal is ever kept.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from tenancy.limits import Limits
from tenancy.strategy import Sequence, Strategy, StrategySettings
from tenancy.subscription import SubscriptionSettings

SUBSCRIPTIONS_MOST = 10_000


class ProposedSubscription(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What one subscription of the strategy would be; a member that is absent stays as it is."""

    subscription_id: UUID
    enabled: bool | None = None
    priority: Annotated[int, Meta(ge=-1_000_000, le=1_000_000)] | None = None
    settings: SubscriptionSettings | None = None


class Proposed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a strategy and its subscriptions would be; a member that is absent stays as it is."""

    settings: StrategySettings | None = None
    """In place of the strategy's settings, as a whole."""
    limits: Limits | None = None
    """In place of the strategy's own limits, as a whole; those of other layers hold as well."""
    sequence: Sequence | None = None
    subscriptions: Annotated[
        tuple[ProposedSubscription, ...], Meta(max_length=SUBSCRIPTIONS_MOST)
    ] = ()

    @property
    def empty(self) -> bool:
        """Nothing but what is there already."""
        return (self.settings, self.limits, self.sequence, self.subscriptions) == (
            None, None, None, (),
        )  # fmt: skip

    def strategy(self, now: Strategy) -> Strategy:
        """The strategy as it would be."""
        return msgspec.structs.replace(
            now,
            settings=now.settings if self.settings is None else self.settings,
            limits=now.limits if self.limits is None else self.limits,
            sequence=now.sequence if self.sequence is None else self.sequence,
        )

    def applied(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """The subscriptions' rows (id, enabled, priority, settings as text, …) as they would be, in
        their order."""
        wanted = {one.subscription_id: one for one in self.subscriptions}
        made = []
        for row in rows:
            one = wanted.get(row[0])
            if one is not None:
                settings = row[3] if one.settings is None else _text(one.settings)
                enabled = row[1] if one.enabled is None else one.enabled
                priority = row[2] if one.priority is None else one.priority
                row = (row[0], enabled, priority, settings, *row[4:])
            made.append(row)
        return sorted(made, key=lambda row: (row[2], row[0]))


def _text(settings: SubscriptionSettings) -> str:
    return msgspec.json.encode(settings).decode()


NOTHING = Proposed()
