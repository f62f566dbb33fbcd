"""Shadows: a paper twin of a live subscription is made, and its fills are compared with the twin's.

The shadow is an account at `shadow-<broker>` and a subscription that names its twin. Neither copies a
setting: what holds for the twin holds for the shadow, now and after every change (fanout/shadows.py).

Making it, in one transaction, each write with its revision and audit record:

1. The account, with the currency and leverage of the live one, and what that is worth now as its
   stated equity: on paper profit does not compound.
2. The subscription, which from then on moves the strategy's version, so that the next plan knows it.

A crash before the commit leaves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec

from gateway.admin import changes
from gateway.admin.accounts import ACCOUNT, AccountDocument
from gateway.admin.changes import By, by
from gateway.admin.listing import Since, Until
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.references import require_live
from gateway.admin.shadow_report import ShadowReport, as_csv, period, report
from gateway.admin.subscriptions import (
    SUBSCRIPTION,
    SUBSCRIPTIONS,
    SubscriptionDocument,
    SubscriptionView,
)
from gateway.answers import Answer
from tenancy.database import Connection
from tenancy.errors import Conflict, Invalid, NotFound
from tenancy.ids import new_id
from tenancy.paper import is_live, shadow_broker

CSV = "text/csv"
NAME_MAX = 100
_MARK = " (shadow)"

_LIVE = """
SELECT u.strategy_id, u.account_id, u.shadow_of, a.name, a.broker, a.currency, a.leverage,
       a.stated_equity, b.equity,
       (SELECT s.subscription_id FROM subscriptions s WHERE s.shadow_of = u.subscription_id)
FROM subscriptions u JOIN accounts a USING (account_id)
LEFT JOIN balances b ON b.account_id = a.account_id AND b.currency = a.currency AND b.equity > 0
WHERE u.subscription_id = %s FOR KEY SHARE OF u"""
_PAIR = """
SELECT u.subscription_id, u.strategy_id, u.account_id, s.subscription_id, s.account_id, s.created_at
FROM subscriptions u LEFT JOIN subscriptions s ON s.shadow_of = u.subscription_id
WHERE u.subscription_id = %s"""


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The subscription whose shadow is wanted, and its account."""

    strategy_id: UUID
    account_id: UUID
    shadow_of: UUID | None
    name: str
    broker: str
    currency: str
    leverage: Decimal
    stated_equity: Decimal | None
    equity: Decimal | None
    """As the broker told it last, in the account's currency."""
    shadow: UUID | None

    def account(self) -> AccountDocument:
        """The shadow's. Raises Invalid where nobody knows what the live one is worth."""
        equity = self.equity if self.equity is not None else self.stated_equity
        if equity is None:
            raise Invalid(
                "stated_equity: the broker has told no equity of the live account yet, and none is"
                " stated: state one there, or wait until it is connected",
                field="stated_equity",
            )
        return AccountDocument(
            name=self.name[: NAME_MAX - len(_MARK)] + _MARK,
            broker=shadow_broker(self.broker),
            currency=self.currency,
            stated_equity=equity,
            leverage=self.leverage,
        )


class ReportQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which signals, and how to show them. Without a period: the last 30 days."""

    since: Since | None = None
    until: Until | None = None
    format: Literal["json", "csv"] | None = None


def require_can_have_one(live: Live, brokers: tuple[str, ...]) -> None:
    """Raises Conflict, Invalid."""
    if live.shadow_of is not None:
        raise Conflict("this subscription is a shadow itself: a shadow has none")
    if live.shadow is not None:
        raise Conflict(f"this subscription has a shadow already: {live.shadow}")
    if not is_live(live.broker):
        raise Invalid(
            f"broker: the account is at {live.broker!r}, which is paper already: only a live"
            " subscription has a shadow",
            field="broker",
        )
    if live.broker not in brokers:
        raise Invalid(
            f"broker: {live.broker!r} is not connected here, so nothing knows its prices",
            field="broker",
        )


async def _nothing_more(by: By, before: Any, after: Any) -> None:
    """A shadow's account and subscription were checked as what they are: `require_can_have_one`."""


_ACCOUNT = msgspec.structs.replace(ACCOUNT, check=_nothing_more)
_SUBSCRIPTION = msgspec.structs.replace(SUBSCRIPTION, check=_nothing_more, follow=None)


async def _make(call: Call) -> Result:
    twin = call.uuid("subscription_id")
    live = await _live(call.conn, twin)
    require_can_have_one(live, call.services.brokers)
    author = by(call)
    await require_live(author, "account_id", live.account_id)
    await require_live(author, "strategy_id", live.strategy_id)
    account = new_id()
    document = live.account()
    columns: Mapping[str, Any] = {"shadow_of": live.account_id}
    columns = {**await ACCOUNT.columns(author, account, document), **columns}
    await changes.create(author, _ACCOUNT, document, account, columns)
    follows = SubscriptionDocument(strategy_id=live.strategy_id, account_id=account)
    shadow, made = await changes.create(author, _SUBSCRIPTION, follows, extra={"shadow_of": twin})
    return await SUBSCRIPTIONS.answer(call, shadow, made, 201)


async def _live(conn: Connection, subscription: UUID) -> Live:
    row = await (await conn.execute(_LIVE, (subscription,))).fetchone()
    if row is None:
        raise NotFound(f"there is no subscription {subscription} in this tenant")
    return Live(**dict(zip(Live.__struct_fields__, row, strict=True)))


async def _report(call: Call) -> Result:
    query: ReportQuery = call.query
    asked = call.uuid("subscription_id")
    row = await (await call.conn.execute(_PAIR, (asked,))).fetchone()
    if row is None:
        raise NotFound(f"there is no subscription {asked} in this tenant")
    twin, strategy, account, shadow, shadow_account, created_at = row
    if shadow is None:
        raise NotFound("this subscription has no shadow: POST …/shadow makes one")
    since, until = period(query.since, query.until, created_at, call.services.clock.now())
    made = await report(
        call.conn, strategy, (twin, account), (shadow, shadow_account), since, until
    )
    if (query.format or _accepted(call.headers.get("accept", ""))) == "json":
        return Result(content=made)
    return Result(content=_file(made, since, until))


def _accepted(accept: str) -> str:
    """CSV where Accept names it first of the two."""
    for part in accept.split(","):
        media = part.partition(";")[0].strip().lower()
        if media in (CSV, "application/json"):
            return "csv" if media == CSV else "json"
    return "json"


def _file(made: ShadowReport, since: datetime, until: datetime) -> Answer:
    name = f"shadow-{since:%Y%m%d}-{until:%Y%m%d}.csv".encode()
    disposition = b'attachment; filename="%b"' % name
    return Answer(
        200, "report", as_csv(made), b"text/csv; charset=utf-8",
        ((b"content-disposition", disposition),),
    )  # fmt: skip


_ADDRESS = "/v1/subscriptions/{subscription_id}/shadow"

OPERATIONS = (
    Operation(
        name="create_shadow", method="POST", path=_ADDRESS, tag="Subscriptions",
        action="subscriptions:write",
        summary="Make the shadow of a live subscription: a twin that trades the same on paper.",
        detail="Its settings, limits and share of a block are the live one's, always. It ends with it.",
        handle=_make, status=201, answer=SubscriptionView,
        problems=("not_found", "conflict"),
    ),
    Operation(
        name="get_shadow_report", method="GET", path=f"{_ADDRESS}/report", tag="Subscriptions",
        action="orders:read",
        summary="Compare what a live subscription's orders got with what its shadow's got on paper.",
        detail="JSON, or with `format` (or Accept) a CSV file. At most 366 days and 10,000 rows: more is"
        " refused.",
        handle=_report, query=ReportQuery, answer=ShadowReport, media=(CSV,),
        problems=("not_found",),
    ),
)  # fmt: skip
