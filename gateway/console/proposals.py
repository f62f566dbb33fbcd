"""One proposal: what would change, before and after side by side, who asked, and the yes, no or withdrawal."""

from __future__ import annotations

from starlette.responses import Response

from gateway.console.asking import Refused
from gateway.console.page import Page
from gateway.console.view import View

VERBS = {"approve": "agreed", "reject": "refused", "withdraw": "withdrawn"}
"""What is asked of the API → which sentence of said.py follows."""


async def _show(view: View, status: int = 200) -> Response:
    proposal = await view.api.get(_path(view))
    names = {
        by["id"]: await _name(view, by)
        for by in (proposal["proposed_by"], proposal["decided_by"])
        if by is not None
    }
    return view.page(
        "proposal.html", status=status, proposal=proposal, own=_own(view, proposal), names=names
    )


async def _name(view: View, by: dict[str, str]) -> str:
    """A person's, where the visitor may know it; else the id."""
    if view.me is not None and by["id"] == view.me["person_id"]:
        return str(view.me["name"])
    if by["kind"] != "human" or not view.may("people:read"):
        return by["id"]
    return str((await view.api.get(f"/v1/people/{by['id']}"))["name"])


def _own(view: View, proposal: dict[str, object]) -> bool:
    """Whether the visitor asked for it, as far as can be seen: the API knows their keys as well."""
    by = proposal["proposed_by"]
    return isinstance(by, dict) and view.me is not None and by.get("id") == view.me.get("person_id")


async def _decide(view: View) -> Response:
    verb = view.sent["verb"] if view.sent["verb"] in VERBS else "reject"
    try:
        await view.change("POST", f"{_path(view)}/{verb}", {"comment": view.sent["reason"]})
    except Refused as no:
        view.problem = no
        return await _show(view, no.status)
    return view.go(f"/console/proposals/{view.at('proposal_id')}", said=VERBS[verb])


def _path(view: View) -> str:
    return f"/v1/proposals/{view.at('proposal_id')}"


PAGES = (Page(path="/proposals/{proposal_id:uuid}", get=_show, post=_decide),)
