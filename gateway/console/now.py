"""Now: the signals as they come, and how far each is with its accounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from gateway.console.language import mark
from gateway.console.page import Page
from gateway.console.view import View

SHOWN = 25
SHARES: Mapping[str, tuple[str, ...]] = {
    "done": ("filled", "cancels"),
    "open": ("planned", "working", "asked"),
    "skipped": ("skipped",),
    "refused": ("failed", "partly_filled", "declined"),
}
"""Which states of accounts make which share of a signal's bar; what is in doubt is taken out of `open`."""


def shares(signal: Mapping[str, Any]) -> list[tuple[str, int]]:
    """How many accounts each share has, in the bar's order. Their sum is that of the states."""
    counts = {
        share: sum(signal["states"].get(state, 0) for state in states)
        for share, states in SHARES.items()
    }
    doubt = min(signal.get("in_doubt", 0), counts["open"])
    counts["open"] -= doubt
    return [(share, counts[share]) for share in ("done", "open")] + [
        ("doubt", doubt), ("refused", counts["refused"]), ("skipped", counts["skipped"]),
    ]  # fmt: skip


async def _show(view: View) -> Response:
    if view.platform:
        return view.go("/console/operators")
    return view.page("now.html", **await _seen(view))


async def _part(view: View) -> Response:
    return view.page("parts/signals.html", **await _seen(view))


async def _seen(view: View) -> dict[str, Any]:
    wanted = {name: view.asked(name) for name in ("ticker", "status", "strategy_id")}
    page = await view.api.get(
        "/v1/signals/progress", limit=SHOWN, cursor=view.asked("cursor"), **wanted
    )
    return {
        "signals": [{**one, "shares": shares(one)} for one in page["items"]],
        "next": page.get("next"),
        "wanted": wanted,
        "first": not view.asked("cursor"),
    }


async def _badges(view: View) -> Response:
    """What the bar above every page says: whether something is halted, what waits for a yes, what is in doubt."""
    halts = await view.api.some("/v1/halts") if view.may("halts:read") else []
    waiting = 0
    if view.may("signals:read"):
        waiting += len(await view.api.some("/v1/approvals", state="pending", limit=100))
    if view.may("proposals:read"):
        waiting += len(await view.api.some("/v1/proposals", state="open", limit=100))
    doubts = len(await view.api.some("/v1/doubts", limit=100)) if view.may("orders:read") else 0
    return view.page("parts/badges.html", halts=halts, waiting=waiting, doubts=doubts)


PAGES = (
    Page(path="/", get=_show, menu=mark("Now"), icon="now", action="orders:read"),
    Page(path="/parts/signals", get=_part),
    Page(path="/parts/badges", get=_badges),
)
