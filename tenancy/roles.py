"""What may be done, and which roles may do it. Pure.

An action is `resource:verb`. A person has roles and may do what any of them may; a service key has
scopes, which are actions, and may do those. Two facts hold whatever the table says: what belongs
to the platform is done by its own people and keys alone, and an operator sees nothing of a
customer's trading without having been let in (gateway/admin/access.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from tenancy.tenant import TenantKind

Role = Literal["operator", "admin", "trader", "approver", "compliance", "viewer", "examiner"]

READS = frozenset(
    {
        "tenant:read", "strategies:read", "hooks:read", "accounts:read", "subscriptions:read",
        "limits:read", "signals:read", "orders:read", "positions:read", "halts:read",
        "proposals:read", "events:read",
    }
)  # fmt: skip
"""Looking at what is set up and what was traded."""

OVERSIGHT = frozenset(
    {
        "people:read", "keys:read", "channels:read", "revisions:read", "configuration:read",
        "subjects:export", "access:read", "audit:read", "audit:export", "evidence:read",
    }
)  # fmt: skip
"""Looking at who may do what, and at who did."""

EXAMINES = READS | frozenset(
    {
        "people:read",
        "keys:read",
        "channels:read",
        "revisions:read",
        "access:read",
        "audit:read",
        "audit:export",
    }
)
"""A designated officer or third party, for a time (gateway/admin/examiners.py): looks, takes the records
away with their proofs, changes nothing."""

SET_UP = frozenset(
    {
        "strategies:write", "hooks:write", "accounts:write", "credentials:write",
        "subscriptions:write", "limits:write", "channels:write", "configuration:write",
    }
)  # fmt: skip
"""Changing what trades, and how."""

TRADE = frozenset(
    {"halts:write", "orders:cancel", "orders:replay", "signals:send", "drifts:decide"}
)
"""Stepping in."""

EVIDENCE = frozenset({"evidence:write"})
"""How long evidence is kept, what is held, and what is erased: asked for by one, agreed by another."""

DECIDE = frozenset({"proposals:decide", "signals:decide"})
"""A second person's yes or no."""

DECIDE_DOUBT = frozenset({"doubts:decide"})
"""A person's word about an order, in its broker's place."""

PERSONS = DECIDE | DECIDE_DOUBT
"""What no service key may do: so who invites a person need not have it."""

PEOPLE = frozenset(
    {
        "tenant:write",
        "people:write",
        "keys:write",
        "access:decide",
        "subjects:correct",
        "examiners:write",
    }
)
"""Who may do what."""

PLATFORM = frozenset({"tenants:read", "tenants:write", "access:ask"})
"""What only the platform's own people and keys do."""

ACTIONS = READS | OVERSIGHT | SET_UP | TRADE | DECIDE | DECIDE_DOUBT | PEOPLE | EVIDENCE | PLATFORM

_OWN_HOUSE = frozenset(
    {
        "tenant:read", "tenant:write", "people:read", "people:write", "keys:read", "keys:write",
        "limits:read", "limits:write", "halts:read", "halts:write", "revisions:read",
        "proposals:read", "proposals:decide", "channels:read", "channels:write", "events:read",
        "subjects:export", "subjects:correct", "access:read", "audit:read", "audit:export",
        "evidence:read", "evidence:write",
    }
)  # fmt: skip
"""What the platform does in its own house: its people, its keys, its limits, its kill switch."""

ROLES: dict[Role, frozenset[str]] = {
    "operator": PLATFORM | _OWN_HOUSE,
    "admin": READS | OVERSIGHT | SET_UP | TRADE | DECIDE | DECIDE_DOUBT | PEOPLE | EVIDENCE,
    "trader": READS
    | TRADE
    | DECIDE_DOUBT
    | frozenset({"strategies:write", "hooks:write", "subscriptions:write", "signals:decide"}),
    "approver": READS | DECIDE | frozenset({"revisions:read"}),
    "compliance": READS | OVERSIGHT | EVIDENCE | frozenset({"access:decide", "halts:write"}),
    "viewer": READS,
    "examiner": EXAMINES,
}

LET_IN = READS | frozenset({"revisions:read"})
"""What an operator may do in a customer's house who was let in: look."""


def roles_of(kind: TenantKind) -> frozenset[Role]:
    """The roles that people of such a tenant may have."""
    operator: frozenset[Role] = frozenset({"operator"})
    return operator if kind == "platform" else frozenset(get_args(Role)) - operator


def actions_of(roles: Iterable[str], kind: TenantKind) -> frozenset[str]:
    """What somebody with these roles may do. A role that the tenant's kind does not have gives nothing."""
    allowed = roles_of(kind)
    return frozenset().union(*(ROLES[role] for role in allowed if role in set(roles)))


def scopes_of(kind: TenantKind) -> frozenset[str]:
    """The scopes that a service key of such a tenant may have.

    No key decides: a second person is a person, and so is who speaks in a broker's place.
    """
    return ROLES["operator" if kind == "platform" else "admin"] - PERSONS
