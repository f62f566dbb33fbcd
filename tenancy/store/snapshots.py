"""SQL of a strategy's snapshot, read so that its version is true of every row in it.

1. Read the version, then everything, then the version again.
2. Are the two one, nothing was committed in between, for each change moves the version in its own
   transaction. Else begin again.

`Version` says whether a kept snapshot still holds: one short statement for each signal.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from tenancy.account import Account
from tenancy.database import Connection, Told
from tenancy.effective import Resolved, resolve
from tenancy.errors import NotFound, Unavailable
from tenancy.explain import EffectiveView, explain, limits_of
from tenancy.group import Group
from tenancy.limits import EffectiveLimits, Limits
from tenancy.proposed import NOTHING, Proposed
from tenancy.snapshot import Shadow, Snapshot, Subscribed
from tenancy.strategy import Strategy, StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.tenant import TenantSettings, Terms
from tenancy.values import AccountID, GroupID, StrategyID, SubscriptionID

TRIES = 5

_VERSION = """
SELECT s.version, p.state, p.limits, p.revision
FROM strategies s LEFT JOIN platform_terms() p ON true WHERE s.strategy_id = %s"""

_HEAD = """
SELECT s.strategy_id, s.tenant_id, s.name, s.asset_class, s.state, s.sequence, s.settings::text,
       s.limits::text, s.part, s.version, s.archived_at IS NOT NULL,
       t.state, t.limits::text, t.revision, t.settings::text
FROM strategies s JOIN tenants t USING (tenant_id) WHERE s.strategy_id = %s"""

_ACCOUNT_COLUMNS = """
    a.account_id, a.tenant_id, a.name, a.broker, a.currency, a.stated_equity, a.leverage, a.state,
    a.settings::text, a.part, a.group_id, a.limits::text, a.archived_at IS NOT NULL,
    c.api_key, c.sealed"""

_ROWS = f"""
SELECT u.subscription_id, u.enabled, u.priority, u.settings::text,
       g.group_id, g.name, g.state, g.settings::text, g.limits::text, g.archived_at IS NOT NULL,
       {_ACCOUNT_COLUMNS}
FROM subscriptions u JOIN accounts a USING (account_id)
LEFT JOIN account_groups g USING (group_id)
LEFT JOIN credentials c ON c.account_id = a.account_id AND c.state = 'live' AND c.revoked_at IS NULL
WHERE u.strategy_id = %(strategy)s AND u.shadow_of IS NULL
  AND (%(accounts)s::uuid[] IS NULL OR u.account_id = ANY(%(accounts)s))
ORDER BY u.priority, u.subscription_id"""  # noqa: S608 - constants only

_SHADOWS = f"""
SELECT u.subscription_id, u.shadow_of, u.enabled, {_ACCOUNT_COLUMNS}
FROM subscriptions u JOIN accounts a USING (account_id)
JOIN subscriptions twin ON twin.subscription_id = u.shadow_of
LEFT JOIN credentials c ON c.account_id = a.account_id AND c.state = 'live' AND c.revoked_at IS NULL
WHERE u.strategy_id = %(strategy)s
  AND (%(accounts)s::uuid[] IS NULL OR twin.account_id = ANY(%(accounts)s))
ORDER BY u.subscription_id"""  # noqa: S608 - constants only

_SHARING = """
SELECT o.strategy_id, array_agg(o.account_id)
FROM subscriptions u JOIN subscriptions o USING (account_id)
WHERE u.strategy_id = %(strategy)s AND o.strategy_id <> u.strategy_id
  AND (%(accounts)s::uuid[] IS NULL OR u.account_id = ANY(%(accounts)s))
GROUP BY o.strategy_id"""

# As a subscription that says nothing and is switched off.
_UNFOLLOWED = f"""
SELECT a.account_id, false, 0, '{{}}',
       g.group_id, g.name, g.state, g.settings::text, g.limits::text, g.archived_at IS NOT NULL,
       {_ACCOUNT_COLUMNS}
FROM accounts a LEFT JOIN account_groups g USING (group_id)
LEFT JOIN credentials c ON c.account_id = a.account_id AND c.state = 'live' AND c.revoked_at IS NULL
WHERE a.account_id = ANY(%s) ORDER BY a.account_id"""  # noqa: S608 - constants only

_ACCOUNTS = f"""
SELECT {_ACCOUNT_COLUMNS} FROM accounts a
LEFT JOIN credentials c ON c.account_id = a.account_id AND c.state = 'live' AND c.revoked_at IS NULL
WHERE a.account_id = ANY(%b::uuid[])"""  # noqa: S608 - constants only

# What holds for a shadow is what holds for its twin.
_SUBSCRIPTION = """
SELECT u.strategy_id, u.account_id, u.settings::text
FROM subscriptions asked
JOIN subscriptions u ON u.subscription_id = coalesce(asked.shadow_of, asked.subscription_id)
WHERE asked.subscription_id = %s"""


class Version(msgspec.Struct, frozen=True):
    """What people set up has not changed while this has not."""

    strategy: int
    platform: Terms


async def read_version(conn: Connection, strategy: StrategyID) -> Version:
    """The version that holds now. Raises NotFound."""
    return await (await ask_version(conn, strategy))()


async def ask_version(conn: Connection, strategy: StrategyID) -> Told[Version]:
    """The same in a pipeline of the caller's; what is returned raises NotFound."""
    asked = await conn.execute(_VERSION, (strategy,))

    async def told() -> Version:
        return _version(await asked.fetchone(), strategy)

    return told


async def read_snapshot(
    conn: Connection,
    strategy: StrategyID,
    accounts: Sequence[AccountID] | None = None,
    proposed: Proposed = NOTHING,
) -> Snapshot:
    """The whole snapshot (or these accounts' rows of it), of one version.

    `proposed`: as it would be, if that were set up; only what is read here, and nothing that is kept.
    Raises NotFound, Unavailable where changes do not cease.
    """
    asked = {"strategy": strategy, "accounts": None if accounts is None else list(accounts)}
    for _ in range(TRIES):
        async with conn.pipeline():  # one round trip
            before = await conn.execute(_VERSION, (strategy,))
            head = await conn.execute(_HEAD, (strategy,))
            rows = await conn.execute(_ROWS, asked)
            sharing = await conn.execute(_SHARING, asked)
            shadows = await conn.execute(_SHADOWS, asked)
            after = await conn.execute(_VERSION, (strategy,))
        version = _version(await before.fetchone(), strategy)
        found = await head.fetchone()
        if found is not None and version == _version(await after.fetchone(), strategy):
            made = _snapshot(found, await rows.fetchall(), version.platform, proposed)
            others = await sharing.fetchall()
            return msgspec.structs.replace(
                made,
                neighbours=frozenset(other for other, _ in others),
                shared=frozenset(account for _, accounts in others for account in accounts),
                shadows=tuple(_shadow(row) for row in await shadows.fetchall()),
            )
    raise Unavailable(f"the settings of strategy {strategy} change faster than they can be read")


async def read_neighbours(
    conn: Connection, strategy: StrategyID, accounts: Sequence[AccountID] | None = None
) -> frozenset[StrategyID]:
    """The other strategies that follow any of the strategy's accounts (or any of these)."""
    asked = {"strategy": strategy, "accounts": None if accounts is None else list(accounts)}
    rows = await (await conn.execute(_SHARING, asked)).fetchall()
    return frozenset(other for other, _ in rows)


async def with_unfollowed(
    conn: Connection, snapshot: Snapshot, accounts: Collection[AccountID]
) -> Snapshot:
    """The snapshot with those of these accounts, too, that do not follow the strategy any more.

    For what must be closed: a position outlives the subscription that opened it.
    """
    missing = set(accounts) - {row.account.account_id for row in snapshot.rows}
    if not missing:
        return snapshot
    rows = await (await conn.execute(_UNFOLLOWED, (list(missing),))).fetchall()
    layers = _Layers(snapshot.strategy, snapshot.tenant, snapshot.platform)
    further = tuple(layers.subscribed(row) for row in rows)
    return msgspec.structs.replace(snapshot, rows=(*snapshot.rows, *further))


async def read_effective(conn: Connection, subscription: SubscriptionID) -> EffectiveView:
    """All that holds for one subscription, with provenance; for a shadow, what holds for its twin.

    Raises NotFound, Unavailable.
    """
    row = await (await conn.execute(_SUBSCRIPTION, (subscription,))).fetchone()
    if row is None:
        raise NotFound(f"no subscription {subscription} in this tenant")
    strategy, account, settings = row
    snapshot = await read_snapshot(conn, strategy, [account])
    if not snapshot.rows:
        raise NotFound(f"no subscription {subscription} in this tenant")
    (subscribed,) = snapshot.rows
    return explain(
        snapshot.strategy,
        subscribed.group,
        _settings(settings),
        subscribed.account,
        snapshot.tenant,
        snapshot.platform,
        enabled=subscribed.enabled,
    )


async def read_accounts(conn: Connection, accounts: Sequence[AccountID]) -> list[Account]:
    """The accounts of this tenant among `accounts`, with their live credentials."""
    rows = await (await conn.execute(_ACCOUNTS, (list(accounts),))).fetchall()
    return [_account(row) for row in rows]


async def read_platform(conn: Connection) -> Terms:
    """What the platform lays down for everybody; nothing, while nobody has set it up."""
    row = await (
        await conn.execute("SELECT state, limits, revision FROM platform_terms()")
    ).fetchone()
    return _terms(row or (None, None, None))


def _version(row: Sequence[Any] | None, strategy: StrategyID) -> Version:
    if row is None:
        raise NotFound(f"no strategy {strategy} in this tenant")
    return Version(row[0], _terms(row[1:4]))


def _terms(row: Sequence[Any]) -> Terms:
    if row[0] is None:
        return Terms()
    return Terms(state=row[0], limits=_limits(row[1]), revision=row[2])


def _limits(text: str) -> Limits:
    return msgspec.json.decode(text, type=Limits)


def _snapshot(
    head: Sequence[Any], rows: list[tuple[Any, ...]], platform: Terms, proposed: Proposed
) -> Snapshot:
    strategy = Strategy(
        strategy_id=head[0],
        tenant_id=head[1],
        name=head[2],
        asset_class=head[3],
        state=head[4],
        sequence=head[5],
        settings=msgspec.json.decode(head[6], type=StrategySettings),
        limits=_limits(head[7]),
        part=head[8],
        version=head[9],
        archived=head[10],
    )
    if not proposed.empty:
        strategy = proposed.strategy(strategy)
        rows = proposed.applied(rows)
    said = msgspec.json.decode(head[14], type=TenantSettings)
    tenant = msgspec.structs.replace(
        _terms(head[11:14]), fx_rates=said.fx_rates, trading_day=said.trading_day
    )
    layers = _Layers(strategy, tenant, platform)
    subscribed = tuple(layers.subscribed(row) for row in rows)
    return Snapshot(
        strategy=strategy,
        tenant=tenant,
        platform=platform,
        rows=subscribed,
        calendars=layers.calendars(),
    )


class _Layers:
    """Resolves each combination of documents once: thousands of accounts share a few."""

    def __init__(self, strategy: Strategy, tenant: Terms, platform: Terms) -> None:
        self._strategy, self._tenant, self._platform = strategy, tenant, platform
        self._groups: dict[GroupID, Group] = {}
        self._settings: dict[tuple[GroupID | None, str], Resolved] = {}
        self._limits: dict[tuple[GroupID | None, Limits], EffectiveLimits] = {}

    def subscribed(self, row: Sequence[Any]) -> Subscribed:
        group, account = self._group(row[4:10]), _account(row[10:])
        return Subscribed(
            subscription_id=row[0],
            enabled=row[1],
            priority=row[2],
            settings=self._resolved(group, row[3]),
            limits=self._tightest(group, account.limits),
            account=account,
            group=group,
        )

    def calendars(self) -> frozenset[str]:
        return frozenset(
            window.calendar
            for resolved in self._settings.values()
            for window in resolved.trading_windows.value
            if window.calendar is not None
        )

    def _group(self, columns: Sequence[Any]) -> Group | None:
        identity = columns[0]
        if identity is None:
            return None
        if identity not in self._groups:
            self._groups[identity] = Group(
                group_id=identity,
                name=columns[1],
                state=columns[2],
                settings=_settings(columns[3]),
                limits=_limits(columns[4]),
                archived=columns[5],
            )
        return self._groups[identity]

    def _resolved(self, group: Group | None, own: str) -> Resolved:
        key = (group.group_id if group else None, own)
        if key not in self._settings:
            self._settings[key] = resolve(
                self._strategy.settings,
                group.settings if group else None,
                _settings(own),
                asset_class=self._strategy.asset_class,
            )
        return self._settings[key]

    def _tightest(self, group: Group | None, own: Limits) -> EffectiveLimits:
        key = (group.group_id if group else None, own)
        if key not in self._limits:
            self._limits[key] = limits_of(self._strategy, group, own, self._tenant, self._platform)
        return self._limits[key]


def _settings(text: str) -> SubscriptionSettings:
    return msgspec.json.decode(text, type=SubscriptionSettings)


def _shadow(row: Sequence[Any]) -> Shadow:
    return Shadow(subscription_id=row[0], twin=row[1], enabled=row[2], account=_account(row[3:]))


def _account(row: Sequence[Any]) -> Account:
    return Account(
        account_id=row[0],
        tenant_id=row[1],
        name=row[2],
        broker=row[3],
        currency=row[4],
        stated_equity=row[5],
        leverage=row[6],
        state=row[7],
        settings=json.loads(row[8]),
        part=row[9],
        group_id=row[10],
        limits=_limits(row[11]),
        archived=row[12],
        api_key=row[13],
        sealed=row[14],
    )
