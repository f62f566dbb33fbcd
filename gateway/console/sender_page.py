"""The sender's page of a hook: the TradingView message, the Pine Script, a signed curl line, and a test signal.

Everything is built from what the form above it says, by the server; what a shell or TradingView is given contains
no secret: a shell asks for it, and TradingView's token is a part of the address that was shown once.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from gateway.console.asking import Refused
from gateway.console.page import Page
from gateway.console.view import View

ACTIONS = ("buy", "sell", "exit", "add", "reverse", "cancel")
QUANTITIES = (
    "fixed_quantity", "dollar_amount", "percent_of_equity", "risk_percent", "risk_dollar_amount",
    "percent_of_position",
)  # fmt: skip
TOKEN = "TOKEN"  # noqa: S105 - what stands in its place
WITHOUT_QUANTITY = frozenset({"exit", "cancel"})


def wanted(given: Mapping[str, str]) -> dict[str, str]:
    """What the form says, with what is usual where it says nothing."""
    usual = {
        "ticker": "BTC_USDT", "action": "buy", "quantity": "10", "quantity_type": "fixed_quantity",
        "price": "",
    }  # fmt: skip
    return {name: given.get(name, otherwise) for name, otherwise in usual.items()}


def signal_of(asked: Mapping[str, str]) -> dict[str, Any]:
    """The signal that these fields are, as a sender would write it. Pure."""
    made: dict[str, Any] = {"ticker": asked["ticker"], "action": asked["action"]}
    if asked["quantity"] and asked["action"] not in WITHOUT_QUANTITY:
        made["quantity"] = asked["quantity"]
        if asked["quantity_type"] != "fixed_quantity":
            made["quantityType"] = asked["quantity_type"]
    if asked["price"]:
        made["signalPrice"] = asked["price"]
    return made


def tradingview_message(asked: Mapping[str, str]) -> str:
    """For an alert of a strategy: its placeholders say what; a quantity of ours takes the place of theirs."""
    made = {
        "ticker": "{{ticker}}", "action": "{{strategy.order.action}}",
        "sentiment": "{{strategy.market_position}}",
        "quantity": asked["quantity"] or "{{strategy.order.contracts}}",
    }  # fmt: skip
    if asked["quantity_type"] != "fixed_quantity":
        made["quantityType"] = asked["quantity_type"]
    made |= {"signalPrice": "{{strategy.order.price}}", "time": "{{timenow}}"}
    return json.dumps(made, indent=2)


def pine_script(asked: Mapping[str, str]) -> str:
    """An indicator that sends this signal itself, by alert(). Pure."""
    said = [f'"ticker":"\' + syminfo.ticker + \'","action":"{_pine(asked["action"])}"']
    made = signal_of(asked)
    for name in ("quantity", "quantityType"):
        if name in made:
            said.append(f'"{name}":"{_pine(made[name])}"')
    said.append('"signalPrice":"\' + str.tostring(close) + \'"')
    said.append("\"time\":' + str.tostring(timenow) + '")
    return "\n".join(
        (
            "//@version=6",
            'indicator("Portcullis", overlay = true)',
            "",
            "if ta.crossover(ta.ema(close, 9), ta.ema(close, 21))",
            f"    alert('{{{','.join(said)}}}', alert.freq_once_per_bar_close)",
        )
    )


def _pine(text: str) -> str:
    return text.replace("\\", "").replace('"', "").replace("'", "")


def curl_line(address: str, asked: Mapping[str, str]) -> str:
    """A signed message (Standard Webhooks, v1) for a shell with openssl and curl; it asks for the secret. Pure."""
    body = shlex.quote(json.dumps(signal_of(asked), separators=(",", ":")))
    return (
        "read -rsp 'whsec_… ' secret; echo;"
        f" body={body}; id=msg_$(date +%s%N); at=$(date +%s);"
        " key=$(printf %s \"${secret#whsec_}\" | base64 -d | od -An -tx1 -v | tr -d ' \\n');"
        ' sig=$(printf %s "$id.$at.$body" | openssl dgst -sha256 -mac HMAC -macopt hexkey:$key -binary | base64);'
        f" curl {shlex.quote(address)} -H 'content-type: application/json'"
        ' -H "webhook-id: $id" -H "webhook-timestamp: $at" -H "webhook-signature: v1,$sig" -d "$body"'
    )


def token_line(address: str, asked: Mapping[str, str]) -> str:
    """The same for a hook whose token stands in the address."""
    body = shlex.quote(json.dumps(signal_of(asked), separators=(",", ":")))
    return (
        f"read -rsp 'token: ' token; echo; curl {shlex.quote(address)}/\"$token\""
        f" -H 'content-type: application/json' -d {body}"
    )


async def _show(view: View) -> Response:
    return await _shown(view, wanted(view.request.query_params))


async def _shown(
    view: View,
    asked: dict[str, str],
    *,
    answer: Any = None,
    unconfirmed: bool = False,
    status: int = 200,
) -> Response:
    hook = await view.api.get(f"/v1/hooks/{view.at('hook_id')}")
    signs = hook["sender"] == "standard_webhooks"
    line = (curl_line if signs else token_line)(hook["address"], asked)
    real = await real_followers(view, hook["strategy_id"])
    return view.page(
        "sender.html", status=status, hook=hook, asked=asked, actions=ACTIONS, quantities=QUANTITIES,
        body=json.dumps(signal_of(asked), indent=2), line=line, pine=pine_script(asked),
        message=tradingview_message(asked), answer=answer, real=real, signs=signs,
        unconfirmed=unconfirmed,
    )  # fmt: skip


async def real_followers(view: View, strategy_id: str) -> int:
    """How many accounts that move real money follow the strategy."""
    followers = await view.api.all("/v1/subscriptions", strategy_id=strategy_id, enabled="true")
    live = {one["account_id"] for one in await view.api.all("/v1/accounts") if not one["live"]}
    return sum(one["account_id"] not in live for one in followers)


async def _test(view: View) -> Response:
    """The signal on its way over the wire; what the public listener said is on the page."""
    asked = wanted(dict(view.sent.pairs))
    hook = view.at("hook_id")
    real = await real_followers(view, (await view.api.get(f"/v1/hooks/{hook}"))["strategy_id"])
    if real and not view.sent["real"]:
        return await _shown(view, asked, unconfirmed=True, status=422)
    body = {"secret": view.sent["secret"], "signal": signal_of(asked)}
    try:
        got = await view.change("POST", f"/v1/hooks/{hook}/test", body)
    except Refused as no:
        view.problem = no
        return await _shown(view, asked, status=no.status)
    if got.content["signal_id"] is not None and got.content["status"] == 202:
        return view.go(f"/console/signals/{got.content['signal_id']}", said="test_sent")
    return await _shown(view, asked, answer=got.content, status=422)


PAGES = (
    Page(path="/hooks/{hook_id}/sender", get=_show),
    Page(path="/hooks/{hook_id}/test", get=_show, post=_test),
)
