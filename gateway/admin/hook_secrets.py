"""A hook's signing secrets: made here, shown once, sealed; two live at most, so that a sender can change over.

`v1` (HMAC): 256 random bits of ours, encrypted to the enrol token before they are anywhere else.
`url_token` (TradingView): 256 random bits that stand in the address; only their hash is kept.
`v1a` (Ed25519): the sender's public key; there is no secret to keep. A new one lets those before it
go on for the overlap and no longer; a revoked one ends at once. Ingress compares every second.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin import changes
from gateway.admin.changes import By, ObjectKind
from gateway.admin.sealing import seal_hook_secret
from gateway.hooks.tradingview import token_digest
from tenancy.database import Connection
from tenancy.errors import Conflict, Invalid
from tenancy.ids import new_id
from tenancy.rules import NULL, Schema, given
from tenancy.store import documents
from tenancy.store.documents import Stored, Table

LIVE_MOST = 2
Scheme = Literal["v1", "v1a", "url_token"]
SCHEMES: Mapping[str, tuple[Scheme, ...]] = {
    "standard_webhooks": ("v1", "v1a"),
    "tradingview": ("url_token",),
}
"""By the hook's sender, the usual one first."""
PublicKey = Annotated[
    str,
    Meta(max_length=44, extra_json_schema={"pattern": "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$"}),
]
"""32 bytes in standard base64."""


class HookSecretDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a signing secret is no secret. It is never changed, only replaced."""

    hook_id: str
    scheme: Scheme = "v1"
    public_key: PublicKey | None = None
    """Of v1a: 32 bytes, base64."""

    def __post_init__(self) -> None:
        if (self.scheme == "v1a") != (self.public_key is not None):
            raise ValueError("public_key: v1a needs it, and no other scheme has one")
        if self.public_key is None:
            return
        try:
            known = len(base64.b64decode(self.public_key, validate=True)) == 32
        except (binascii.Error, ValueError):
            known = False
        if not known:
            raise ValueError("public_key: an Ed25519 public key is 32 bytes in standard base64")


class HookSecretView(msgspec.Struct, frozen=True, kw_only=True):
    """One secret, without the secret. Live until `expires_at`, unless it was revoked."""

    secret_id: UUID
    scheme: Scheme
    public_key: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewHookSecret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`overlap_minutes`: how long the secrets before this one go on; 0: not a moment."""

    overlap_minutes: Annotated[int, Meta(ge=0, le=43_200)] = 1440
    scheme: Scheme = "v1"
    public_key: PublicKey | None = None

    rules: ClassVar[Schema] = {
        "oneOf": [
            given("scheme", "public_key", scheme={"const": "v1a"}),
            given(scheme={"enum": ["v1", "url_token"]}, public_key=NULL),
        ]
    }


HOOK_SECRET: ObjectKind[HookSecretDocument] = ObjectKind(
    name="hook_secret",
    table=Table(
        noun="hook secret",
        table="hook_secrets",
        key="secret_id",
        document=HookSecretDocument,
        facts=("created_at", "expires_at", "revoked_at"),
        read_as={"public_key": "encode(public_key, 'base64')"},
        write_as={"public_key": "decode(%s, 'base64')"},
        fixed=frozenset({"hook_id", "scheme", "public_key"}),
        archived="revoked_at",
    ),
)


def show(stored: Stored[HookSecretDocument]) -> HookSecretView:
    """Without anything that signs."""
    return HookSecretView(
        secret_id=UUID(stored.object_id),
        scheme=stored.document.scheme,
        public_key=stored.document.public_key,
        **stored.facts,
    )


async def add(by: By, hook_id: str, wanted: NewHookSecret) -> tuple[UUID, str | None]:
    """A new secret beside the old; its id, and its text where we made one. The hook's row is locked.

    Raises Conflict where two are live and shall go on, Unavailable, Invalid.
    """
    document = _document(hook_id, wanted)
    await _let_expire(by, hook_id, wanted.overlap_minutes)
    secret_id = new_id()
    text: str | None = None
    extra: dict[str, bytes] = {}
    if document.scheme == "v1":
        text = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        extra["sealed"] = await seal_hook_secret(by.services, by.scope.tenant_id, secret_id, text)
    elif document.scheme == "url_token":
        text = secrets.token_urlsafe(32)
        extra["token_sha256"] = token_digest(text)
    await changes.create(by, HOOK_SECRET, document, secret_id, extra)
    return secret_id, text


def _document(hook_id: str, wanted: NewHookSecret) -> HookSecretDocument:
    try:
        return HookSecretDocument(
            hook_id=hook_id, scheme=wanted.scheme, public_key=wanted.public_key
        )
    except ValueError as error:
        raise Invalid(str(error), field="public_key") from None


async def _let_expire(by: By, hook_id: str, overlap_minutes: int) -> None:
    """The secrets before a new one go on for the overlap at most."""
    now = by.services.clock.now()
    live = await _live(by.conn, hook_id, now)
    if overlap_minutes and len(live) >= LIVE_MOST:
        raise Conflict(
            f"{LIVE_MOST} secrets of this hook are live: revoke the one that no sender uses, wait"
            " until it expires, or ask for an overlap of 0 minutes, which ends both at once"
        )
    end = now + timedelta(minutes=overlap_minutes)
    for one in live:
        if one.facts["expires_at"] is None or one.facts["expires_at"] > end:
            await changes.put_fact(by, HOOK_SECRET, one, "expires_at", end, frozenset())


async def end_all(by: By, hook_id: str) -> None:
    """Every live secret of the hook, now."""
    for one in await _live(by.conn, hook_id, by.services.clock.now()):
        await changes.put_fact(
            by, HOOK_SECRET, one, "expires_at", by.services.clock.now(), frozenset()
        )


async def _live(conn: Connection, hook_id: str, now: datetime) -> list[Stored[HookSecretDocument]]:
    rows = await conn.execute(
        "SELECT secret_id FROM hook_secrets WHERE hook_id = %s AND revoked_at IS NULL"
        " AND (expires_at IS NULL OR expires_at > %s) ORDER BY created_at",
        (hook_id, now),
    )
    return [await documents.read(conn, HOOK_SECRET.table, row[0]) for row in await rows.fetchall()]
