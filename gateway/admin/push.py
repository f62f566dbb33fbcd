"""Web Push to one's own devices: subscribe a browser, list, test and remove one's own; and the tenant's push key.

A subscription is a browser's word: where its push service takes messages for it, and under which keys they are
encrypted. It is a person's own affair: nobody else sees it, and it goes with the person (0030_notifications.sql).
What is told there is decided at each message by what the person may do then (gateway/notify/device.py).

A browser's subscription is bound to the key that it was made under. A new key is used by what subscribes from then
on; with `end_others` every subscription under another key ends at once, with its key, for a key that leaked.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from msgspec import Meta

from audit.record import Kind
from gateway.admin import changes, login_records
from gateway.admin.changes import by
from gateway.admin.channels import TestResult, tested
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.sessions import person_of
from gateway.events import NAMES
from gateway.notify.carriers import NO_PUSH
from gateway.notify.device import Device
from gateway.notify.secrets import PURPOSE
from gateway.notify.settings import PushSettings
from gateway.notify.vapid import b64, new_key, read_b64, read_point
from gateway.notify.words import Language
from hsm.enrol import encrypt_secret
from tenancy.channel import DigestMinutes, EventType, Severity
from tenancy.errors import Conflict, Invalid, NotFound
from tenancy.ids import new_id
from tenancy.rules import EACH_ONCE
from tenancy.store import push_devices
from tenancy.store.push_devices import KeptKey
from tenancy.values import Name, whole

TAG = "Push"
DEVICES_MOST = 10
USUAL = ("alert", "approval.asked")
"""What a phone is told unless its person chooses: what somebody should look at, and what waits for a yes."""


class NewDevice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What PushSubscription.toJSON() says, and how its person wants to be told.

    `public_key`: the tenant's key that it was subscribed under (applicationServerKey). `p256dh` and `auth`:
    the browser's key and secret. All three in base64 for URLs. The same `endpoint` again changes the device.
    """

    endpoint: Annotated[str, Meta(min_length=12, max_length=1024, pattern=whole("https://[!-~]+"))]
    p256dh: Annotated[str, Meta(max_length=87, pattern=whole("[0-9A-Za-z_-]{87}"))]
    auth: Annotated[str, Meta(max_length=22, pattern=whole("[0-9A-Za-z_-]{22}"))]
    public_key: Annotated[str, Meta(max_length=87, pattern=whole("[0-9A-Za-z_-]{87}"))]
    label: Name
    language: Language = "en"
    events: Annotated[tuple[EventType, ...], Meta(max_length=64, extra_json_schema=EACH_ONCE)] = (
        USUAL
    )
    severity: Severity = "all"
    digest_minutes: DigestMinutes = 60

    def __post_init__(self) -> None:
        if len(set(self.events)) != len(self.events):
            raise ValueError("events: each at most once")

    def __repr__(self) -> str:
        return f"NewDevice({self.label!r}, …)"


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """One of one's own devices. `service`: the push service's host; `current_key`: it is under the newest key.

    `fingerprint`: how the SHA-256 of its endpoint begins, by which a browser knows itself.
    """

    device_id: UUID
    fingerprint: str
    label: str
    service: str
    language: Language
    events: tuple[str, ...]
    severity: Severity
    digest_minutes: int
    state: str
    last_error: str | None
    last_success_at: datetime | None
    created_at: datetime
    current_key: bool


class PushStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One's own devices, and the key to subscribe another under; `why` there is none: null where there is one."""

    public_key: str | None
    why: str | None
    items: list[DeviceView]


class NewPushKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`end_others`: every subscription under another key ends now."""

    end_others: bool = False


class PushKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A push key; `ended`: how many devices ended with the keys before it."""

    key_id: UUID
    public_key: str
    created_at: datetime
    ended: int


async def _list(call: Call) -> Result:
    kept = await push_devices.newest_key(call.conn)
    why = _why_not(call, kept)
    rows = await push_devices.listed(call.conn, person_of(call))
    return Result(
        content=PushStanding(
            public_key=b64(kept.public_key) if kept is not None and why is None else None,
            why=why,
            items=[_view(row, kept) for row in rows],
        )
    )


def _why_not(call: Call, key: KeptKey | None) -> str | None:
    if _settings(call) is None:
        return NO_PUSH
    return "the tenant has no push key: an administrator makes it" if key is None else None


def _settings(call: Call) -> PushSettings | None:
    return call.services.notifier.settings.push if call.services.notifier is not None else None


def _view(row: dict[str, Any], newest: KeptKey | None) -> DeviceView:
    endpoint = row.pop("endpoint")
    return DeviceView(
        service=urlsplit(endpoint).hostname or "",
        fingerprint=hashlib.sha256(endpoint.encode()).hexdigest()[:16],
        current_key=newest is not None and newest.key_id == row.pop("key_id"),
        **row,
    )


async def _add(call: Call) -> Result:
    wanted: NewDevice = call.body
    person, settings = person_of(call), _settings(call)
    if settings is None:
        raise Conflict(NO_PUSH)
    _check(wanted, settings)
    key = await push_devices.key_of(call.conn, read_point(wanted.public_key, "public_key"))
    if key is None:
        raise Conflict(
            "public_key: this is none of the tenant's push keys: subscribe under that of GET /v1/me/push"
        )
    row = {
        "key_id": key.key_id,
        "endpoint": wanted.endpoint,
        "p256dh": read_point(wanted.p256dh, "p256dh"),
        "auth": read_b64(wanted.auth, 16, "auth"),
        "second_factor": call.principal.second_factor,
        **{name: getattr(wanted, name) for name in _RULE},
    }
    row["events"] = list(wanted.events)
    device_id = await push_devices.put(call.conn, call.scope, person, row)
    rows = await push_devices.listed(call.conn, person)
    if len(rows) > DEVICES_MOST:
        raise Conflict(f"a person has at most {DEVICES_MOST} devices: remove one first")
    await _record(call, "push_device_added", device_id)
    newest = await push_devices.newest_key(call.conn)
    view = next(_view(row, newest) for row in rows if row["device_id"] == device_id)
    return Result(status=201, content=view, location=f"/v1/me/push/{device_id}")


_RULE = ("label", "language", "severity", "digest_minutes")


def _check(wanted: NewDevice, settings: PushSettings) -> None:
    try:
        parts = urlsplit(wanted.endpoint)
        host, odd = parts.hostname or "", parts.username is not None or bool(parts.fragment)
    except ValueError:
        host, odd = "", True
    if odd or not settings.knows(host):
        raise Invalid(
            f"endpoint: {host or 'this'} is no push service that this installation knows:"
            f" {', '.join(settings.services)}",
            field="endpoint",
        )
    unknown = sorted(set(wanted.events) - NAMES)
    if unknown:
        raise Invalid(
            f"events: {', '.join(unknown)}: no such type; there are {', '.join(sorted(NAMES))}",
            field="events",
        )


async def _remove(call: Call) -> Result:
    device_id = call.uuid("device_id")
    if not await push_devices.remove(call.conn, person_of(call), device_id):
        raise NotFound(f"you have no device {device_id}")
    await _record(call, "push_device_removed", device_id)
    return Result()


async def _record(call: Call, event: str, device_id: UUID) -> None:
    facts = {"person": str(person_of(call)), "device": str(device_id)}
    await login_records.record(call, call.conn, call.scope, event, facts)


async def _test(call: Call) -> Result:
    row = await push_devices.one(call.conn, person_of(call), call.uuid("device_id"))
    if row is None:
        raise NotFound(f"you have no device {call.uuid('device_id')}")
    device = Device(actions=call.principal.actions, strong=True, **row)
    return Result(content=await tested(call, call.uuid("device_id"), device))


async def _make_key(call: Call) -> Result:
    """The pair is made here and its private half sealed at once: it is in this process's memory alone."""
    key_id, tenant = new_id(), call.scope.tenant_id
    public, private = new_key()
    enroller = call.services.enroller
    ciphertext = encrypt_secret(await enroller.public_key_pem(), private)
    sealed = await enroller.seal_secret(tenant, str(key_id), PURPOSE, ciphertext)
    created_at = await push_devices.put_key(call.conn, call.scope, key_id, public, sealed)
    ended = await push_devices.end_other_keys(call.conn, key_id, devices=call.body.end_others)
    facts = {
        "event": "push_key_made", "object": "push_key", "id": str(key_id),
        "end_others": call.body.end_others, "ended": ended, "why": call.why,
    }  # fmt: skip
    await changes.record_change(by(call), Kind.KEY_ROTATION, facts)
    view = PushKeyView(key_id=key_id, public_key=b64(public), created_at=created_at, ended=ended)
    return Result(status=201, content=view)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="list_push_devices", method="GET", path="/v1/me/push", tag=TAG, action="self",
        handle=_list, answer=PushStanding,
        summary="One's own devices, and the key to subscribe another under.",
    ),
    Operation(
        name="add_push_device", method="POST", path="/v1/me/push", tag=TAG, action="self",
        handle=_add, body=NewDevice, status=201, answer=DeviceView, problems=("conflict",),
        summary="Be told in this browser; the same endpoint again changes how.",
    ),
    Operation(
        name="remove_push_device", method="DELETE", path="/v1/me/push/{device_id}", tag=TAG,
        action="self", handle=_remove, status=204, problems=("not_found",),
        summary="Be told there no more.",
    ),
    Operation(
        name="test_push_device", method="POST", path="/v1/me/push/{device_id}/test", tag=TAG,
        action="self", handle=_test, answer=TestResult, problems=("not_found",),
        summary="Send a test message there now, and say what the push service answered.",
    ),
    Operation(
        name="make_push_key", method="POST", path="/v1/push-keys", tag=TAG,
        action="channels:write", handle=_make_key, body=NewPushKey, status=201,
        answer=PushKeyView, problems=("conflict", "unavailable"),
        summary="Make the tenant's push key, or a new one beside it.",
    ),
)  # fmt: skip
