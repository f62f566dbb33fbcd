"""What of the audit log is told to people while it happens: to whom, which facts, and what is an alert.

The one list for the live stream (gateway/admin/events.py) and for notifications by webhook and mail. A kind
that is not in TOLD is told to nobody; a fact that is not named is not told, whatever a payload comes to hold.
Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import msgspec

from audit.record import Kind
from fanout.outcome import Outcome

Group = Literal["signal", "order", "alert", "change"]


class Told(msgspec.Struct, frozen=True):
    """`action`: what one must be allowed to do to hear of it. `facts`: members of the payload."""

    group: Group
    action: str
    facts: tuple[str, ...]


class Alert(msgspec.Struct, frozen=True):
    """Something a person should look at now. `events`: only where the payload's `event` is one of these."""

    name: str
    kind: Kind
    sentence: str
    events: tuple[str, ...] = ()


_SIGNAL = ("signal_id", "strategy_id")
_ATTEMPT = ("cl_ord_id", "state", "code", "text")
_TERMS = (
    "cl_ord_id", "signal_id", "broker", "symbol", "side", "order_qty", "ord_type", "price",
    "time_in_force", "reduce_only", "place", "leg", "attempt",
)  # fmt: skip
_CONDITIONS = (
    "role", "stop_px", "trail_amount", "trail_percent", "best_px", "entry_px", "breakeven_px",
)  # fmt: skip
_CHANGE = ("object", "id", "revision", "why", "proposal", "reasons", "operation")
_SWITCH = (
    "event", "intervention", "level", "scope", "broker", "symbol", "denied", "canceled", "exits",
    "positions_remaining",
)  # fmt: skip
_APPROVAL = (*_CHANGE, *_SIGNAL, "account_id", "symbol", "side", "order_qty", "expires_at")
_PROOF = (
    "event", "credential_id", "account_id", "broker", "api_key", "kek_version", "scopes", "code",
    "text",
)  # fmt: skip
_DRIFT = ("drift_id", "account_id", "broker", "what", "subject", "symbol", "ours", "theirs")
_DOUBT = (
    "cl_ord_id", "doubt", "since", "asked", "text", "broker", "symbol", "side", "order_qty", "strategy_id",
)  # fmt: skip
_DECISION = (
    "cl_ord_id", "decision", "verdict", "again", "ord_status", "cum_qty", "avg_px", "reason", "state", "proposal",
)  # fmt: skip
_LIMIT = (*_SIGNAL, "symbol", "limit", "words")

TOLD: Mapping[Kind, Told] = {
    Kind.SIGNAL_ACCEPTED: Told("signal", "signals:read", (*_SIGNAL, "message_id")),
    Kind.SIGNAL_REFUSED: Told("signal", "signals:read", (*_SIGNAL, "code", "why", "suppressed")),
    Kind.SIGNAL_PLANNED: Told(
        "signal", "signals:read", (*_SIGNAL, "settings_version", "accounts", "reasons")
    ),
    Kind.SIGNAL_REPLAYED: Told(
        "signal", "signals:read", (*_SIGNAL, "replay_id", "accounts", "reason")
    ),
    Kind.SIGNAL_OUTCOME: Told("signal", "orders:read", Outcome.__struct_fields__),
    Kind.ORDER_HELD: Told("order", "orders:read", (*_TERMS, *_CONDITIONS)),
    Kind.ORDER_INTENT: Told(
        "order", "orders:read", (*_TERMS, *_CONDITIONS, "asked_type", "trigger_px")
    ),
    Kind.ORDER_SENT: Told("order", "orders:read", _ATTEMPT),
    Kind.ORDER_ACKNOWLEDGED: Told("order", "orders:read", (*_ATTEMPT, "broker_order_id")),
    Kind.ORDER_REJECTED: Told("order", "orders:read", _ATTEMPT),
    Kind.ORDER_FILL: Told("order", "orders:read", (*_ATTEMPT, "last_qty", "last_px")),
    Kind.ORDER_AMEND: Told("order", "orders:read", (*_ATTEMPT, "order_qty", "price", *_CONDITIONS)),
    Kind.ORDER_CANCEL: Told("order", "orders:read", _ATTEMPT),
    Kind.ORDER_CLOSE: Told("order", "orders:read", (*_ATTEMPT, "cum_qty")),
    Kind.ORDER_IN_DOUBT: Told("order", "orders:read", _ATTEMPT),
    Kind.ORDER_RESOLVED: Told("order", "orders:read", _ATTEMPT),
    Kind.DOUBT_AGED: Told("order", "orders:read", _DOUBT),
    Kind.DOUBT_DECIDED: Told("order", "orders:read", _DECISION),
    Kind.DOUBT_CARRIED: Told("order", "orders:read", _DECISION),
    Kind.DOUBT_VOIDED: Told("order", "orders:read", _DECISION),
    Kind.LIMIT_BLOCKED: Told("order", "orders:read", _LIMIT),
    Kind.APPROVAL_ASKED: Told("change", "proposals:read", _APPROVAL),
    Kind.APPROVAL_GIVEN: Told("change", "proposals:read", _APPROVAL),
    Kind.APPROVAL_REFUSED: Told("change", "proposals:read", _APPROVAL),
    Kind.APPROVAL_EXPIRED: Told("change", "proposals:read", _APPROVAL),
    Kind.KILL_SWITCH: Told("change", "halts:read", (*_CHANGE, *_SWITCH)),
    Kind.ADMIN_CHANGE: Told("change", "revisions:read", _CHANGE),
    Kind.LOGIN: Told("change", "people:read", ("event", "person")),
    Kind.KEY_USE: Told(
        "change", "keys:read", ("event", "key", "account_id", "operation", "broker", "code", "text")
    ),
    Kind.KEY_ROTATION: Told(
        "change",
        "keys:read",
        ("event", "key", "account_id", "version", "due_at", "reenrol", "accounts", "vkey"),
    ),
    Kind.TENANT_KEYS_DESTROYED: Told("change", "keys:read", ("event", "tenant", "versions")),
    Kind.CREDENTIAL_PROVEN: Told("change", "keys:read", _PROOF),
    Kind.CREDENTIAL_REFUSED: Told("change", "keys:read", _PROOF),
    Kind.HSM_REFUSED: Told("change", "keys:read", ("event", "why", "request", "what", "subject")),
    Kind.CHECKPOINT_REFUSED: Told(
        "change", "halts:read", ("event", "halt", "origin", "source", "why")
    ),
    Kind.FILLS_RECONCILED: Told(
        "change",
        "orders:read",
        ("event", "day", "broker", "fills", "statement", "differences", "foreign"),
    ),
    Kind.ACCOUNT_RECONCILED: Told(
        "change", "positions:read", ("account_id", "broker", "epoch", "open_orders")
    ),
    Kind.DRIFT_FOUND: Told("change", "positions:read", (*_DRIFT, "cause", "policy")),
    Kind.DRIFT_EXPLAINED: Told("change", "positions:read", (*_DRIFT, "decision", "why")),
    Kind.DRIFT_CORRECTED: Told(
        "change", "positions:read", (*_DRIFT, "decision", "why", "signal_id")
    ),
    Kind.DRIFT_CLOSED: Told("change", "positions:read", (*_DRIFT, "why")),
    Kind.POSITION_ADJUSTED: Told(
        "change",
        "positions:read",
        ("drift_id", "account_id", "strategy_id", "symbol", "was_qty", "qty", "why"),
    ),
    Kind.ALERT: Told(
        "alert",
        "events:read",
        ("alert", "channel_id", "name", "error", "next_index", "index", "where", "what"),
    ),
}

ALERTS: tuple[Alert, ...] = (
    Alert("kill_switch", Kind.KILL_SWITCH, "Trading was stopped or let go; a stop is carried out, or takes long."),
    Alert("limit_blocked", Kind.LIMIT_BLOCKED, "A limit stopped an order."),
    Alert("order_in_doubt", Kind.ORDER_IN_DOUBT, "Nobody knows yet whether the broker has the order."),
    Alert(
        "doubt_old", Kind.DOUBT_AGED,
        "An order is in doubt for long, or closes a position and cannot be sent: a person may have to decide.",
    ),
    Alert(
        "doubt_decided", Kind.DOUBT_DECIDED, "A person has said what became of an order, in its broker's place.",
    ),
    Alert("order_rejected", Kind.ORDER_REJECTED, "The broker refused an order."),
    Alert(
        "login_locked", Kind.LOGIN, "Signing in as somebody is locked after failures, or a session was stolen.",
        ("login_locked", "session_replayed"),
    ),
    Alert(
        "credential_failed", Kind.KEY_USE, "A broker refused an account's credential, or it has none.",
        ("failed",),
    ),
    Alert(
        "key_due", Kind.KEY_ROTATION, "A key in the HSM is due to be rotated, or overdue.",
        ("key_due_soon", "key_overdue"),
    ),
    Alert(
        "reenrolment_due", Kind.KEY_ROTATION,
        "Secrets are sealed under an old key: put them once more, so that it can be destroyed.",
        ("reenrolment_due",),
    ),
    Alert(
        "keys_destroyed", Kind.TENANT_KEYS_DESTROYED, "A tenant was off-boarded: its keys are destroyed.",
    ),
    Alert(
        "credential_refused", Kind.CREDENTIAL_REFUSED,
        "A broker's key was not taken, or may do more than when it was.",
    ),
    Alert(
        "signing_refused", Kind.HSM_REFUSED,
        "The signer was asked for what it does not sign, or shown a row that is not what was enrolled.",
        ("signing_refused", "seal_broken", "journal_shortened"),
    ),
    Alert(
        "audit_differs", Kind.ALERT, "The audit log's rows, files and checkpoints contradict each other.",
        ("audit_differs",),
    ),
    Alert(
        "audit_halted", Kind.CHECKPOINT_REFUSED,
        "A witness refused an audit log: nothing is opened until two people lift the halt.",
    ),
    Alert(
        "fills_differ", Kind.FILLS_RECONCILED,
        "A broker's statement of a day's fills is not what we recorded.", ("differ",),
    ),
    Alert(
        "drift", Kind.DRIFT_FOUND, "An account's book and its broker's differ, or a signal's order has no fill.",
    ),
    Alert("channel", Kind.ALERT, "A notification channel fails, was closed by its receiver, or works again."),
)  # fmt: skip
"""The alerts, by the names under which people subscribe to them."""


def alert_of(kind: str, payload: Mapping[str, Any]) -> Alert | None:
    """The alert that this record is."""
    for alert in ALERTS:
        if alert.kind == kind and (not alert.events or payload.get("event") in alert.events):
            return alert
    return None


def told(kind: str) -> Told | None:
    """Who may hear of records of this kind, and what; None: nobody."""
    try:
        return TOLD.get(Kind(kind))
    except ValueError:  # a kind of a version that is not this one
        return None


def facts(kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload's members that may be told."""
    known = told(kind)
    names: Collection[str] = known.facts if known is not None else ()
    return {name: payload[name] for name in names if name in payload}
