"""Who may say yes or no: always a person of the tenant itself, never to their own."""

from __future__ import annotations

from gateway.admin.errors import Forbidden, OwnProposal, PersonNeeded
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


async def may_agree(
    conn: Connection, principal: Principal, proposed_by: Actor, needs: frozenset[str]
) -> None:
    """Whether the caller may agree to what `proposed_by` asked for. Raises PersonNeeded,
    OwnProposal, Forbidden.

    One's own is what one asked for in any session, and what was asked for by a service key that one
    made or changed, or that such a key made.
    """
    person = deciding_person(principal)
    if person in await people_behind(conn, proposed_by):
        raise OwnProposal(
            "this is your own proposal, or that of a service key that you made: another person decides"
        )
    missing = sorted((needs | {"proposals:decide"}) - principal.actions)
    if missing:
        raise Forbidden(
            f"whoever agrees to this change needs {' and '.join(missing)} too: nobody brings about"
            " by a yes what they could not do themselves"
        )
