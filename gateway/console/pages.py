"""The list of all pages: the console, whole. Each part has its own; their order is the menu's."""

from __future__ import annotations

from gateway.console import (
    account_acts,
    accounts,
    approvals,
    evidence,
    keeping,
    kill_switch,
    me,
    notifications,
    now,
    operators,
    preview,
    proposals,
    reports,
    sender_page,
    set_up,
    signal_page,
    signing_in,
    strategies,
    subscriptions,
    undone,
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
    *evidence.PAGES,
    *keeping.PAGES,
    *reports.PAGES,
    *undone.PAGES,
    *operators.PAGES,
    *set_up.PAGES,
    *sender_page.PAGES,
    *me.PAGES,
    *notifications.PAGES,
    *signing_in.PAGES,
)
