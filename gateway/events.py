"""What the audit log says, as an event for people and their programs: one shape for all who read it.

A leaf and its payload become `{"id", "type", "timestamp", "severity", …, "data"}`: the data of the
event stream, and (by `type`, `timestamp`, `data`) the body of a Standard Webhook. The payload goes
out as it was recorded, without the key that opens its commitment (`k_rec`): who has that can prove
things about the record, which is what an export is for.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import orjson

from audit.record import Kind

Severity = Literal["info", "failure"]

TYPES: dict[str, str] = {kind.value: kind.value for kind in Kind} | {
    Kind.ADMIN_CHANGE.value: "change"
}
"""Kind of record → type of event."""

FAILURES = frozenset(
    {
        Kind.SIGNAL_REFUSED, Kind.ORDER_REJECTED, Kind.ORDER_IN_DOUBT, Kind.LIMIT_BLOCKED,
        Kind.APPROVAL_REFUSED, Kind.APPROVAL_EXPIRED, Kind.KILL_SWITCH, Kind.ALERT,
        Kind.CHECKPOINT_REFUSED,
    }
)  # fmt: skip
"""What somebody should look at."""

DATA_MOST_BYTES = 64 * 1024


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record of the log. `id` is `<log>-<index>`, the same for everybody and forever.

    `timestamp`: when it happened; `recorded_at`: when the log took it. `data` is absent where the
    payload was erased or has more than 64 KiB, and then `omitted` says which.
    """

    id: str
    type: str
    timestamp: str
    recorded_at: str
    index: int
    severity: Severity
    actor: dict[str, Any]
    order_id: str | None = None
    account_id: str | None = None
    trace_id: str | None = None
    data: dict[str, Any] | None = None
    omitted: Literal["erased", "too_large"] | None = None


def event_of(leaf: bytes, payload: bytes | None) -> Event:
    """The event of a leaf, as the log keeps it, and its payload, where there still is one."""
    members = orjson.loads(leaf)
    data, omitted = _data(payload)
    return Event(
        id=event_id(members["log"], members["i"]),
        type=TYPES.get(members["k"], members["k"]),
        timestamp=members["ts"],
        recorded_at=members["rt"],
        index=members["i"],
        severity="failure" if members["k"] in FAILURES else "info",
        actor=members["act"],
        order_id=members.get("oid"),
        account_id=members.get("acct"),
        trace_id=members.get("cor"),
        data=data,
        omitted=omitted,
    )


def event_id(origin: str, index: int) -> str:
    """The random part of the log's name, and the index: no dot in it, as a webhook-id wants."""
    return f"{origin.rsplit('/', 1)[-1].replace('.', '_')}-{index}"


def kinds_of(types: tuple[str, ...], *, failures_only: bool) -> list[str]:
    """The kinds of record behind these types (all, where none is named)."""
    return [
        kind
        for kind, name in TYPES.items()
        if (not types or name in types) and (not failures_only or kind in FAILURES)
    ]


def _data(
    payload: bytes | None,
) -> tuple[dict[str, Any] | None, Literal["erased", "too_large"] | None]:
    if payload is None:
        return None, "erased"
    if len(payload) > DATA_MOST_BYTES:
        return None, "too_large"
    data: dict[str, Any] = orjson.loads(payload)
    data.pop("k_rec", None)
    return data, None
