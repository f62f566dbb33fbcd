"""What the API's operations are called on the command line, and which columns a table has. Pure.

The rule: the first part of the address is the group (`/v1/strategies` → `strategy`), the
operation's name without that noun is the command (`change_strategy` → `change`). What reads better
otherwise is in PRETTY; what has no place here is in NOT_HERE, with the reason.
"""

from __future__ import annotations

import msgspec

from gateway.admin.operation import Operation


class Place(msgspec.Struct, frozen=True):
    """Where an operation is found."""

    group: str
    command: str


GROUPS = {
    "tenants": "tenant", "tenant": "tenant", "people": "user", "keys": "key", "service-keys": "key",
    "strategies": "strategy", "hooks": "hook", "accounts": "account", "groups": "group",
    "account-groups": "group", "subscriptions": "subscription", "limits": "limit",
    "platform": "tenant", "halts": "halt", "halt": "halt", "signals": "signal", "orders": "order",
    "positions": "position", "approvals": "approval", "proposals": "proposal",
    "channels": "channel", "push-keys": "channel", "notifications": "channel", "access": "access",
    "access-grants": "access", "events": "event", "subjects": "subject", "fills": "fill",
    "instruments": "instrument", "plans": "signal", "kill-switch": "halt", "interventions": "halt",
    "doubts": "doubt", "dead-letters": "deadletter",
    "alerts": "event", "holds": "subject", "audit-halts": "halt", "drifts": "drift",
    "reconciliations": "drift",
}  # fmt: skip
"""First part of an address → group."""

NOUNS = {
    "tenant": ("tenant", "tenants"),
    "user": ("person", "people", "of_person"),
    "key": ("service_key", "service_keys", "key", "keys"),
    "strategy": ("strategy", "strategies"),
    "hook": ("hook", "hooks"),
    "account": ("account", "accounts"),
    "group": ("group", "groups", "account_group", "account_groups"),
    "subscription": ("subscription", "subscriptions"),
    "limit": ("limit", "limits"),
    "halt": ("halt", "halts"),
    "signal": ("signal", "signals"),
    "order": ("order", "orders"),
    "position": ("position", "positions"),
    "approval": ("approval", "approvals"),
    "proposal": ("proposal", "proposals"),
    "channel": ("channel", "channels"),
    "access": ("access_grant", "access_grants", "access"),
    "event": ("event", "events"),
    "subject": ("subject", "subjects"),
    "instrument": ("instrument", "instruments"),
    "fill": ("fill", "fills"),
    "drift": ("drift", "drifts"),
    "doubt": ("doubt", "doubts"),
    "deadletter": ("dead_letter", "dead_letters"),
}
"""Group → the words for its object in operations' names."""

PRETTY = {
    "end_sessions_of_person": "end-sessions",
    "reset_factors_of_person": "reset-factors",
    "ask_access": "ask",
    "get_tenant_entry": "entry",
    "get_tenant_keys": "keys",
    "list_platform_keys": "platform-keys",
    "offboard_tenant": "offboard",
    "get_offboarding": "offboarding",
    "approve_order_of_signal": "approve",
    "reject_order_of_signal": "reject",
    "list_audit_halts": "audit-halts",
    "lift_audit_halt": "lift-audit",
    "list_interventions": "interventions",
    "get_intervention": "show-intervention",
    "list_stopped_orders": "stopped-orders",
    "list_reconciliations": "reconciliations",
    "get_fairness_report": "fairness",
    "get_execution_report": "execution",
    "make_push_key": "push-key",
}
"""Operation → command, where the rule gives no good word."""

_VERBS = {"get": "show", "read": "show", "roll_back": "rollback", "stream": "follow"}

NOT_HERE = {
    "sessions": "`portcullis me login` and `logout`",
    "me": "`portcullis me`",
    "invitations": "`portcullis me join`",
    "oidc": "signing in with a browser",
    "configuration": "`portcullis apply` and `portcullis export`",
    "enrolment-key": "`portcullis credential enrol` reads it",
    "openapi.json": "`portcullis openapi` prints it",
    "docs": "a page for a browser",
    "audit": "`portcullis audit`, on the host; jobs and examiners are the API's alone",
}
"""First part of an address → why there is no command for it."""

COLUMNS: dict[str, tuple[str, ...]] = {
    "fills": ("account_id", "symbol", "side", "last_qty", "last_px", "order_id", "at"),
    "interventions": ("intervention_id", "level", "scope", "state", "at", "reason"),
    "stopped-orders": ("cl_ord_id", "account_id", "side", "order_qty", "symbol", "status", "text"),
    "accounts": (
        "account_id", "state", "reason", "order_qty", "cum_qty", "avg_px", "slippage_signal_bps", "send_ms",
    ),
    "revisions": ("revision", "at", "actor", "why", "proposal_id"),
    "tenant": ("tenant_id", "name", "kind", "state", "created_at"),
    "platform-keys": ("tenant", "kind", "version", "state", "made_at", "due_at", "label"),
    "user": ("person_id", "name", "email", "roles", "state", "last_seen_at"),
    "key": ("key_id", "name", "scopes", "expires_at", "revoked_at"),
    "strategy": ("strategy_id", "name", "asset_class", "sequence", "state", "version", "revision"),
    "hook": ("hook_id", "name", "strategy_id", "sender", "enabled", "url", "revision"),
    "account": (
        "account_id", "name", "broker", "live", "currency", "stated_equity", "state", "revision",
    ),
    "group": ("group_id", "name", "state", "revision"),
    "subscription": (
        "subscription_id", "strategy_id", "account_id", "enabled", "priority", "revision",
    ),
    "signal": ("signal_id", "strategy_id", "ticker", "message_id", "status", "received_at"),
    "order": (
        "order_id", "account_id", "side", "order_qty", "symbol", "status", "cum_qty", "avg_px",
        "intent_at",
    ),
    "position": ("account_id", "strategy_id", "symbol", "qty", "avg_px", "updated_at"),
    "instrument": (
        "broker", "symbol", "kind", "currency", "multiplier", "lot_step", "tick", "mark_price", "bid",
        "ask", "age_ms",
    ),
    "proposal": ("proposal_id", "operation", "kind", "reasons", "state", "expires_at"),
    "approval": ("signal_id", "account_id", "strategy_id", "state", "expires_at"),
    "channel": ("channel_id", "name", "kind", "enabled", "revision"),
    "doubt": (
        "cl_ord_id", "kind", "age_s", "side", "order_qty", "symbol", "broker", "account_id", "asked", "answer",
    ),
    "deadletter": ("signal_id", "strategy_id", "ticker", "received_at", "accounts", "replayed", "reasons"),
    "halt": ("scope", "name", "state", "since", "reason", "intervention_id"),
    "limit": ("layer", "name", "limits", "revision"),
    "access": ("grant_id", "operator_id", "reason", "minutes", "state", "expires_at"),
}  # fmt: skip
"""What the list of a group (or a command) shows to people; what an item does not have is left out."""


def columns(place: Place) -> tuple[str, ...]:
    """Of a command's table; none: what the items themselves have."""
    if place.command == "list":
        return COLUMNS.get(place.group, ())
    return COLUMNS.get(place.command, ())


DANGEROUS = (
    "archive",
    "revoke",
    "remove",
    "delete",
    "end-",
    "reset-",
    "cancel",
    "refuse",
    "decide",
)
"""Beginnings of commands that ask before they act; every DELETE does."""

EXAMPLES = {
    "create_strategy": "portcullis strategy create trend --default-quantity 2",
    "change_strategy": "portcullis strategy change trend --max-order-quantity 10 --reason 'as agreed'",
    "create_account": "portcullis account create 'Client 1' --broker paper --stated-equity 100000",
    "create_group": "portcullis group create growth --override-quantity 0.5"
    " --override-quantity-type multiplier",
    "create_subscription": "portcullis subscription create --strategy trend --account 'Client 1'",
    "create_hook": "portcullis hook create --strategy trend --out trend.hook",
    "list_signals": "portcullis signal list --limit 10",
    "decide_doubt": "portcullis doubt decide ORDER.1 --verdict absent --reason 'not in the broker's own list'",
    "replay_dead_letter": "portcullis deadletter replay SIGNAL --preview ID --reason 'the broker was down'",
    "get_fairness_report": "portcullis report fairness --strategy trend --format svg -o fairness.svg",
    "create_person": "portcullis user create 'A. Lovelace' --email ada@example.com --roles trader",
}
"""Operation → a line that works."""


ELSEWHERE = {
    "get_credential": Place("credential", "show"),
    "revoke_credential": Place("credential", "revoke"),
    "get_outcome": Place("signal", "outcome"),
    "list_outcome_accounts": Place("signal", "accounts"),
    "list_fills": Place("order", "fills"),
    "list_balances": Place("position", "balances"),
}
"""Operations that stand in another group than their address says."""

IN_OTHER_WORDS = {
    "put_credential": "portcullis credential enrol",
    "put_channel_address": "portcullis channel address",
    "test_hook": "portcullis hook send",
    "halt": "portcullis halt on",
    "release": "portcullis halt release",
    "create_tenant": "portcullis tenant create",
    "preview_signal": "portcullis signal preview",
    "replay_signals": "portcullis signal replay",
    "preview_dead_letter": "portcullis deadletter preview",
}
"""Operations that a command of their own does, after something that only the caller's side can do."""


def segment(operation: Operation) -> str:
    """The first part of the address after /v1."""
    return operation.path.removeprefix("/v1/").split("/", 1)[0]


def place(operation: Operation) -> Place | None:
    """None: it has no command (NOT_HERE), or anybody may call it (signing in)."""
    first = segment(operation)
    if first in NOT_HERE or operation.action is None or operation.html:
        return None
    if operation.name in ELSEWHERE:
        return ELSEWHERE[operation.name]
    if operation.name in IN_OTHER_WORDS:
        return None
    group = GROUPS.get(first, first.removesuffix("s"))
    if operation.name in PRETTY:
        return Place(group, PRETTY[operation.name])
    return Place(group, _command(operation.name, group))


def _command(name: str, group: str) -> str:
    words = f"_{name}_"
    for noun in sorted(NOUNS.get(group, (group,)), key=len, reverse=True):
        if f"_{noun}_" in words:
            words = words.replace(f"_{noun}_", "_", 1)
            break
    bare = words.strip("_")
    for verb, shown in _VERBS.items():
        if bare == verb or bare.startswith(f"{verb}_"):
            bare = shown + bare[len(verb) :]
            break
    if bare == "list_revisions":
        bare = "revisions"
    return bare.replace("_", "-")


def summary(operation: Operation, place: Place) -> str:
    """One sentence; of the commands that all groups have, without HTTP's words."""
    words = SUMMARIES.get(place.command)
    if words is None or not operation.name.endswith(NOUNS.get(place.group, ())):
        return operation.summary
    noun = {"user": "person", "key": "service key", "group": "account group"}.get(
        place.group, place.group
    )
    return words.format(noun=noun, a=f"an {noun}" if noun[0] in "aeio" else f"a {noun}")


SUMMARIES = {
    "show": "Show one {noun}, member by member.",
    "create": "Make {a}.",
    "change": "Change members of {a}; --unset takes one away, so that it is inherited again.",
    "archive": "Archive {a}: it acts no more, and its history stays.",
    "rollback": "Make {a} what it was at an earlier revision.",
}


def asks(operation: Operation, command: str) -> bool:
    """Whether a person is asked before it is done."""
    return operation.method == "DELETE" or command.startswith(DANGEROUS)
