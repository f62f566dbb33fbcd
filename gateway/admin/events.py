"""`GET /v1/events`: signals, orders, alerts and changes while they happen, as server-sent events.

The source is the tenant's audit log (gateway/admin/event_feed.py); which records are told, to whom and with
which facts, says gateway/admin/event_kinds.py.
"""

from __future__ import annotations

from typing import Annotated, get_args

import msgspec
from msgspec import Meta

from gateway.admin.errors import Malformed
from gateway.admin.event_feed import end_of_log
from gateway.admin.event_kinds import Group
from gateway.admin.event_stream import Stream
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.standing import may_now
from tenancy.values import whole

NUMBER_MAX = 2**62
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    """From where, and what. `after`: the id of the last event that is known; 0 is the beginning."""

    after: Number | None = None
    kinds: (
        Annotated[
            str,
            Meta(
                pattern=whole("(signal|order|alert|change)(,(signal|order|alert|change)){0,3}"),
                description="Some of signal, order, alert, change, with commas between; all if not said.",
            ),
        ]
        | None
    ) = None


async def _events(call: Call) -> Result:
    """Begins behind `Last-Event-ID` (which a client sends when it comes back), `after`, or now."""
    query: EventQuery = call.query
    services, principal = call.services, call.principal
    services.events.check(call.scope.tenant_id)
    end = await end_of_log(call.conn)
    after = _last_event_id(call.headers.get("last-event-id"))
    if after is None:
        after = end if query.after is None else query.after
    if after > end:
        raise Malformed(
            f"after: the log has {end} records, so nobody has seen {after}", field="after"
        )
    groups: tuple[Group, ...] = get_args(Group)
    if query.kinds is not None:
        groups = tuple(group for group in groups if group in query.kinds.split(","))

    async def recheck() -> frozenset[str]:
        return await may_now(principal, services, call.client, "events:read")

    stream = Stream(
        services.events,
        services.database,
        call.scope,
        after=after,
        groups=groups,
        actions=principal.actions,
        recheck=recheck,
    )
    return Result(stream=stream)


def _last_event_id(text: str | None) -> int | None:
    """The header's number; an empty one is none. Raises Malformed."""
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Malformed("Last-Event-ID: the id of an event is needed, unchanged", field="after")
    return int(text)


OPERATIONS = (
    Operation(
        name="stream_events", method="GET", path="/v1/events", tag="Events", action="events:read",
        summary="Listen to signals, orders, alerts and changes as server-sent events, resumable by id.",
        handle=_events, query=EventQuery, stream=True, problems=("too_many_streams",),
    ),
)  # fmt: skip
