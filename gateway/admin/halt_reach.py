"""What a halt would touch now: each layer's accounts, open orders and positions, before the switch is thrown.

Counts of this moment, by the same words that a halt is carried out by (fanout/intervention_rows.py): what is
open is not final, and a position is not zero. The platform is told how many customers it has, and nothing of
their trading.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from fanout.intervention_rows import Layer
from fanout.order import FINAL, OrdState
from gateway.admin.instruments import BrokerName, Symbol, require_broker
from gateway.admin.operation import Call, Operation, Result
from tenancy.errors import Invalid, NotFound
from tenancy.parameters import TradingState

LAYERS_MOST = 200
"""Strategies and groups each, by name; an account is asked for by its id."""


class ReachQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which layers: the whole house, its strategies and groups; with `object_id` that alone, also an account;
    with `broker` and `symbol` that instrument alone."""

    object_id: UUID | None = None
    broker: BrokerName | None = None
    symbol: Symbol | None = None

    @property
    def instrument(self) -> bool:
        """Whether an instrument is meant. Raises Invalid for half of one."""
        missing = [name for name in ("broker", "symbol") if getattr(self, name) is None]
        if len(missing) == 1:
            raise Invalid(
                f"{missing[0]}: an instrument has a broker and a symbol", field=missing[0]
            )
        if not missing and self.object_id is not None:
            raise Invalid(
                "object_id: an instrument is named by broker and symbol", field="object_id"
            )
        return not missing


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """One layer. `open_orders`: what `cancel_open` and `flatten` cancel; `standing_orders`: stops and targets
    behind positions, which `flatten` alone cancels. `customers`: of the platform, whose other counts are null.
    `object_id`: null of an instrument that nobody has halted so far."""

    scope: Layer
    object_id: UUID | None
    name: str
    state: TradingState
    accounts: int | None
    open_orders: int | None
    standing_orders: int | None
    positions: int | None
    customers: int | None = None


class ReachView(msgspec.Struct, frozen=True, kw_only=True):
    """The outermost layer first; `truncated`: there are more strategies or groups than are told."""

    items: list[Reach]
    truncated: Annotated[bool, Meta(description=f"More than {LAYERS_MOST} of a kind.")] = False


_OPEN = ", ".join(f"'{state.value}'" for state in OrdState if state not in FINAL)
_COUNTS = f"""
WITH asked AS (
    SELECT strategy_id, account_id, count(*) FILTER (WHERE role = 'main') AS main,
           count(*) FILTER (WHERE role <> 'main') AS behind
    FROM orders WHERE state IN ({_OPEN}) GROUP BY 1, 2),
held AS (SELECT strategy_id, account_id, count(*) AS positions FROM positions WHERE qty <> 0 GROUP BY 1, 2),
touched AS (
    SELECT strategy_id, account_id, main, behind, 0 AS positions FROM asked
    UNION ALL SELECT strategy_id, account_id, 0, 0, positions FROM held)"""  # noqa: S608 - constants only
_SUMS = "coalesce(sum(x.main), 0)::int, coalesce(sum(x.behind), 0)::int, coalesce(sum(x.positions), 0)::int"
_REACH = f"""{_COUNTS}
(SELECT 'tenant', t.tenant_id, t.name, t.state,
        (SELECT count(*) FROM accounts WHERE archived_at IS NULL)::int, {_SUMS}
 FROM tenants t LEFT JOIN touched x ON true
 WHERE t.kind = 'customer' AND (%(id)s::uuid IS NULL OR t.tenant_id = %(id)s) GROUP BY t.tenant_id)
UNION ALL
(SELECT 'strategy', s.strategy_id, s.name, s.state,
        (SELECT count(*) FROM subscriptions f WHERE f.strategy_id = s.strategy_id)::int, {_SUMS}
 FROM strategies s LEFT JOIN touched x USING (strategy_id)
 WHERE s.archived_at IS NULL AND (%(id)s::uuid IS NULL OR s.strategy_id = %(id)s)
 GROUP BY s.strategy_id ORDER BY s.name LIMIT %(most)s)
UNION ALL
(SELECT 'group', g.group_id, g.name, g.state,
        (SELECT count(*) FROM accounts m WHERE m.group_id = g.group_id AND m.archived_at IS NULL)::int, {_SUMS}
 FROM account_groups g LEFT JOIN accounts a USING (group_id) LEFT JOIN touched x USING (account_id)
 WHERE g.archived_at IS NULL AND (%(id)s::uuid IS NULL OR g.group_id = %(id)s)
 GROUP BY g.group_id ORDER BY g.name LIMIT %(most)s)
UNION ALL
(SELECT 'account', a.account_id, a.name, a.state, 1, {_SUMS}
 FROM accounts a LEFT JOIN touched x USING (account_id)
 WHERE a.archived_at IS NULL AND a.account_id = %(id)s::uuid GROUP BY a.account_id)"""  # noqa: S608 - constants only
_INSTRUMENT = f"""
SELECT 'instrument', h.instrument_id, %(broker)s::text || ' ' || %(symbol)s::text, coalesce(h.state, 'active'),
       (SELECT count(*) FROM accounts a WHERE a.broker = %(broker)s AND a.archived_at IS NULL)::int,
       (SELECT count(*) FROM orders o WHERE o.broker = %(broker)s AND o.symbol = %(symbol)s
            AND o.state IN ({_OPEN}) AND o.role = 'main')::int,
       (SELECT count(*) FROM orders o WHERE o.broker = %(broker)s AND o.symbol = %(symbol)s
            AND o.state IN ({_OPEN}) AND o.role <> 'main')::int,
       (SELECT count(*) FROM positions p JOIN accounts a USING (account_id)
        WHERE a.broker = %(broker)s AND p.symbol = %(symbol)s AND p.qty <> 0)::int
FROM (SELECT 1) AS one
LEFT JOIN instrument_halts h ON h.broker = %(broker)s AND h.symbol = %(symbol)s"""  # noqa: S608 - constants only
_CUSTOMERS = "SELECT count(*) FROM find_tenants(NULL, 100000) f WHERE f.kind = 'customer'"
_PLATFORM = f"""
SELECT t.tenant_id, t.name, t.state, ({_CUSTOMERS})
FROM tenants t WHERE t.kind = 'platform' AND (%(id)s::uuid IS NULL OR t.tenant_id = %(id)s)"""  # noqa: S608 - constants only


async def _reach(call: Call) -> Result:
    query: ReachQuery = call.query
    if query.instrument:
        return await _of_instrument(call, query)
    asked = {"id": query.object_id, "most": LAYERS_MOST + 1}
    platform = call.principal.kind == "platform"
    statement = _PLATFORM if platform else _REACH
    rows = await (await call.conn.execute(statement.encode(), asked)).fetchall()
    items = [
        _platform(row) if platform else Reach(**dict(zip(_NAMES, row, strict=True))) for row in rows
    ]
    if not items and query.object_id is not None:
        raise NotFound(f"there is nothing {query.object_id} that a halt could stop in this tenant")
    kept = _kept(items)
    return Result(content=ReachView(items=kept, truncated=len(kept) < len(items)))


async def _of_instrument(call: Call, query: ReachQuery) -> Result:
    """Of the platform's, which holds for everybody, the state alone is told: nothing of customers' trading."""
    assert query.broker is not None
    require_broker(call, query.broker)
    asked = {"broker": query.broker, "symbol": query.symbol}
    row = await (await call.conn.execute(_INSTRUMENT.encode(), asked)).fetchone()
    assert row is not None
    one = Reach(**dict(zip(_NAMES, row, strict=True)))
    if call.principal.kind == "platform":
        counted = await (await call.conn.execute(_CUSTOMERS.encode())).fetchone()
        assert counted is not None
        one = msgspec.structs.replace(one, **dict.fromkeys(_COUNTED), customers=counted[0])
    return Result(content=ReachView(items=[one]))


_COUNTED = ("accounts", "open_orders", "standing_orders", "positions")
_NAMES = ("scope", "object_id", "name", "state", *_COUNTED)


def _kept(items: Sequence[Reach]) -> list[Reach]:
    """At most LAYERS_MOST of each kind; one more was read to know that there are more."""
    seen: Counter[str] = Counter()
    kept = []
    for one in items:
        seen[one.scope] += 1
        if seen[one.scope] <= LAYERS_MOST:
            kept.append(one)
    return kept


def _platform(row: Sequence[Any]) -> Reach:
    return Reach(
        scope="platform", object_id=row[0], name=row[1], state=row[2], accounts=None, open_orders=None,
        standing_orders=None, positions=None, customers=row[3],
    )  # fmt: skip


OPERATIONS = (
    Operation(
        name="read_halt_reach", method="GET", path="/v1/halts/reach", tag="Kill switch",
        action="halts:read", handle=_reach, query=ReachQuery, answer=ReachView,
        summary="What a halt of each layer would touch now: accounts, open orders, positions.",
        problems=("not_found",),
    ),
)  # fmt: skip
