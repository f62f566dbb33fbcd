"""The page on which an object's commonest settings are edited: one for strategies, subscriptions and accounts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.responses import Response

from gateway.console.after import after
from gateway.console.asking import Refused
from gateway.console.page import Page
from gateway.console.setting_fields import Field, changed, filled, typed
from gateway.console.view import View

More = Callable[[View], Awaitable[dict[str, Any]]]


async def _nothing(view: View) -> dict[str, Any]:
    return {}


def edit_page(noun: str, plural: str, fields: Sequence[Field], more: More = _nothing) -> Page:
    """Its template is `<noun>_edit.html`, given the object under its noun; `more`: what the template wants beside.

    Refused, the form comes again with what was typed and what the API said.
    """

    def own(view: View) -> str:
        return f"/{plural}/{view.at(f'{noun}_id')}"

    async def show(view: View, status: int = 200) -> Response:
        one = await view.api.get(f"/v1{own(view)}")
        now = filled(one, fields)
        return view.page(
            f"{noun}_edit.html", status=status, fields=fields, now=now,
            values=typed(now, fields, view.sent), **{noun: one}, **await more(view),
        )  # fmt: skip

    async def save(view: View) -> Response:
        try:
            got = await view.change("PATCH", f"/v1{own(view)}", changed(fields, view.sent))
        except Refused as no:
            view.problem = no
            return await show(view, no.status)
        return after(view, got, f"/console{own(view)}")

    return Page(path=f"/{plural}/{{{noun}_id:uuid}}/edit", get=show, post=save)
