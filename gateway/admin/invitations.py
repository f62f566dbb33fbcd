"""Taking up an invitation: whoever has the token sets the person's password, once.

The token is in the body, not in the address: addresses are logged on the way.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gateway import metrics
from gateway.admin import login_records
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.refusals import InvitationOver
from tenancy.passwords import check_password
from tenancy.store import people, sessions
from tenancy.store.sign_in import find_invitation

OVER = "there is no such invitation, or it was taken up or ran out: ask for a new one"


class TakeUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The password: 12 to 256 characters, nothing well known, not the names of yourself or the company."""

    invitation: Annotated[str, Meta(min_length=1, max_length=100)]
    password: Annotated[str, Meta(min_length=1, max_length=1024)]

    def __repr__(self) -> str:
        return "TakeUp(…)"


class TakenUp(msgspec.Struct, frozen=True, kw_only=True):
    """With what to sign in now, beside the password."""

    tenant: str
    email: str


async def _take_up(call: Call) -> Result:
    asked: TakeUp = call.body
    found = await find_invitation(call.services.database, asked.invitation)
    if found is None or found.expires_at <= call.services.clock.now():
        metrics.LOGINS.labels("wrong_invitation").inc()
        raise InvitationOver(OVER)
    names = (found.tenant_name, found.email, found.name)
    password = check_password(asked.password, names=names)
    kept = await call.sign_in.passwords.hash(password)
    now = call.services.clock.now()
    async with call.services.database.tenant(found.scope) as conn:
        if not await people.take_up(conn, found.person_id, asked.invitation, now):
            raise InvitationOver(OVER)
        await people.put_password(conn, found.scope, found.person_id, kept, now)
        await sessions.end_sessions(conn, found.person_id)
        await login_records.record(call, conn, found.scope, "invitation_taken_up", {})
    return Result(content=TakenUp(tenant=found.tenant_name, email=found.email))


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="take_up_invitation", method="POST", path="/v1/invitations", tag="Sessions",
        action=None, handle=_take_up, body=TakeUp, answer=TakenUp,
        summary="Set one's password with an invitation; then sign in.",
        problems=("invitation_over", "overloaded"),
    ),
)  # fmt: skip
