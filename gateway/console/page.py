"""A page as a value: where it is, what shows it, what a form on it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

if TYPE_CHECKING:
    from gateway.console.view import View

Handler = Callable[["View"], Awaitable[Response]]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """`path` is below /console, as Starlette writes it. `get` shows it; `post` does what its form says.

    `open`: also for whoever is not signed in. `action`: what one must be allowed to do for it to be offered
    in the navigation; the API decides about the rest. `menu`: its words there, a message id.
    """

    path: str
    get: Handler | None = None
    post: Handler | None = None
    open: bool = False
    menu: str = ""
    icon: str = ""
    action: str = ""
