"""A customer leaves: two operators agree that its keys may be destroyed. The ceremony itself is on the host.

This always takes a second person, whatever the platform says of four eyes: there is no way back.
What is agreed is one row, which `portcullis hsm destroy` asks for (ops/key_endings.py). Nothing is
destroyed by the API: it cannot reach the tokens.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin import changes
from gateway.admin.changes import By, Change, ObjectKind, by, plain
from gateway.admin.objects import Proposed
from gateway.admin.operation import Call, Operation, Result
from tenancy.errors import Conflict, Invalid, NotFound
from tenancy.ids import new_id
from tenancy.store import documents
from tenancy.store.documents import Table

TAG = "Tenants"


class OffboardingDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who leaves, and why."""

    customer_id: UUID
    reason: str


class NewOffboarding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why the customer's keys are to be destroyed."""

    reason: Annotated[str, Meta(min_length=1, max_length=1000)]


class OffboardingView(msgspec.Struct, frozen=True, kw_only=True):
    """`destroyed_at`: since when no token holds a key of the customer; null while it was only agreed."""

    offboarding_id: UUID
    tenant_id: UUID
    reason: str
    agreed_at: datetime
    destroyed_at: datetime | None


async def _check(by: By, before: Any, after: OffboardingDocument | None) -> None:
    if after is None:
        return
    row = await (
        await by.conn.execute("SELECT kind FROM tenant_entry(%s)", (after.customer_id,))
    ).fetchone()
    if row is None:
        raise NotFound(f"there is no tenant {after.customer_id}")
    if row[0] == "platform":
        raise Invalid("the platform itself is not off-boarded", field="tenant_id")
    if await _latest(by.conn, after.customer_id) is not None:
        raise Conflict("it is agreed already that this customer leaves")


OFFBOARDING: ObjectKind[OffboardingDocument] = ObjectKind(
    name="offboarding",
    table=Table(
        noun="off-boarding",
        table="offboardings",
        key="offboarding_id",
        document=OffboardingDocument,
        facts=("created_at", "destroyed_at"),
        fixed=frozenset({"customer_id", "reason"}),
        archived="",
        names={"offboardings_open": "it is agreed already that this customer leaves"},
    ),
    check=_check,
)


async def _ask(call: Call) -> Result:
    """Checked as if it were done, and then proposed: the second person is not asked for the impossible."""
    wanted: NewOffboarding = call.body
    document = OffboardingDocument(customer_id=call.uuid("tenant_id"), reason=wanted.reason)
    author = msgspec.structs.replace(by(call), why=call.why or wanted.reason)
    await _check(author, None, document)
    change: Change[OffboardingDocument] = Change(
        verb="create", kind=OFFBOARDING, object_id=str(new_id()), base=0, before=None,
        after=plain(document),
    )  # fmt: skip
    async with call.conn.transaction(force_rollback=True):
        await documents.insert(
            call.conn, call.scope, OFFBOARDING.table, UUID(change.object_id), document
        )
    made = await changes.propose(author, change, frozenset({"offboarding"}))
    assert made.proposal is not None
    address = f"/v1/proposals/{made.proposal}"
    return Result(content=Proposed(proposal_id=made.proposal), location=address)


async def _get(call: Call) -> Result:
    customer = call.uuid("tenant_id")
    view = await _latest(call.conn, customer)
    if view is None:
        raise NotFound(f"nobody has agreed that tenant {customer} leaves")
    return Result(content=view)


async def _latest(conn: Any, customer: UUID) -> OffboardingView | None:
    row = await (
        await conn.execute(
            "SELECT offboarding_id, reason, created_at, destroyed_at FROM offboardings"
            " WHERE customer_id = %s ORDER BY created_at DESC LIMIT 1",
            (customer,),
        )
    ).fetchone()
    if row is None:
        return None
    return OffboardingView(
        offboarding_id=row[0], tenant_id=customer, reason=row[1], agreed_at=row[2],
        destroyed_at=row[3],
    )  # fmt: skip


_ADDRESS = "/v1/tenants/{tenant_id}/offboarding"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="offboard_tenant", method="POST", path=_ADDRESS, tag=TAG, action="tenants:write",
        summary="Ask that a customer's keys be destroyed: a second operator has to agree.",
        handle=_ask, body=NewOffboarding, answer=Proposed, status=202, platform=True,
        problems=("not_found", "conflict"),
        detail="The ceremony is `portcullis hsm destroy` on the host, once the tenant is halted.",
    ),
    Operation(
        name="get_offboarding", method="GET", path=_ADDRESS, tag=TAG, action="tenants:read",
        summary="Whether it is agreed that a customer leaves, and since when its keys are gone.",
        handle=_get, answer=OffboardingView, platform=True, problems=("not_found",),
    ),
)  # fmt: skip
