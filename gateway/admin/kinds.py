"""Every kind of object by its name: what a proposal of that kind is applied with, and who may agree to it.

Gathered from the resource files, which know nothing of this one. A kind whose changes are more than
its row (a credential that is sealed, a person who is erased) has a handler for its operation here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from gateway.admin.accounts import ACCOUNT
from gateway.admin.changes import By, ObjectKind
from gateway.admin.channels import CHANNEL
from gateway.admin.configuration import apply_agreed
from gateway.admin.credentials import CREDENTIAL
from gateway.admin.groups import GROUP
from gateway.admin.hooks import HOOK
from gateway.admin.people import PERSON
from gateway.admin.service_keys import SERVICE_KEY
from gateway.admin.strategies import STRATEGY
from gateway.admin.subjects import restrict
from gateway.admin.subscriptions import SUBSCRIPTION
from gateway.admin.tenants import TENANT
from tenancy.store.proposals import Proposal

Handler = Callable[[By, Proposal], Awaitable[None]]


class Governed(msgspec.Struct, frozen=True, kw_only=True):
    """A kind whose changes may wait for a second person.

    `action`: what a change of it needs, of whoever asks and of whoever agrees; `actions` where an
    operation needs another one. `handlers`: operation → what applies it, in place of the row's own
    create, change, remove or state. `hidden`: members whose values a proposal never shows.
    """

    action: str
    kind: ObjectKind[Any] | None = None
    actions: Mapping[str, str] = {}
    handlers: Mapping[str, Handler] = {}
    hidden: frozenset[str] = frozenset()

    def needs(self, proposal: Proposal) -> frozenset[str]:
        """The actions that this change needs. A trading state is a kill switch, whatever it belongs
        to; limits that change need the right to change limits as well, as they do in a request."""
        before, after = proposal.before or {}, proposal.after or {}
        if proposal.operation == "state" and "state" in after:
            return frozenset({"halts:write"})
        own = self.actions.get(proposal.operation, self.action)
        limited = after and (before.get("limits") or {}) != (after.get("limits") or {})
        return frozenset({own, "limits:write"} if limited else {own})


KINDS: dict[str, Governed] = {
    "tenant": Governed(kind=TENANT, action="tenant:write"),
    "person": Governed(
        kind=PERSON,
        action="people:write",
        actions={"erase": "subjects:correct"},
        handlers={"erase": restrict},
    ),
    "strategy": Governed(kind=STRATEGY, action="strategies:write"),
    "group": Governed(kind=GROUP, action="accounts:write"),
    "account": Governed(kind=ACCOUNT, action="accounts:write"),
    "credential": Governed(kind=CREDENTIAL, action="credentials:write"),
    "subscription": Governed(kind=SUBSCRIPTION, action="subscriptions:write"),
    "hook": Governed(kind=HOOK, action="hooks:write"),
    "service_key": Governed(kind=SERVICE_KEY, action="keys:write"),
    "channel": Governed(kind=CHANNEL, action="channels:write"),
    "configuration": Governed(action="configuration:write", handlers={"apply": apply_agreed}),
}
"""In the order in which they can be made: what refers comes after what it refers to."""
