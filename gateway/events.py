"""What of the audit log a notification carries: the event of the live stream, in a Standard Webhook's envelope.

Which records are told at all, and which facts of them, says gateway/admin/event_kinds.py, the one
list for the stream and for notifications; gateway/admin/event_feed.py makes the event of a leaf.
Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

import msgspec

from audit.record import Kind
from gateway.admin.event_feed import Event, heard
from gateway.admin.event_kinds import ALERTS, TOLD, Group

REFUSALS = frozenset({Kind.SIGNAL_REFUSED, Kind.APPROVAL_REFUSED, Kind.APPROVAL_EXPIRED})
"""What somebody should look at beside the alerts."""

NAMES: frozenset[str] = frozenset(kind.value for kind in TOLD) | frozenset(get_args(Group))
"""What a channel may ask for: kinds of record (`order.rejected`) and groups (`order`, `alert`)."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a webhook. `id` is `<log>-<index>`, the same for everybody and forever."""

    id: str
    type: str
    timestamp: str
    data: Event


def envelope(origin: str, index: int, leaf: bytes, payload: bytes | None) -> Envelope | None:
    """The message of a record; None for one that is told to nobody. Raises Malformed for no leaf."""
    event = heard(index, leaf, payload).event
    if event is None:
        return None
    return Envelope(id=message_id(origin, index), type=event.kind, timestamp=event.at, data=event)


def message_id(origin: str, index: int) -> str:
    """The random part of the log's name, and the index: no dot in it, as a webhook-id wants."""
    return f"{origin.rsplit('/', 1)[-1].replace('.', '_')}-{index}"


def is_wanted(event: Event, names: Collection[str], *, failures_only: bool) -> bool:
    """Whether a channel asked for it; no name asks for all."""
    if failures_only and not is_failure(event):
        return False
    return not names or event.kind in names or any(group in names for group in event.groups)


def is_failure(event: Event) -> bool:
    """Whether somebody should look at it: an alert, or something that was refused."""
    return event.alert is not None or event.kind in REFUSALS


def kinds_of(names: Collection[str], *, failures_only: bool) -> list[str]:
    """The kinds among which everything is that is_wanted(); some of them may hold more."""
    return [
        kind.value
        for kind, told in TOLD.items()
        if (not failures_only or kind in REFUSALS or _may_alert(kind))
        and (
            not names
            or kind in names
            or told.group in names
            or ("alert" in names and _may_alert(kind))
        )
    ]


def _may_alert(kind: Kind) -> bool:
    return any(alert.kind is kind for alert in ALERTS)
