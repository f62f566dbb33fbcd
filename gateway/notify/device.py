"""A browser that its person is told in: where, under which keys, and what they may hear there. Pure."""

from __future__ import annotations

from typing import ClassVar, Literal
from uuid import UUID

import msgspec

from gateway.notify.words import Language
from tenancy.channel import Severity
from tenancy.people import needs_second_factor


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One row of push_devices with its key, as a sender took it.

    `endpoint`, `p256dh`, `auth`: the push service's address for this browser, the browser's P-256 key (65 bytes)
    and its secret (16 bytes), RFC 8291 section 3.1. `public_key`, `sealed`: the tenant's key that it was
    subscribed under. `roles`, `actions`: the person's, now; `strong`: they had shown a second factor when they
    subscribed it.
    """

    person_id: UUID
    endpoint: str
    p256dh: bytes
    auth: bytes
    key_id: UUID
    public_key: bytes
    sealed: bytes
    language: Language
    events: tuple[str, ...]
    severity: Severity
    digest_minutes: int
    actions: frozenset[str]
    roles: tuple[str, ...] = ()
    strong: bool = False

    kind: ClassVar[Literal["push"]] = "push"

    def __repr__(self) -> str:
        """Without the address and the secret: with both and the tenant's key, one could write to it."""
        return f"<Device of {self.person_id}, {self.severity}>"

    def may(self, action: str) -> bool:
        """Whether its person may hear of what takes `action`. Who got a role that needs a second factor and has
        shown none yet hears nothing, as they may do nothing."""
        return action in self.actions and (self.strong or not needs_second_factor(self.roles))
