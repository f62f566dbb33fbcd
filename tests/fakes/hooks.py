"""A tenant with a strategy and a hook in a real database, and the parts of an ingress around it.

Only the signer is a stand-in: the opener "opens" by reversing bytes.
"""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import psycopg
from standardwebhooks import Webhook

from tenancy.errors import Unavailable
from tenancy.ids import new_hook_id, new_id
from tenancy.values import TenantID, partition

BASE_URL = "https://manage.example:8443"
BODY = b'{"ticker":"BTC_USDT","action":"buy","quantity":2}'


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


class SeededHook(msgspec.Struct):
    """What a test's sender knows."""

    hook_id: str
    tenant_id: UUID
    strategy_id: UUID
    secret: str

    @property
    def path(self) -> str:
        return f"/v1/hooks/{self.hook_id}"


class ReversingOpener:
    """A signer that seals by reversing. `away` makes it fail; `opened` lists the subjects."""

    def __init__(self) -> None:
        self.away = False
        self.opened: list[str] = []

    async def open_secret(self, sealed: bytes, *, tenant_id: TenantID, subject: str) -> bytes:
        if self.away:
            raise Unavailable("the signer is away")
        self.opened.append(subject)
        return sealed[::-1]


def seed_hook(superuser: str, *, name: str = "t", sender: str = "standard_webhooks") -> SeededHook:
    """A tenant, a strategy, a hook and one v1 secret, committed."""
    seeded = SeededHook(new_hook_id(), new_id(), new_id(), new_secret())
    with psycopg.connect(superuser, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO tenants (tenant_id, name) VALUES (%s, %s)", (seeded.tenant_id, name)
        )
        conn.execute(
            "INSERT INTO strategies (strategy_id, tenant_id, name, part) VALUES (%s, %s, 's', %s)",
            (seeded.strategy_id, seeded.tenant_id, partition(seeded.strategy_id)),
        )
        conn.execute(
            "INSERT INTO hooks (hook_id, tenant_id, strategy_id, sender) VALUES (%s, %s, %s, %s)",
            (seeded.hook_id, seeded.tenant_id, seeded.strategy_id, sender),
        )
    add_secret(superuser, seeded, seeded.secret)
    return seeded


def add_secret(
    superuser: str, hook: SeededHook, secret: str, expires_at: datetime | None = None
) -> UUID:
    secret_id = new_id()
    with psycopg.connect(superuser, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO hook_secrets (secret_id, hook_id, tenant_id, scheme, sealed, expires_at)"
            " VALUES (%s, %s, %s, 'v1', %s, %s)",
            (secret_id, hook.hook_id, hook.tenant_id, secret.encode()[::-1], expires_at),
        )
    return secret_id


def signed(
    secret: str, body: bytes, *, message_id: str | None = None, at: datetime | None = None
) -> dict[str, str]:
    """Headers as the `standardwebhooks` package makes them: an independent sender."""
    message_id = message_id or f"msg_{secrets.token_hex(12)}"
    at = at or datetime.now(UTC)
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body.decode()),
    }
