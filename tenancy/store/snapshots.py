"""SQL of a strategy's snapshot, read so that its version is true of every row in it.

1. Read the version, then everything, then the version again.
2. Are the two one, nothing was committed in between, for each change moves the version in its own
   transaction. Else begin again.

`Version` says whether a kept snapshot still holds: one short statement for each signal.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from tenancy.account import Account
from tenancy.database import Connection
from tenancy.effective import Resolved, resolve
from tenancy.errors import NotFound, Unavailable
from tenancy.limits import EffectiveLimits, Limits, tightest
from tenancy.snapshot import Snapshot, Subscribed
from tenancy.strategy import Strategy, StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.tenant import Terms
from tenancy.values import AccountID, StrategyID

TRIES = 5

_VERSION = """
SELECT s.version, p.state, p.limits, p.revision
FROM strategies s LEFT JOIN platform_terms() p ON true WHERE s.strategy_id = %s"""

_HEAD = """
SELECT s.strategy_id, s.tenant_id, s.name, s.asset_class, s.state, s.sequence, s.settings::text,
       s.limits::text, s.part, s.version, s.archived_at IS NOT NULL,
       t.state, t.limits::text, t.revision
FROM strategies s JOIN tenants t USING (tenant_id) WHERE s.strategy_id = %s"""

_ACCOUNT_COLUMNS = """
    a.account_id, a.tenant_id, a.name, a.broker, a.currency, a.stated_equity, a.leverage, a.state,
    a.settings::text, a.part, a.group_id, a.limits::text, a.archived_at IS NOT NULL,
    c.api_key, c.sealed"""

_ROWS = f"""
SELECT u.subscription_id, u.enabled, u.priority, u.settings::text,
       g.state, g.settings::text, g.limits::text, g.archived_at IS NOT NULL, {_ACCOUNT_COLUMNS}
FROM subscriptions u JOIN accounts a USING (account_id)
LEFT JOIN account_groups g USING (group_id)
LEFT JOIN credentials c ON c.account_id = a.account_id AND c.revoked_at IS NULL
WHERE u.strategy_id = %s ORDER BY u.priority, u.subscription_id"""  # noqa: S608 - constants only

_ACCOUNTS = f"""
SELECT {_ACCOUNT_COLUMNS} FROM accounts a
LEFT JOIN credentials c ON c.account_id = a.account_id AND c.revoked_at IS NULL
WHERE a.account_id = ANY(%b::uuid[])"""  # noqa: S608 - constants only


class Version(msgspec.Struct, frozen=True):
    """What people set up has not changed while this has not."""

    strategy: int
    platform: Terms


async def read_version(conn: Connection, strategy: StrategyID) -> Version:
    """The version that holds now. Raises NotFound."""
    row = await (await conn.execute(_VERSION, (strategy,))).fetchone()
    return _version(row, strategy)


async def read_snapshot(conn: Connection, strategy: StrategyID) -> Snapshot:
    """The whole snapshot, of one version. Raises NotFound, Unavailable where changes do not cease."""
    for _ in range(TRIES):
        async with conn.pipeline():  # one round trip
            before = await conn.execute(_VERSION, (strategy,))
            head = await conn.execute(_HEAD, (strategy,))
            rows = await conn.execute(_ROWS, (strategy,))
            after = await conn.execute(_VERSION, (strategy,))
        version = _version(await before.fetchone(), strategy)
        found = await head.fetchone()
        if found is not None and version == _version(await after.fetchone(), strategy):
            return _snapshot(found, await rows.fetchall(), version.platform)
    raise Unavailable(f"the settings of strategy {strategy} change faster than they can be read")


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


def _snapshot(head: Sequence[Any], rows: Sequence[Sequence[Any]], platform: Terms) -> Snapshot:
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
    tenant = _terms(head[11:14])
    layers = _Layers(strategy, tenant, platform)
    return Snapshot(
        strategy=strategy,
        tenant=tenant,
        platform=platform,
        rows=tuple(
            Subscribed(
                subscription_id=row[0],
                enabled=row[1],
                priority=row[2],
                settings=layers.settings(row[5], row[3]),
                limits=layers.limits(row[6], row[19]),
                account=_account(row[8:]),
                group_state=row[4] or "active",
                group_archived=row[7],
            )
            for row in rows
        ),
    )


class _Layers:
    """Resolves each combination of documents once: thousands of accounts share a few."""

    def __init__(self, strategy: Strategy, tenant: Terms, platform: Terms) -> None:
        self._strategy, self._tenant, self._platform = strategy, tenant, platform
        self._settings: dict[tuple[str | None, str], Resolved] = {}
        self._limits: dict[tuple[str | None, str], EffectiveLimits] = {}

    def settings(self, group: str | None, subscription: str) -> Resolved:
        found = self._settings.get((group, subscription))
        if found is None:
            found = resolve(
                self._strategy.settings,
                None if group is None else _settings(group),
                _settings(subscription),
                asset_class=self._strategy.asset_class,
            )
            self._settings[group, subscription] = found
        return found

    def limits(self, group: str | None, account: str) -> EffectiveLimits:
        found = self._limits.get((group, account))
        if found is None:
            found = tightest(
                (
                    ("platform", self._platform.limits),
                    ("tenant", self._tenant.limits),
                    ("strategy", self._strategy.limits),
                    ("group", Limits() if group is None else _limits(group)),
                    ("account", _limits(account)),
                )
            )
            self._limits[group, account] = found
        return found


def _settings(text: str) -> SubscriptionSettings:
    return msgspec.json.decode(text, type=SubscriptionSettings)


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
