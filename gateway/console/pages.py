"""The list of all pages: the console, whole. Each part has its own; their order is the menu's."""

from __future__ import annotations

from gateway.console import (
    account_acts,
    accounts,
    approvals,
    kill_switch,
    me,
    notifications,
    now,
    preview,
    proposals,
    signal_page,
    signing_in,
    strategies,
    subscriptions,
)
from gateway.console.page import Page

PAGES: tuple[Page, ...] = (
    *now.PAGES,
    *signal_page.PAGES,
    *accounts.PAGES,
    *account_acts.PAGES,
    *strategies.PAGES,
    *subscriptions.PAGES,
    *preview.PAGES,
    *approvals.PAGES,
    *proposals.PAGES,
    *kill_switch.PAGES,
    *me.PAGES,
    *notifications.PAGES,
    *signing_in.PAGES,
)
