"""The list of all pages: the console, whole. Each part has its own; their order is the menu's."""

from __future__ import annotations

from gateway.console import (
    evidence,
    keeping,
    me,
    now,
    operators,
    reports,
    sender_page,
    set_up,
    signal_page,
    signing_in,
    undone,
)
from gateway.console.page import Page

PAGES: tuple[Page, ...] = (
    *now.PAGES,
    *signal_page.PAGES,
    *me.PAGES,
    *signing_in.PAGES,
    *evidence.PAGES,
    *keeping.PAGES,
    *reports.PAGES,
    *undone.PAGES,
    *operators.PAGES,
    *set_up.PAGES,
    *sender_page.PAGES,
)
