"""What is shown after a change: the page it was made on, or the proposal that waits for a second person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from gateway.console.asking import Got
    from gateway.console.view import View

PROPOSED = 202


def after(view: View, got: Got, where: str, *, said: str = "saved") -> Response:
    """`where`, saying `said`; to the proposal instead, where the API made one of the change."""
    if got.status == PROPOSED and got.content is not None:
        return view.go(f"/console/proposals/{got.content['proposal_id']}", said="proposed")
    return view.go(where, said=said)
