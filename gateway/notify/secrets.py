"""The secrets with which a channel's webhooks are signed: opened once by the signer, kept in memory.

At most two live: the newest, and the one before until its time is over.
"""

from __future__ import annotations

from collections import OrderedDict
from uuid import UUID

from gateway.hooks.registry import SecretOpener
from gateway.hooks.verify import read_secret
from tenancy.database import Connection
from tenancy.scope import TenantScope

PURPOSE = "channel"
OPEN_MOST = 10_000

_LIVE = """
SELECT secret_id, sealed FROM channel_secrets
WHERE channel_id = %s AND (expires_at IS NULL OR expires_at > now()) ORDER BY secret_id DESC LIMIT 2"""


class ChannelSecrets:
    """What has been opened. Never logged, never shown."""

    def __init__(self, opener: SecretOpener) -> None:
        self._opener = opener
        self._open: OrderedDict[UUID, bytes] = OrderedDict()

    def __repr__(self) -> str:
        return f"<ChannelSecrets {len(self._open)} open>"

    async def live(self, conn: Connection, scope: TenantScope, channel_id: UUID) -> list[bytes]:
        """The keys, newest first; none for a channel without a secret.

        Raises what the signer raises: Unavailable, or a refusal for good.
        """
        rows = await (await conn.execute(_LIVE, (channel_id,))).fetchall()
        return [await self._key(scope, secret_id, bytes(sealed)) for secret_id, sealed in rows]

    async def _key(self, scope: TenantScope, secret_id: UUID, sealed: bytes) -> bytes:
        if secret_id not in self._open:
            plain = await self._opener.open_secret(
                sealed, tenant_id=scope.tenant_id, subject=str(secret_id)
            )
            self._open[secret_id] = read_secret(plain)
        self._open.move_to_end(secret_id)
        while len(self._open) > OPEN_MOST:
            self._open.popitem(last=False)
        return self._open[secret_id]
