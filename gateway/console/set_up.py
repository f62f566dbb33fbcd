"""Set-up: from an empty house to a first paper signal, step by step, each of which knows whether it is done.

Five forms, each one request to the API: a strategy, a paper account, that the account follows, a hook, a test
signal over the wire. The hook's secret is shown once, on the page that answers the form; the test signal of that
page carries it along, and afterwards it has to be typed in.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from gateway.console.asking import Got, Refused
from gateway.console.language import mark
from gateway.console.page import Page
from gateway.console.view import View

PAPER = "paper"
FOLLOWERS_MOST = 1000


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is. `real`: how many accounts that move real money follow the strategy."""

    strategies: list[dict[str, Any]]
    strategy: dict[str, Any] | None
    account: dict[str, Any] | None
    follows: bool
    followers: int
    real: int
    hook: dict[str, Any] | None
    signal: dict[str, Any] | None

    @property
    def next(self) -> int:
        """The first step that is not done; 6 where all are."""
        done = (self.strategy, self.account, self.follows or None, self.hook, self.signal)
        return next((number for number, one in enumerate(done, 1) if one is None), 6)


async def _read(view: View) -> Steps:
    strategies = await view.api.all("/v1/strategies")
    wanted = view.asked("strategy_id")
    found = [one for one in strategies if one["strategy_id"] == wanted] or strategies[-1:]
    accounts = await view.api.all("/v1/accounts", FOLLOWERS_MOST)
    paper = [one for one in accounts if one["broker"] == PAPER and one["shadow_of"] is None]
    if not found:
        return Steps(
            strategies=[], strategy=None, account=paper[-1] if paper else None, follows=False,
            followers=0, real=0, hook=None, signal=None,
        )  # fmt: skip
    name = found[0]["strategy_id"]
    followers = await view.api.all("/v1/subscriptions", FOLLOWERS_MOST, strategy_id=name)
    by_id = {one["account_id"]: one for one in accounts}
    following = [
        one for one in paper if any(f["account_id"] == one["account_id"] for f in followers)
    ]
    hooks = await view.api.some("/v1/hooks", strategy_id=name)
    signals = await view.api.some("/v1/signals/progress", strategy_id=name, limit=1)
    return Steps(
        strategies=strategies, strategy=found[0],
        account=(following or paper)[-1] if paper else None, follows=bool(following),
        followers=len(followers), real=sum(_is_real(by_id.get(one["account_id"])) for one in followers),
        hook=hooks[-1] if hooks else None, signal=signals[0] if signals else None,
    )  # fmt: skip


def _is_real(account: dict[str, Any] | None) -> bool:
    """An account that was not read counts as real."""
    return account is None or bool(account["live"])


async def _show(view: View) -> Response:
    return view.page("set_up.html", steps=await _read(view), typed=view.sent)


async def _arrived(view: View) -> Response:
    return view.page("parts/set_up_signal.html", steps=await _read(view))


async def _again(view: View, refused: Refused) -> Response:
    """The page with what was typed, and what the API said to it."""
    view.problem = refused
    return view.page("set_up.html", status=refused.status, steps=await _read(view), typed=view.sent)


def _on(view: View, got: Got, strategy: str = "") -> Response:
    """To the next step; where a second person has to agree first, that is said."""
    strategy = strategy or view.asked("strategy_id")
    where = "/console/set-up" + (f"?strategy_id={strategy}" if strategy else "")
    return view.go(where, said="proposed" if got.status == 202 else "set_up_done")


async def _strategy(view: View) -> Response:
    try:
        got = await view.change("POST", "/v1/strategies", {"name": view.sent["name"]})
    except Refused as no:
        return await _again(view, no)
    return _on(view, got, (got.content or {}).get("strategy_id", ""))


async def _account(view: View) -> Response:
    asked = {
        "name": view.sent["name"], "broker": PAPER, "currency": view.sent["currency"],
        "stated_equity": view.sent["stated_equity"],
    }  # fmt: skip
    try:
        return _on(view, await view.change("POST", "/v1/accounts", asked))
    except Refused as no:
        return await _again(view, no)


async def _follow(view: View) -> Response:
    asked = view.sent.only("strategy_id", "account_id")
    try:
        got = await view.change("POST", "/v1/subscriptions", asked)
    except Refused as no:
        return await _again(view, no)
    return _on(view, got, asked.get("strategy_id", ""))


async def _hook(view: View) -> Response:
    asked = view.sent.only("strategy_id", "name", "sender")
    try:
        got = await view.change("POST", "/v1/hooks", asked)
    except Refused as no:
        return await _again(view, no)
    if got.status == 202:
        return _on(view, got, asked.get("strategy_id", ""))
    return view.page(
        "hook_secret.html", status=201, hook=got.content, steps=await _read(view), typed={}
    )


PAGES = (
    Page(path="/set-up", get=_show, menu=mark("Set-up"), icon="set-up", action="hooks:write"),
    Page(path="/set-up/signal", get=_arrived),
    Page(path="/set-up/strategy", get=_show, post=_strategy),
    Page(path="/set-up/account", get=_show, post=_account),
    Page(path="/set-up/subscription", get=_show, post=_follow),
    Page(path="/set-up/hook", get=_show, post=_hook),
)
