"""The list of all operations: the API, whole."""

from __future__ import annotations

from gateway.admin import (
    access,
    accounts,
    channels,
    events,
    factors,
    fills,
    groups,
    hooks,
    invitations,
    me,
    oidc,
    orders,
    people,
    plans,
    positions,
    proposals,
    service_keys,
    sessions,
    signals,
    strategies,
    subscriptions,
    tenants,
)
from gateway.admin.operation import Operation

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
    *subscriptions.OPERATIONS,
    *service_keys.OPERATIONS,
    *channels.OPERATIONS,
    *signals.OPERATIONS,
    *plans.OPERATIONS,
    *orders.OPERATIONS,
    *fills.OPERATIONS,
    *positions.OPERATIONS,
    *events.OPERATIONS,
)
