"""What channels and devices are served with, opened once by the signer and kept in memory.

A webhook's signing secret (at most two live: the newest, and the one before until its time is over), a Slack-style
channel's address, and the private half of a tenant's push key. All three are sealed rows of purpose `channel`.
"""

from __future__ import annotations

from collections import OrderedDict
from uuid import UUID

from gateway.hooks.registry import SecretOpener
from gateway.hooks.verify import read_secret
from tenancy.database import Connection
from tenancy.scope import TenantScope
from tenancy.secrecy import Plain

PURPOSE = "channel"
OPEN_MOST = 10_000

_LIVE = """
SELECT secret_id, sealed FROM channel_secrets
WHERE channel_id = %s AND (expires_at IS NULL OR expires_at > now()) ORDER BY secret_id DESC LIMIT %s"""


class ChannelSecrets:
    """What has been opened. Never logged, never shown."""

    def __init__(self, opener: SecretOpener) -> None:
        self._opener = opener
        self._open: OrderedDict[UUID, Plain] = OrderedDict()

    def __repr__(self) -> str:
        return f"<ChannelSecrets {len(self._open)} open>"

    async def live(self, conn: Connection, scope: TenantScope, channel_id: UUID) -> list[bytes]:
        """A webhook's keys, newest first; none for a channel without a secret.

        Raises what the signer raises: Unavailable, or a refusal for good.
        """
        rows = await (await conn.execute(_LIVE, (channel_id, 2))).fetchall()
        return [await self._key(scope, secret_id, bytes(sealed)) for secret_id, sealed in rows]

    async def address(self, conn: Connection, scope: TenantScope, channel_id: UUID) -> Plain | None:
        """A Slack-style channel's, in full; None where nobody has set one. Raises as live() does."""
        row = await (await conn.execute(_LIVE, (channel_id, 1))).fetchone()
        return None if row is None else await self.plain(scope, row[0], bytes(row[1]))

    async def plain(self, scope: TenantScope, secret_id: UUID, sealed: bytes) -> Plain:
        """What was sealed under that id. Raises as live() does."""
        if secret_id not in self._open:
            self._open[secret_id] = Plain(
                await self._opener.open_secret(
                    sealed, tenant_id=scope.tenant_id, subject=str(secret_id)
                )
            )
        self._open.move_to_end(secret_id)
        while len(self._open) > OPEN_MOST:
            self._open.popitem(last=False)
        return self._open[secret_id]

    async def _key(self, scope: TenantScope, secret_id: UUID, sealed: bytes) -> bytes:
        return read_secret(await self.plain(scope, secret_id, sealed))
