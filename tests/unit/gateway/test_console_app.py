"""The console as an app on a phone: its manifest, its icons, and a worker that keeps nothing of a tenant's."""

from __future__ import annotations

import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from gateway.console import files
from gateway.console.pages import PAGES
from gateway.notify import words
from ops.icons import ICONS, drawn
from tests.unit.notify.test_push import event

STATIC = Path(files.__file__).parent / "static"
MANIFEST: dict[str, Any] = json.loads((STATIC / "manifest.webmanifest").read_text())


def pixels(name: str) -> tuple[int, bytes]:
    """Width, and RGBA rows, of one of our own PNGs."""
    data = (STATIC / name).read_bytes()
    (width,) = struct.unpack(">I", data[16:20])
    start = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[start - 4 : start])
    rows = zlib.decompress(data[start + 4 : start + 4 + length])
    stride = width * 4 + 1
    return width, b"".join(rows[at + 1 : at + stride] for at in range(0, len(rows), stride))


@pytest.mark.parametrize("name", ICONS)
def test_an_icon_is_what_its_script_draws(name: str) -> None:
    shape, size = ICONS[name]
    assert pixels(name) == (size, drawn(shape, size))


def test_a_maskable_icon_has_no_transparent_corner_and_keeps_clear_of_the_edge() -> None:
    size, found = pixels("icon-maskable-192.png")
    assert set(found[3::4]) == {255}
    white = [n for n in range(size * size) if found[n * 4 : n * 4 + 3] == b"\xff\xff\xff"]
    far = max((n % size - 95.5) ** 2 + (n // size - 95.5) ** 2 for n in white)
    assert far**0.5 <= 0.4 * size


def test_the_manifest_names_files_that_are_there_in_the_sizes_it_says() -> None:
    for icon in MANIFEST["icons"]:
        name = icon["src"].removeprefix("/console/static/")
        assert name in files.served(), name
        if name.endswith(".png"):
            assert icon["sizes"] == "{0}x{0}".format(pixels(name)[0])
    purposes = {(icon["sizes"], icon["purpose"]) for icon in MANIFEST["icons"]}
    assert {("192x192", "any"), ("512x512", "any"), ("512x512", "maskable")} <= purposes


def test_the_app_begins_and_stays_within_the_console() -> None:
    assert MANIFEST["start_url"] == MANIFEST["scope"] == "/console/"
    assert MANIFEST["display"] == "standalone"
    assert [one["url"] for one in MANIFEST["shortcuts"]] == [
        "/console/approvals", "/console/kill-switch",
    ]  # fmt: skip


def test_the_worker_keeps_the_offline_page_and_its_style_and_nothing_else() -> None:
    worker = (STATIC / "worker.js").read_text()
    assert 'const OFFLINE = "/console/static/offline.html";' in worker
    assert 'const KEPT = [OFFLINE, "/console/static/offline.css"];' in worker
    assert re.findall(r"\bcache\.(\w+)\(", worker) == ["addAll"]
    assert re.findall(r"\bcaches\.(\w+)\(", worker) == ["open", "keys", "delete", "match", "match"]


def test_the_offline_page_stands_alone_and_says_it_in_both_languages() -> None:
    page = (STATIC / "offline.html").read_text()
    assert set(re.findall(r'(?:href|src)="([^"]+)"', page)) == {
        "/console/static/offline.css", "data:,", "/console/",
    }  # fmt: skip
    assert "Nothing that you saw before is current" in page
    assert 'lang="zh-Hant-TW"' in page


@pytest.mark.parametrize("name", ["worker.js", "push.js"])
def test_a_script_asks_for_permission_after_a_click_and_evaluates_nothing(name: str) -> None:
    script = (STATIC / name).read_text()
    assert not re.search(
        r"\beval\(|new Function|innerHTML|insertAdjacentHTML|document\.write", script
    )
    if name == "push.js":
        asked = script.index("requestPermission")
        assert script.rindex("async function turnOn", 0, asked) < asked
        assert script.count("turnOn(") == 2, "its definition, and the answer to the form"


def test_every_place_that_a_message_leads_to_is_below_the_console() -> None:
    """Pages of other parts may not be there yet; what is, is known under that very path."""
    places = {
        words.place(event(kind=kind, facts=facts).said)
        for kind in ("approval.asked", "kill_switch", "order.fill")
        for facts in ({}, {"signal_id": "S"}, {"proposal": "P"})
    }
    assert places == {
        "/console/approvals", "/console/approvals/S", "/console/proposals/P", "/console/kill-switch",
        "/console/signals/S", "/console/",
    }  # fmt: skip
    assert "/signals/{signal_id:uuid}" in {page.path for page in PAGES}
