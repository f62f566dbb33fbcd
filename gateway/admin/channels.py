"""Notification channels: who is told what of the tenant's audit log, and how far each has been told.

A webhook's secret is made here, sealed by the HSM and shown once. A new one is beside the old one
for a while, both sign, and the receiver changes over when it likes. A Slack-style channel's address is its
secret: it is put beside the channel, sealed the same way, and never shown again, not in a version either.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from audit.record import Kind
from gateway.admin import changes
from gateway.admin.changes import By, ObjectKind, by
from gateway.admin.objects import Proposed, Resource
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import PageQuery
from gateway.events import NAMES
from gateway.notify.device import Device
from gateway.notify.secrets import PURPOSE
from hsm.enrol import encrypt_secret
from tenancy.channel import Channel, ChannelKind, Severity, check_url
from tenancy.errors import Conflict, Invalid
from tenancy.ids import new_id
from tenancy.store.documents import Stored, Table

CHANNELS_MOST = 50
TESTS_AT_ONCE = 4
ADDRESS_MOST = 256
"""Characters: what the HSM seals as one secret (hsm/enrol.py)."""
_tests = asyncio.Semaphore(TESTS_AT_ONCE)

_COUNT = "SELECT count(*) FROM channels WHERE archived_at IS NULL"
_KEEP_SEALED = """
INSERT INTO channel_secrets (secret_id, channel_id, tenant_id, sealed) VALUES (%s, %s, %s, %s)
RETURNING created_at"""
_NEWEST = """
SELECT secret_id FROM channel_secrets WHERE channel_id = %s AND (expires_at IS NULL OR expires_at > now())
ORDER BY secret_id DESC LIMIT 1"""
_END_OLDER = """
UPDATE channel_secrets SET expires_at = least(expires_at,
    CASE WHEN secret_id = %(newest)s THEN now() + make_interval(hours => %(hours)s) ELSE now() END)
WHERE channel_id = %(channel_id)s"""
_ANEW = """
UPDATE channel_deliveries SET state = 'working', attempts = 0, failed_since = NULL, next_at = now(),
    fence = fence + 1, lease_until = now()
WHERE channel_id = %s"""
_DELIVERY = """
SELECT d.state, d.next_index, coalesce(n.log_size, 0) AS log_size, d.attempts, d.failed_since,
       d.next_at, d.last_error, d.last_attempt_at, d.last_success_at,
       (SELECT max(s.created_at) FROM channel_secrets s WHERE s.channel_id = d.channel_id
        AND (s.expires_at IS NULL OR s.expires_at > now()))
FROM channel_deliveries d
LEFT JOIN audit_logs l ON l.tenant_id = d.tenant_id
LEFT JOIN LATERAL (SELECT max(v.i) + 1 AS log_size FROM audit_leaves v WHERE v.log_id = l.log_id) n
       ON true
WHERE d.channel_id = %s"""


class ChannelView(msgspec.Struct, frozen=True, kw_only=True):
    """A channel as it is."""

    channel_id: UUID
    name: str
    kind: ChannelKind
    enabled: bool
    url: str | None
    recipients: tuple[str, ...]
    events: tuple[str, ...]
    severity: Severity
    digest_minutes: int
    revision: int
    created_at: datetime
    archived_at: datetime | None


class ChannelFilters(PageQuery, frozen=True, kw_only=True):
    """Which channels."""

    name: str | None = None
    kind: ChannelKind | None = None
    archived: bool = False


class NewSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how many hours the secret before goes on signing beside the new one."""

    overlap_hours: Annotated[int, Meta(ge=0, le=168)] = 24


class SecretView(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that was made; its text is in this answer alone."""

    secret_id: UUID
    channel_id: UUID
    created_at: datetime


class NewAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The incoming webhook's URL, as the chat gave it: https, ADDRESS_MOST characters at most."""

    url: Annotated[str, Meta(min_length=1, max_length=ADDRESS_MOST)]

    def __repr__(self) -> str:
        return "NewAddress(…)"


class TestResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a test message. `excerpt`: how the other side's answer begins."""

    delivered: bool
    text: str
    status: int | None
    excerpt: str


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """How far the channel has been told, and what went wrong last.

    `next_index`: the first record of the log that it was not told; `lag`: how many there are.
    `state`: working; failing, which goes on slowly; gone, where the receiver wants no more (410)
    and nothing is sent until the channel is changed. `secret_at`: since when there is the secret (or, of a
    Slack-style channel, the address) that is used.
    """

    state: str
    next_index: int
    log_size: int
    lag: int
    attempts: int
    failed_since: datetime | None
    next_at: datetime
    last_error: str | None
    last_attempt_at: datetime | None
    last_success_at: datetime | None
    secret_at: datetime | None


async def _check(by: By, before: Channel | None, after: Channel | None) -> None:
    if after is None:
        return
    unknown = set(after.events) - NAMES
    if unknown:
        known = ", ".join(sorted(NAMES))
        raise Invalid(
            f"events: {', '.join(sorted(unknown))}: no such type; there are {known}", field="events"
        )
    if before is None:
        row = await (await by.conn.execute(_COUNT)).fetchone()
        if row is not None and row[0] >= CHANNELS_MOST:
            raise Conflict(f"a tenant has at most {CHANNELS_MOST} channels: archive one first")


CHANNEL: ObjectKind[Channel] = ObjectKind(
    name="channel",
    table=Table(
        noun="channel",
        table="channels",
        key="channel_id",
        document=Channel,
        facts=("created_at", "archived_at"),
        fixed=frozenset({"kind"}),
        names={"channels_name": "this channel's name is in use in the tenant: choose another"},
    ),
    check=_check,
)

CHANNELS: Resource[Channel] = Resource(
    kind=CHANNEL,
    path="/v1/channels",
    id_name="channel_id",
    tag="Channels",
    view=ChannelView,
    resource="channels",
    filters=ChannelFilters,
)


async def _create(call: Call) -> Result:
    """The object, then its secret: both in this transaction, so there is never one without the other."""
    document: Channel = call.body
    channel_id, made = await changes.create(by(call), CHANNEL, document)
    result = await CHANNELS.answer(call, channel_id, made, 201)
    if made.proposal is not None or document.kind != "webhook":
        return result
    _, text, _ = await _make_secret(call, UUID(channel_id))
    return msgspec.structs.replace(result, once={"secret": text})


async def _make_secret(call: Call, channel_id: UUID) -> tuple[UUID, str, datetime]:
    """A secret of 256 bits, sealed and kept. Raises Unavailable where the enroller is away."""
    text = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    secret_id, created_at = await _keep(call, channel_id, text)
    return secret_id, text, created_at


async def _keep(call: Call, channel_id: UUID, text: str) -> tuple[UUID, datetime]:
    """Seal it and keep it as the channel's newest; its id, and since when. Raises Unavailable."""
    secret_id = new_id()
    enroller = call.services.enroller
    ciphertext = encrypt_secret(await enroller.public_key_pem(), text.encode())
    tenant = call.scope.tenant_id
    sealed = await enroller.seal_secret(tenant, str(secret_id), PURPOSE, ciphertext)
    cursor = await call.conn.execute(_KEEP_SEALED, (secret_id, channel_id, tenant, sealed))
    row = await cursor.fetchone()
    assert row is not None
    return secret_id, row[0]


async def _rotate(call: Call) -> Result:
    stored = await _live(call, lock=True)
    if stored.document.kind != "webhook":
        raise Conflict(f"a channel of kind {stored.document.kind} signs nothing: it has no secret")
    channel_id = UUID(stored.object_id)
    newest = await (await call.conn.execute(_NEWEST, (channel_id,))).fetchone()
    if newest is not None:
        hours = call.body.overlap_hours
        values = {"newest": newest[0], "hours": hours, "channel_id": channel_id}
        await call.conn.execute(_END_OLDER, values)
    secret_id, text, created_at = await _make_secret(call, channel_id)
    facts = {
        "object": "channel", "id": stored.object_id, "secret_id": str(secret_id),
        "overlap_hours": call.body.overlap_hours, "why": call.why,
    }  # fmt: skip
    await changes.record_change(by(call), Kind.KEY_ROTATION, facts)
    view = SecretView(secret_id=secret_id, channel_id=channel_id, created_at=created_at)
    return Result(content=view, once={"secret": text})


async def _put_address(call: Call) -> Result:
    """The one before ends at once, and so does the turn of whoever has it in hand."""
    stored = await _live(call, lock=True)
    if stored.document.kind != "slack":
        raise Conflict(
            f"the address of a channel of kind {stored.document.kind} is no secret: PATCH it"
        )
    try:
        check_url(call.body.url)
    except ValueError as error:
        raise Invalid(str(error), field="url") from None
    channel_id = UUID(stored.object_id)
    values = {"newest": None, "hours": 0, "channel_id": channel_id}
    await call.conn.execute(_END_OLDER, values)
    secret_id, created_at = await _keep(call, channel_id, call.body.url)
    await call.conn.execute(_ANEW, (channel_id,))
    facts = {
        "object": "channel", "id": stored.object_id, "secret_id": str(secret_id), "why": call.why,
    }  # fmt: skip
    await changes.record_change(by(call), Kind.KEY_ROTATION, facts)
    view = SecretView(secret_id=secret_id, channel_id=channel_id, created_at=created_at)
    return Result(content=view)


async def _test(call: Call) -> Result:
    """Not a repeat of anything: the receiver gets a fresh id, and the channel's place stays."""
    stored = await _live(call)
    return Result(content=await tested(call, UUID(stored.object_id), stored.document))


async def tested(call: Call, target_id: UUID, target: Channel | Device) -> TestResult:
    """What comes of a test message to a channel, or to somebody's device."""
    sender = call.services.notifier
    if sender is None:
        text = "this process sends no notifications"
        return TestResult(delivered=False, text=text, status=None, excerpt="")
    async with _tests:
        outcome = await sender.test(call.conn, call.scope, target_id, target)
    return TestResult(
        delivered=outcome.delivered,
        text=outcome.text,
        status=outcome.status,
        excerpt=outcome.excerpt,
    )


async def _deliveries(call: Call) -> Result:
    stored = await CHANNELS.stored(call)
    row = await (await call.conn.execute(_DELIVERY, (stored.object_id,))).fetchone()
    assert row is not None, "a trigger makes the row with the channel"
    values: dict[str, Any] = dict(zip(_DELIVERY_COLUMNS, row, strict=True))
    lag = max(0, values["log_size"] - values["next_index"])
    return Result(content=Delivery(lag=lag, **values))


_DELIVERY_COLUMNS = (
    "state", "next_index", "log_size", "attempts", "failed_since", "next_at", "last_error",
    "last_attempt_at", "last_success_at", "secret_at",
)  # fmt: skip


async def _live(call: Call, *, lock: bool = False) -> Stored[Channel]:
    stored = await CHANNELS.stored(call, lock=lock)
    if stored.facts["archived_at"] is not None:
        raise Conflict("this channel is archived: it acts no more")
    return stored


_ONE = "/v1/channels/{channel_id}"

OPERATIONS: list[Operation] = [
    *CHANNELS.operations(),
    Operation(
        name="create_channel", method="POST", path="/v1/channels", tag="Channels",
        action="channels:write", handle=_create, body=Channel, status=201, answer=ChannelView,
        summary="Make a channel; a webhook's secret is in this answer and nowhere else.",
        also={202: Proposed}, problems=("conflict", "unavailable"), shows_once=("secret",), always_shows=False,
    ),
    Operation(
        name="test_channel", method="POST", path=f"{_ONE}/test", tag="Channels",
        action="channels:write", handle=_test, answer=TestResult,
        summary="Send a test message now, and say what the other side answered.",
        problems=("not_found", "conflict", "unavailable"),
    ),
    Operation(
        name="rotate_channel_secret", method="POST", path=f"{_ONE}/secrets", tag="Channels",
        action="channels:write", handle=_rotate, body=NewSecret, status=201, answer=SecretView,
        summary="Make a new secret, shown once; the one before goes on beside it for a while.",
        problems=("not_found", "conflict", "unavailable"), shows_once=("secret",),
    ),
    # PUT, not POST: nothing of the address is kept for repeats, not even a digest of the request.
    Operation(
        name="put_channel_address", method="PUT", path=f"{_ONE}/address", tag="Channels",
        action="channels:write", handle=_put_address, body=NewAddress, answer=SecretView,
        summary="Set the address of a Slack-style channel: its secret, never shown again.",
        problems=("not_found", "conflict", "unavailable"),
    ),
    Operation(
        name="get_channel_deliveries", method="GET", path=f"{_ONE}/deliveries", tag="Channels",
        action="channels:read", handle=_deliveries, answer=Delivery,
        summary="How far a channel has been told, how much waits, and what went wrong last.",
        problems=("not_found",),
    ),
]  # fmt: skip
