"""Who may say yes or no: always a person of the tenant itself, never to their own."""

from __future__ import annotations

from gateway.admin.errors import OwnProposal, PersonNeeded
from gateway.admin.operation import Principal
from tenancy.database import Connection
from tenancy.scope import Actor
from tenancy.store.proposals import people_behind


def deciding_person(principal: Principal) -> str:
    """The id of the person who decides. Raises PersonNeeded for a service key, and for an operator
    in a customer's house."""
    if principal.person_id is None or principal.home is not None:
        raise PersonNeeded("only a person signed in to this tenant decides; no service key does")
    return str(principal.person_id)


async def may_agree(conn: Connection, principal: Principal, proposed_by: Actor) -> None:
    """Whether the caller may agree to what `proposed_by` asked for. Raises PersonNeeded, OwnProposal.

    One's own is what one asked for in any session, and what was asked for by a service key that one
    made or changed, or that such a key made. Agreeing needs `proposals:decide` and not the right to
    make the change: who proposed it had that, and an approver who can change nothing is the
    separation of duties that four eyes are for.
    """
    person = deciding_person(principal)
    if person in await people_behind(conn, proposed_by):
        raise OwnProposal(
            "this is your own proposal, or that of a service key that you made: another person decides"
        )
