"""Which rows of a tenant are sealed, and under which version of its keys: what a retirement has to wait for.

The one list of tables that keep sealed rows; a test compares it with the database's columns. What is
revoked or expired is not counted: it must not open any more, and with its key it cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from hsm.envelope import unpack
from hsm.errors import SealBroken
from tenancy.database import Connection

Source = Literal[
    "credential",
    "waiting_credential",
    "hook_secret",
    "channel_secret",
    "push_key",
    "factor",
    "audit_key",
]

SOURCES: dict[Source, str] = {
    "credential": "SELECT credential_id::text, account_id::text, sealed FROM credentials"
    " WHERE revoked_at IS NULL ORDER BY 1",
    "waiting_credential": "SELECT credential_id::text, account_id::text, sealed"
    " FROM waiting_credentials ORDER BY 1",
    "hook_secret": "SELECT secret_id::text, hook_id::text, sealed FROM hook_secrets"
    " WHERE sealed IS NOT NULL AND revoked_at IS NULL"
    " AND (expires_at IS NULL OR expires_at > now()) ORDER BY 1",
    "channel_secret": "SELECT secret_id::text, channel_id::text, sealed FROM channel_secrets"
    " WHERE expires_at IS NULL OR expires_at > now() ORDER BY 1",
    "push_key": "SELECT key_id::text, key_id::text, sealed FROM push_keys ORDER BY 1",
    "factor": "SELECT factor_id::text, person_id::text, sealed FROM factors"
    " WHERE sealed IS NOT NULL ORDER BY 1",
    "audit_key": "SELECT tenant_id::text, tenant_id::text, sealed FROM audit_keys"
    " WHERE coalesce(keeper, tenant_id) = portcullis_tenant()",
}
BY_ITSELF: frozenset[Source] = frozenset({"audit_key", "channel_secret", "factor", "push_key"})
"""What is sealed anew without anybody's help (gateway/admin/resealing.py)."""
UNREADABLE = 0
"""The version of a row that this code cannot read: it keeps every version from being retired."""


class SealedRow(msgspec.Struct, frozen=True):
    """`object_id`: the row's own; `owner_id`: its account, hook, channel, push key, person or tenant."""

    source: Source
    object_id: str
    owner_id: str
    kek_version: int
    sealed: bytes

    def __repr__(self) -> str:
        return f"<SealedRow {self.source} {self.object_id}, KEK v{self.kek_version}>"


async def read(conn: Connection) -> list[SealedRow]:
    """All of the tenant's, in its scope."""
    rows: list[SealedRow] = []
    for source, query in SOURCES.items():
        cursor = await conn.execute(query.encode())
        rows += [SealedRow(source, a, b, version(c), c) for a, b, c in await cursor.fetchall()]
    return rows


def version(sealed: bytes) -> int:
    """The KEK version that the row names, unverified; UNREADABLE for what is no row of ours."""
    try:
        return unpack(sealed).kek_version
    except SealBroken:
        return UNREADABLE


def below(rows: Sequence[SealedRow], current: int) -> list[SealedRow]:
    """Those to enrol anew: sealed under an older version than the current one."""
    return [row for row in rows if UNREADABLE < row.kek_version < current]


def needing(rows: Sequence[SealedRow], version: int) -> list[SealedRow]:
    """Those that would not open without that version, and those of which nobody knows."""
    return [row for row in rows if row.kek_version in (version, UNREADABLE)]
