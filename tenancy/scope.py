"""TenantScope: the proof, passed by hand, that a caller is known and belongs to one tenant.

Only code that has authenticated somebody, or that took a tenant id from a row of ours, makes
one (`tests/unit/test_house_rules.py` lists those files). Everything that reads or writes a
tenant's rows takes it as an argument and gives it to `Database.tenant()`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tenancy.values import TenantID

ActorKind = Literal["human", "api", "algo", "sys"]


class Actor(msgspec.Struct, frozen=True):
    """Who acts: the audit record's `act`."""

    kind: ActorKind
    id: str


class TenantScope(msgspec.Struct, frozen=True):
    """One tenant, and who acts in it."""

    tenant_id: TenantID
    actor: Actor
