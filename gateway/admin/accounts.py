"""Accounts: a client's at a broker, paper or live, with the limits that hold for it alone.

An account stays at its broker and in its currency: its orders, positions and limits are told in
them, and its credential is sealed for them. Another broker is another account.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin.changes import By, ObjectKind
from gateway.admin.credential_views import STATE_SQL, CredentialState
from gateway.admin.credentials import end_credentials
from gateway.admin.dangers import NONE, Layer, drift_danger, limits_danger, moved
from gateway.admin.errors import Forbidden
from gateway.admin.limits import require_limits_action
from gateway.admin.objects import Resource
from gateway.admin.paging import PageQuery
from gateway.admin.references import require_live, require_unused
from tenancy.account import check_dead_man
from tenancy.account_policy import OnDrift
from tenancy.errors import Invalid
from tenancy.limits import Limits
from tenancy.paper import LIVE_SQL, is_live
from tenancy.parameters import TradingState
from tenancy.protection import positive_members
from tenancy.store.documents import Table
from tenancy.store.resolvable import require_resolvable
from tenancy.subscription import SubscriptionSettings
from tenancy.values import PRINTABLE, Name, Positive, partition, whole

Currency = Annotated[str, Meta(pattern=whole("[A-Z]{3,5}"))]
Word = Annotated[str, Meta(min_length=1, max_length=50, pattern=whole(PRINTABLE + "+"))]
Setting = Annotated[str, Meta(max_length=200, pattern=whole(PRINTABLE + "*"))] | bool | int
BrokerSettings = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=50, pattern=whole(PRINTABLE + "+"))], Setting
    ],
    Meta(max_length=50),
]


class AccountDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people set about an account. `settings`: the broker's own; never a secret. `dead_man_s` in
    them, 5 to 3600: after so many seconds without us the broker cancels the account's open orders, where
    it can (docs/operating/execution.md).
    """

    name: Name
    broker: Word
    currency: Currency
    stated_equity: Positive | None = None
    """In the account's currency, for sizes by equity where the broker tells none."""
    leverage: Positive = Decimal(1)
    group_id: UUID | None = None
    settings: BrokerSettings = {}
    limits: Limits = Limits()
    on_drift: OnDrift | None = None
    """What is done when our book and the broker's differ; absent: what the tenant says."""

    def __post_init__(self) -> None:
        positive_members(self, "stated_equity", "leverage")
        check_dead_man(self.settings)


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """An account as it is. `live`: its orders move real money. `shadow_of`: of which account it is a twin."""

    account_id: UUID
    name: str
    broker: str
    currency: str
    stated_equity: Decimal | None
    leverage: Decimal
    group_id: UUID | None
    settings: dict[str, Any]
    limits: Limits
    on_drift: OnDrift | None
    live: bool
    shadow_of: UUID | None
    state: TradingState
    credential: CredentialState
    revision: int
    created_at: datetime
    archived_at: datetime | None


class AccountFilters(PageQuery, frozen=True, kw_only=True):
    """Which accounts."""

    name: str | None = None
    broker: str | None = None
    group_id: UUID | None = None
    archived: bool = False


async def _columns(by: By, object_id: Any, document: AccountDocument) -> Mapping[str, Any]:
    return {"part": partition(object_id)}


async def _check(by: By, before: AccountDocument | None, after: AccountDocument | None) -> None:
    require_limits_action(by, before, after)
    if before is None and after is not None and after.broker not in by.services.brokers:
        known = ", ".join(by.services.brokers)
        raise Invalid(
            f"broker: {after.broker!r} is not connected here; connected: {known}", field="broker"
        )
    if after is not None and after.group_id is not None and after.group_id != _group(before):
        await require_live(by, "group_id", after.group_id)
    if before is not None and after is not None and before.group_id != after.group_id:
        await _require_actions_to_move(by, before, after)


async def _require_actions_to_move(by: By, before: AccountDocument, after: AccountDocument) -> None:
    """Raises Forbidden where looser limits, or a release, come with the other group."""
    if by.proposal is not None:
        return
    facts = await _beside(by, before, after)
    wants = moved(before.limits, after.limits, facts["old"], facts["new"])
    needed = {"limits": "limits:write", "halt_release": "halts:write"}
    missing = sorted(needed[one] for one in wants if needed.get(one, "") not in ("", *by.actions))
    if missing:
        raise Forbidden(
            f"{', '.join(missing)} is needed too: the account leaves limits or a halt behind"
        )


def _group(document: AccountDocument | None) -> UUID | None:
    return None if document is None else document.group_id


async def _follow(
    by: By, object_id: str, before: AccountDocument | None, after: AccountDocument | None
) -> None:
    if after is None:
        await require_unused(by.conn, "account_id", object_id, "account")
        await end_credentials(by, UUID(object_id))
    elif before is not None and before.group_id != after.group_id:
        await require_resolvable(by.conn, account=UUID(object_id))


async def _beside(
    by: By, before: AccountDocument | None, after: AccountDocument | None
) -> Mapping[str, Any]:
    """Both groups of an account that goes from one to another."""
    if before is None or after is None or before.group_id == after.group_id:
        return {}
    return {
        "old": await _layer(by, before.group_id),
        "new": await _layer(by, after.group_id),
    }


async def _layer(by: By, group: UUID | None) -> Layer:
    query = "SELECT limits::text, settings::text, state FROM account_groups WHERE group_id = %s"
    row = await (await by.conn.execute(query, (group,))).fetchone()
    if row is None:
        return Layer()
    settings = msgspec.json.decode(row[1], type=SubscriptionSettings)
    return Layer(
        limits=msgspec.json.decode(row[0], type=Limits),
        needs_approval=settings.needs_approval,
        state=row[2],
    )


def _danger(
    before: AccountDocument | None, after: AccountDocument | None, facts: Mapping[str, Any]
) -> frozenset[str]:
    if after is None:
        return NONE
    if before is None:
        live = frozenset({"live"}) if is_live(after.broker) else NONE
        return live | drift_danger(None, after.on_drift)
    dangers = limits_danger(before, after) | _larger(before, after)
    dangers |= drift_danger(before.on_drift, after.on_drift)
    if "new" in facts:
        dangers |= moved(before.limits, after.limits, facts["old"], facts["new"])
    return dangers


def _larger(before: AccountDocument, after: AccountDocument) -> frozenset[str]:
    """`limits` where every order that is sized by equity becomes larger, or may: stated in place of
    what the broker tells, nobody knows which way."""
    was, will = before.stated_equity, after.stated_equity
    more_equity = will != was and (was is None or will is None or will > was)
    return frozenset({"limits"}) if more_equity or after.leverage > before.leverage else NONE


ACCOUNT: ObjectKind[AccountDocument] = ObjectKind(
    name="account",
    table=Table(
        noun="account",
        table="accounts",
        key="account_id",
        document=AccountDocument,
        facts=("live", "shadow_of", "state", "credential", "created_at", "archived_at"),
        json=frozenset({"settings", "limits"}),
        read_as={
            "live": LIVE_SQL,
            "credential": STATE_SQL,
        },
        fixed=frozenset({"broker", "currency"}),
        names={"accounts_name": "this account's name is in use in the tenant: choose another"},
    ),
    check=_check,
    columns=_columns,
    beside=_beside,
    danger=_danger,
    follow=_follow,
)

ACCOUNTS: Resource[AccountDocument] = Resource(
    kind=ACCOUNT,
    path="/v1/accounts",
    id_name="account_id",
    tag="Accounts",
    view=AccountView,
    resource="accounts",
    filters=AccountFilters,
    create=AccountDocument,
)

OPERATIONS = ACCOUNTS.operations()
