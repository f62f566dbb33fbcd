"""Strategies: what sends signals, in which order its accounts trade, and what it sets for them all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from gateway.admin.changes import By, ObjectKind
from gateway.admin.dangers import document_danger
from gateway.admin.limits import require_limits_action
from gateway.admin.objects import Resource
from gateway.admin.paging import PageQuery
from gateway.admin.references import require_unused
from tenancy.limits import Limits
from tenancy.parameters import TradingState
from tenancy.store.documents import Table
from tenancy.store.resolvable import require_resolvable
from tenancy.strategy import AssetClass, Sequence, StrategySettings
from tenancy.values import Name, partition


class StrategyDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people set about a strategy."""

    name: Name
    asset_class: AssetClass = "crypto"
    sequence: Sequence = "rotate"
    settings: StrategySettings = StrategySettings()
    limits: Limits = Limits()


class StrategyView(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy as it is. `version` grows with everything that a plan could notice."""

    strategy_id: UUID
    name: str
    asset_class: AssetClass
    sequence: Sequence
    settings: StrategySettings
    limits: Limits
    state: TradingState
    version: int
    revision: int
    created_at: datetime
    archived_at: datetime | None


class StrategyFilters(PageQuery, frozen=True, kw_only=True):
    """Which strategies."""

    name: str | None = None
    archived: bool = False


async def _columns(by: By, object_id: Any, document: StrategyDocument) -> Mapping[str, Any]:
    return {"part": partition(object_id)}


async def _check(by: By, before: StrategyDocument | None, after: StrategyDocument | None) -> None:
    require_limits_action(by, before, after)


async def _follow(
    by: By, object_id: str, before: StrategyDocument | None, after: StrategyDocument | None
) -> None:
    if after is None:
        await require_unused(by.conn, "strategy_id", object_id, "strategy")
    elif before is not None and (
        (before.settings, before.asset_class) != (after.settings, after.asset_class)
    ):
        await require_resolvable(by.conn, strategy=UUID(object_id))


STRATEGY: ObjectKind[StrategyDocument] = ObjectKind(
    name="strategy",
    table=Table(
        noun="strategy",
        table="strategies",
        key="strategy_id",
        document=StrategyDocument,
        facts=("state", "version", "created_at", "archived_at"),
        json=frozenset({"settings", "limits"}),
        names={"strategies_name": "this strategy's name is in use in the tenant: choose another"},
    ),
    columns=_columns,
    check=_check,
    danger=document_danger,
    follow=_follow,
)

STRATEGIES: Resource[StrategyDocument] = Resource(
    kind=STRATEGY,
    path="/v1/strategies",
    id_name="strategy_id",
    tag="Strategies",
    view=StrategyView,
    resource="strategies",
    filters=StrategyFilters,
    create=StrategyDocument,
)

OPERATIONS = STRATEGIES.operations()
