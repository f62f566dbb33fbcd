"""The list of all pages: the console, whole. Each part has its own; their order is the menu's."""

from __future__ import annotations

from gateway.console import me, notifications, now, signal_page, signing_in
from gateway.console.page import Page

PAGES: tuple[Page, ...] = (
    *now.PAGES,
    *signal_page.PAGES,
    *me.PAGES,
    *notifications.PAGES,
    *signing_in.PAGES,
)
