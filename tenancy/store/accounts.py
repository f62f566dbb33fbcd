"""SQL of accounts and their credentials: what a broker calls the key, and the sealed secret."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import psycopg

from tenancy.database import Connection
from tenancy.errors import Invalid
from tenancy.ids import new_id
from tenancy.scope import TenantScope
from tenancy.values import AccountID, partition

_INSERT = """
INSERT INTO accounts (account_id, tenant_id, name, broker, currency, stated_equity, leverage,
                      settings, part)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s)"""


async def create_account(
    conn: Connection,
    scope: TenantScope,
    name: str,
    *,
    broker: str,
    currency: str,
    stated_equity: Decimal | None = None,
    leverage: Decimal = Decimal(1),
    settings: dict[str, Any] | None = None,
) -> AccountID:
    """A new account, without a credential. Raises Invalid: name in use, or a value out of range."""
    account = AccountID(new_id())
    try:
        await conn.execute(
            _INSERT,
            (
                account, scope.tenant_id, name, broker, currency, stated_equity, leverage,
                json.dumps(settings or {}), partition(account),
            ),
        )  # fmt: skip
    except psycopg.errors.UniqueViolation:
        raise Invalid(f"account name {name!r} is in use in this tenant") from None
    except psycopg.errors.CheckViolation as error:
        raise Invalid(f"account {name!r}: {error.diag.constraint_name} does not hold") from None
    return account


async def put_credential(
    conn: Connection,
    scope: TenantScope,
    account: AccountID,
    *,
    broker: str,
    api_key: str,
    sealed: bytes,
    test_order: bool = False,
) -> None:
    """One that a worker will prove; it takes the place of another that waits for that."""
    await conn.execute(
        "UPDATE credentials SET revoked_at = now()"
        " WHERE account_id = %s AND revoked_at IS NULL AND state = 'proving'",
        (account,),
    )
    await conn.execute(
        "INSERT INTO credentials"
        " (credential_id, tenant_id, account_id, broker, api_key, sealed, test_order)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (new_id(), scope.tenant_id, account, broker, api_key, sealed, test_order),
    )
