"""What is in doubt, and a person's word about it; what was left undone, and doing it after all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from gateway.console.asking import Refused
from gateway.console.page import Page
from gateway.console.view import View
from gateway.console.words import WORDS, sentence

STATUSES = ("new", "partially_filled", "filled", "canceled", "expired", "rejected")


async def _doubts(view: View) -> Response:
    return view.page("doubts.html", **await _seen(view))


async def _doubts_part(view: View) -> Response:
    return view.page("parts/doubts.html", **await _seen(view))


async def _seen(view: View) -> dict[str, Any]:
    settled = view.asked("settled") == "true"
    page = await view.api.get(
        "/v1/doubts", settled="true" if settled else None, kind=view.asked("kind"),
        cursor=view.asked("cursor"),
    )  # fmt: skip
    return {
        "doubts": page["items"],
        "next": page.get("next"),
        "settled": settled,
        "kind": view.asked("kind"),
    }


async def _doubt(view: View) -> Response:
    return await _shown_doubt(view)


async def _shown_doubt(view: View, *, status: int = 200) -> Response:
    one = await view.api.get(f"/v1/doubts/{view.at('cl_ord_id')}")
    account = await _name_of(view, one["account_id"])
    return view.page(
        "doubt.html", status=status, one=one, account=account, statuses=STATUSES, typed=view.sent
    )


async def _name_of(view: View, account_id: str) -> str:
    """The account's name, where the visitor may read it."""
    try:
        return str((await view.api.get(f"/v1/accounts/{account_id}"))["name"])
    except Refused:
        return account_id


async def _decide(view: View) -> Response:
    """What a person says of it, as the form has it: facts of an order go with `exists` alone."""
    verdict = view.sent["verdict"]
    said: dict[str, Any] = {"verdict": verdict, "reason": view.sent["reason"]}
    if verdict == "exists":
        said |= view.sent.only("broker_order_id", "ord_status", "cum_qty", "avg_px")
    if verdict == "absent" and view.sent["again"]:
        said["again"] = True
    where = f"/console/doubts/{view.at('cl_ord_id')}"
    try:
        got = await view.change("POST", f"/v1/doubts/{view.at('cl_ord_id')}/decision", said)
    except Refused as no:
        view.problem = no
        return await _shown_doubt(view, status=no.status)
    return view.go(where, said="proposed" if got.status == 202 else "doubt_decided")


def _why(view: View) -> Callable[[str], str]:
    """Why something was left undone, in the reader's language: an order's end, or the plan's reason."""

    def said(reason: str) -> str:
        known = WORDS["undone"].get(reason)
        return view.say(known if known is not None else sentence(reason))

    return said


async def _letters(view: View) -> Response:
    page = await view.api.get("/v1/dead-letters", cursor=view.asked("cursor"))
    strategies = {one["strategy_id"]: one["name"] for one in await view.api.all("/v1/strategies")}
    return view.page(
        "dead_letters.html",
        letters=page["items"],
        next=page.get("next"),
        strategies=strategies,
        said=_why(view),
    )


async def _letter(view: View) -> Response:
    return await _shown_letter(view)


async def _shown_letter(view: View, *, preview: Any = None, status: int = 200) -> Response:
    letter = await view.api.get(f"/v1/dead-letters/{view.at('signal_id')}")
    names = {one["account_id"]: one["name"] for one in await view.api.all("/v1/accounts")}
    return view.page(
        "dead_letter.html", status=status, letter=letter, names=names, preview=preview,
        chosen=set(view.sent.each("account_id")), said=_why(view),
    )  # fmt: skip


async def _preview(view: View) -> Response:
    chosen = view.sent.each("account_id")
    signal = view.at("signal_id")
    body = {"account_ids": chosen} if chosen else {}
    try:
        got = await view.change("POST", f"/v1/dead-letters/{signal}/preview", body)
    except Refused as no:
        view.problem = no
        return await _shown_letter(view, status=no.status)
    return await _shown_letter(view, preview=got.content)


async def _replay(view: View) -> Response:
    signal = view.at("signal_id")
    body = {"preview": view.sent["preview"], "reason": view.sent["reason"]}
    try:
        got = await view.change("POST", f"/v1/dead-letters/{signal}/replay", body)
    except Refused as no:
        view.problem = no
        return await _shown_letter(view, status=no.status)
    return view.go(f"/console/signals/{got.content['replay_id']}", said="replayed")


PAGES = (
    Page(path="/doubts", get=_doubts),
    Page(path="/parts/doubts", get=_doubts_part),
    Page(path="/doubts/{cl_ord_id}", get=_doubt, post=_decide),
    Page(path="/dead-letters", get=_letters),
    Page(path="/dead-letters/{signal_id:uuid}", get=_letter),
    Page(path="/dead-letters/{signal_id:uuid}/preview", get=_letter, post=_preview),
    Page(path="/dead-letters/{signal_id:uuid}/replay", get=_letter, post=_replay),
)
