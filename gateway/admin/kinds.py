"""Every kind of object by its name: what a proposal of that kind is applied with.

Gathered from the resource files, which know nothing of this one. A kind whose changes are more than
its row (a credential that is sealed, a person who is erased) has a handler for its operation here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from audit import holds, shredding
from gateway.admin import audit_erasures, audit_holds
from gateway.admin.accounts import ACCOUNT
from gateway.admin.audit_halts import AUDIT_LIFT
from gateway.admin.changes import By, ObjectKind
from gateway.admin.channels import CHANNEL
from gateway.admin.configuration import apply_agreed
from gateway.admin.credentials import CREDENTIAL
from gateway.admin.doubts import DOUBT_DECISION
from gateway.admin.drifts import DRIFT_DECISION
from gateway.admin.examiners import EXAMINER
from gateway.admin.groups import GROUP
from gateway.admin.hooks import HOOK
from gateway.admin.instruments import INSTRUMENT
from gateway.admin.offboarding import OFFBOARDING
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

    `handlers`: operation → what applies it, in place of the row's own create, change, remove or
    state. `hidden`: members whose values a proposal never shows.
    """

    kind: ObjectKind[Any] | None = None
    handlers: Mapping[str, Handler] = {}
    hidden: frozenset[str] = frozenset()


KINDS: dict[str, Governed] = {
    "tenant": Governed(kind=TENANT),
    "offboarding": Governed(kind=OFFBOARDING),
    "audit_lift": Governed(kind=AUDIT_LIFT),
    "person": Governed(
        kind=PERSON,
        handlers={"erase": restrict},
    ),
    "strategy": Governed(kind=STRATEGY),
    "group": Governed(kind=GROUP),
    "account": Governed(kind=ACCOUNT),
    "instrument": Governed(kind=INSTRUMENT),
    "credential": Governed(kind=CREDENTIAL),
    "subscription": Governed(kind=SUBSCRIPTION),
    "hook": Governed(kind=HOOK),
    "service_key": Governed(kind=SERVICE_KEY),
    "channel": Governed(kind=CHANNEL),
    "doubt_decision": Governed(kind=DOUBT_DECISION),
    "examiner": Governed(kind=EXAMINER),
    "drift_decision": Governed(kind=DRIFT_DECISION),
    "configuration": Governed(handlers={"apply": apply_agreed}),
    holds.KIND: Governed(
        handlers={"create": audit_holds.placed, "remove": audit_holds.released},
    ),
    shredding.KIND: Governed(handlers={"erase": audit_erasures.shredded}),
}
"""In the order in which they can be made: what refers comes after what it refers to."""
