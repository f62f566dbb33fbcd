"""The list of all operations: the API, whole."""

from __future__ import annotations

from uuid import UUID

from gateway.admin import (
    access,
    accounts,
    channels,
    configuration,
    credentials,
    factors,
    groups,
    halts,
    hooks,
    invitations,
    limits,
    me,
    oidc,
    people,
    proposals,
    service_keys,
    sessions,
    strategies,
    subscriptions,
    tenants,
)
from gateway.admin.errors import Malformed
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.orders import order_by_id
from gateway.admin.paging import PageQuery, read_cursor
from gateway.admin.signals import signal_by_id, signals_page


async def _signals(call: Call) -> Result:
    after = read_cursor(call.query.cursor)
    if after is not None and len(after) != 36:
        raise Malformed("cursor: take it from `next` of the page before", field="cursor")
    page = await signals_page(
        call.conn, limit=call.query.limit, after=UUID(after) if after else None
    )
    return Result(content=page)


async def _signal(call: Call) -> Result:
    return Result(content=await signal_by_id(call.conn, call.uuid("signal_id")))


async def _order(call: Call) -> Result:
    return Result(content=await order_by_id(call.conn, call.path["order_id"]))


OPERATIONS: tuple[Operation, ...] = (
    *sessions.OPERATIONS,
    *invitations.OPERATIONS,
    *oidc.OPERATIONS,
    *me.OPERATIONS,
    *factors.OPERATIONS,
    *people.OPERATIONS,
    *tenants.OPERATIONS,
    *access.OPERATIONS,
    *proposals.OPERATIONS,
    *strategies.OPERATIONS,
    *hooks.OPERATIONS,
    *groups.OPERATIONS,
    *accounts.OPERATIONS,
    *credentials.OPERATIONS,
    *subscriptions.OPERATIONS,
    *service_keys.OPERATIONS,
    *channels.OPERATIONS,
    *halts.OPERATIONS,
    *limits.OPERATIONS,
    *configuration.OPERATIONS,
    Operation(
        name="list_signals", method="GET", path="/v1/signals", summary="List signals.",
        tag="Signals", action="signals:read", handle=_signals, query=PageQuery,
    ),
    Operation(
        name="get_signal", method="GET", path="/v1/signals/{signal_id}", summary="Read a signal.",
        tag="Signals", action="signals:read", handle=_signal,
    ),
    Operation(
        name="get_order", method="GET", path="/v1/orders/{order_id}", summary="Read an order.",
        tag="Orders", action="orders:read", handle=_order,
    ),
)  # fmt: skip
