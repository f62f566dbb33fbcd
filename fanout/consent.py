"""Signals by approval: what a person is asked, and whether their yes still means the same. Pure.

Asked about is one account's part of one signal: exactly the legs of its plan entry. A yes is worth
something only while everything is as it was when it was asked for: the same settings and limits,
the same position, nothing halted meanwhile. Anything else makes it void, and void means no.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

import msgspec

from fanout.groups import Asked as Asked
from fanout.judge import only_reduces, stopped
from fanout.market import AccountNow
from fanout.reasons import SENTENCES, Reason
from fanout.windows import Windows
from tenancy.snapshot import Snapshot, Subscribed
from tenancy.values import plain


class Void(StrEnum):
    """Why a yes is worth nothing, beside the reasons for which plans refuse."""

    NO_SUBSCRIPTION = "no_subscription"
    TERMS_CHANGED = "terms_changed"
    POSITION_CHANGED = "position_changed"
    TOO_LATE = "too_late"


VOID_SENTENCES: dict[Void, str] = {
    Void.NO_SUBSCRIPTION: "The account does not follow the strategy any more.",
    Void.TERMS_CHANGED: "Settings or limits that hold for the account have changed since it was asked.",
    Void.POSITION_CHANGED: "The account's position is not the one that the order was planned for.",
    Void.TOO_LATE: "A position may not be opened so long after the yes.",
}


def sentence(why: Reason | Void) -> str:
    """For people."""
    return VOID_SENTENCES[why] if isinstance(why, Void) else SENTENCES[why]


def ask(row: Subscribed, planned_at: datetime, *, heeds_windows: bool) -> Asked | None:
    """The question that the subscription wants put before it trades; None where it wants none."""
    if not row.settings.needs_approval.value:
        return None
    minutes = row.settings.approval_minutes.value
    return Asked(
        subscription_id=row.subscription_id,
        expires_at=planned_at + timedelta(minutes=minutes),
        terms=terms_of(row),
        heeds_windows=heeds_windows,
    )


def terms_of(row: Subscribed) -> str:
    """A digest of every setting and limit that holds for the account, wherever each comes from."""
    held = (row.settings, row.limits, row.account.currency, plain(row.account.leverage))
    encoded = msgspec.json.encode(held, order="deterministic")
    return hashlib.sha256(encoded).hexdigest()


def void(
    asked: Asked,
    snapshot: Snapshot,
    now: AccountNow,
    *,
    position: Decimal,
    opens: bool,
    too_late: bool,
    windows: Windows | None,
) -> Reason | Void | None:
    """Why the yes means no now; None where it still holds.

    `position`: what the plan counted on. `snapshot`: with the account's row, if there is one still.
    `too_late`: the time in which a position may be opened after the yes is over. `windows`: the
    trading windows now, where whoever asks knows exchanges' calendars.
    """
    row = next((r for r in snapshot.rows if r.subscription_id == asked.subscription_id), None)
    if row is None:
        return Void.NO_SUBSCRIPTION
    refused = stopped(snapshot, row)
    if refused is not None:
        return refused
    if opens and only_reduces(snapshot, row):
        return Reason.REDUCE_ONLY
    if terms_of(row) != asked.terms:
        return Void.TERMS_CHANGED
    if now.in_doubt:
        return Reason.IN_DOUBT
    if now.expected != position:
        return Void.POSITION_CHANGED
    if opens and windows is not None and asked.heeds_windows:
        open_now = windows.open(row.settings.trading_windows.value)
        if open_now is not True:
            return (
                Reason.TRADING_WINDOW_UNKNOWN if open_now is None else Reason.OUTSIDE_TRADING_WINDOW
            )
    return Void.TOO_LATE if opens and too_late else None
