"""How a shadow ends: with its twin's subscription, or when its own is deleted.

In the transaction of the deletion, each with a revision and an audit record of its own:

1. The shadow's account is locked before anything is written, for accounts are locked before strategies.
2. The shadow's subscription is deleted.
3. Its account is archived. What it still holds or waits for on paper stays as it is, for nobody's
   money is in it; its fills stay for reports and audits.

All of it commits together or not at all; a crash before leaves twin and shadow as they were.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from gateway.admin import changes
from gateway.admin.accounts import ACCOUNT
from gateway.admin.changes import By, ObjectKind
from tenancy.database import Connection
from tenancy.store import documents

_LOCK = """
SELECT FROM accounts WHERE account_id IN (
    SELECT s.account_id FROM subscriptions u JOIN subscriptions s ON s.shadow_of = u.subscription_id
    WHERE u.strategy_id = %s AND u.account_id = %s)
FOR NO KEY UPDATE"""
_SHADOW = "SELECT subscription_id FROM subscriptions WHERE shadow_of = %s"
_ITS_ACCOUNT = """
SELECT account_id FROM accounts
WHERE account_id = %s AND shadow_of IS NOT NULL AND archived_at IS NULL"""

_RETIRED = msgspec.structs.replace(ACCOUNT, follow=None)
"""An account that is archived whatever it holds."""


async def lock_shadow(conn: Connection, strategy: UUID, account: UUID) -> None:
    """Before the deletion of this account's subscription, which moves the strategy."""
    await conn.execute(_LOCK, (strategy, account))


async def end_shadow(by: By, subscription: ObjectKind[Any], object_id: str, account: UUID) -> None:
    """After the deletion of a subscription: its shadow, if it has one; its account, if it was one."""
    row = await (await by.conn.execute(_SHADOW, (object_id,))).fetchone()
    if row is not None:
        stored = await documents.read(by.conn, subscription.table, row[0], lock=True)
        await changes.remove(by, subscription, stored)
    row = await (await by.conn.execute(_ITS_ACCOUNT, (account,))).fetchone()
    if row is not None:
        retired = await documents.read(by.conn, ACCOUNT.table, row[0], lock=True)
        await changes.remove(by, _RETIRED, retired)
