"""Who is told what: this browser and one's other devices, and the tenant's channels."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from gateway.console.language import mark
from gateway.console.page import Page
from gateway.console.view import View

HERE = "/console/me/notifications"
CHANNELS = "/v1/channels"
RULES = (
    ("alert,approval.asked all", mark("alerts and approvals")),
    ("* failures", mark("failures only")),
    ("* all", mark("everything")),
    ("* digest 60", mark("a digest every hour")),
)
"""What a device may be told, as push.js sends it: events, severity, minutes."""
KINDS = {
    "webhook": mark("signed webhook"),
    "email": mark("e-mail"),
    "slack": mark("chat (Slack's form)"),
}
SEVERITIES = {
    "all": mark("everything"),
    "failures": mark("failures only"),
    "digest": mark("digest"),
}
STATES = {
    "working": mark("working"),
    "failing": mark("failing"),
    "gone": mark("given up: the receiver wants no more"),
}


async def _show(view: View) -> Response:
    standing = await view.api.get("/v1/me/push")
    channels = await view.api.all(CHANNELS) if view.may("channels:read") else None
    return view.page("notifications.html", standing=standing, channels=channels, **_words())


def _words() -> dict[str, Any]:
    return {"rules": RULES, "kinds": KINDS, "severities": SEVERITIES, "states": STATES}


async def _test_device(view: View) -> Response:
    got = await view.change("POST", f"/v1/me/push/{view.at('device_id')}/test")
    return view.page("notification_test.html", result=got.content, back=HERE)


async def _remove_device(view: View) -> Response:
    await view.change("DELETE", f"/v1/me/push/{view.at('device_id')}")
    return view.go(HERE, said="saved")


async def _make_key(view: View) -> Response:
    await view.change("POST", "/v1/push-keys", {"end_others": False})
    return view.go(HERE, said="saved")


async def _make_channel(view: View) -> Response:
    """A webhook's secret is shown once, here; a chat's address is put on the channel's own page."""
    kind, sent = view.sent["kind"], view.sent
    body: dict[str, Any] = {
        "name": sent["name"], "kind": kind, "severity": sent["severity"],
    }  # fmt: skip
    if kind == "webhook":
        body["url"] = sent["to"]
    if kind == "email":
        body["recipients"] = sent["to"].replace(",", " ").split()
    got = await view.change("POST", CHANNELS, body)
    if got.status == 202:
        return view.go(HERE, said="proposed")
    if got.content.get("secret"):
        return view.page("channel_secret.html", secret=got.content["secret"], channel=got.content)
    return view.go(f"{HERE}/channels/{got.content['channel_id']}", said="saved")


async def _channel(view: View) -> Response:
    address = f"{CHANNELS}/{view.at('channel_id')}"
    channel = await view.api.get(address)
    deliveries = await view.api.get(f"{address}/deliveries")
    return view.page("channel.html", channel=channel, deliveries=deliveries, **_words())


async def _test_channel(view: View) -> Response:
    channel = view.at("channel_id")
    got = await view.change("POST", f"{CHANNELS}/{channel}/test")
    back = f"{HERE}/channels/{channel}"
    return view.page("notification_test.html", result=got.content, back=back)


async def _address(view: View) -> Response:
    channel = view.at("channel_id")
    await view.change("PUT", f"{CHANNELS}/{channel}/address", {"url": view.sent["url"]})
    return view.go(f"{HERE}/channels/{channel}", said="saved")


_ONE = "/me/notifications/channels/{channel_id:uuid}"
PAGES = (
    Page(path="/me/notifications", get=_show),
    Page(path="/me/notifications/key", post=_make_key),
    Page(path="/me/notifications/devices/{device_id:uuid}/test", post=_test_device),
    Page(path="/me/notifications/devices/{device_id:uuid}/remove", post=_remove_device),
    Page(path="/me/notifications/channels", post=_make_channel),
    Page(path=_ONE, get=_channel),
    Page(path=f"{_ONE}/test", post=_test_channel),
    Page(path=f"{_ONE}/address", post=_address),
)
