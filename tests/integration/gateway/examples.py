"""A request for each operation that is answered with a yes, for the matrix and whoever else needs one.

Operations whose body is in SPENT, and those without a body, need no example.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import msgspec

from gateway.admin.objects import Rollback
from tests.integration.gateway.furniture import unique

Build = Callable[[Mapping[str, str]], Any]


class Example(msgspec.Struct, frozen=True):
    """`body` from the ids that stand in for each name. `ids`: members that name other objects.

    `needs`: of which a new one is made for each call. `foreign`: the body in which another tenant's
    ids are tried, where that is not `body`. `places`: what stands in the address for what is no
    object. `query`: one parameter that an operation cannot do without, `{…}` being an id. `statuses`: what
    says that the door was open, where that is no 2xx.
    """

    body: Build | None = None
    ids: frozenset[str] = frozenset()
    needs: tuple[str, ...] = ()
    foreign: Build | None = None
    places: Mapping[str, str] = {}
    query: str = ""
    statuses: frozenset[int] = frozenset()


def _named(ids: Mapping[str, str]) -> Any:
    return {"name": unique()}


def _own(*names: str, **more: Any) -> Build:
    """These ids, and more."""
    return lambda ids: {name: ids.get(name) for name in names} | more


def _account(ids: Mapping[str, str]) -> Any:
    return _own("group_id", name=unique(), broker="paper", currency="USDT")(ids)


def _switch(**said: str) -> Build:
    """A strategy's; the platform's own where there are no strategies."""
    return lambda ids: (
        {"scope": "strategy", "object_id": ids["strategy_id"], "reason": "r", **said}
        if "strategy_id" in ids
        else {"scope": "platform", "reason": "r", **said}
    )


_HALF = "pch_" + 43 * "x"
_NO_ID = "01890000-0000-7000-8000-000000000000"
_PAIR = frozenset({"strategy_id", "account_id"})

SPENT: Mapping[Any, Any] = {Rollback: {"revision": 1}}
"""Bodies that say the same wherever they are."""

EXAMPLES: dict[str, Example] = {
    "get_receipt": Example(
        places={"receipt": "0" * 16 + "." + "0" * 64}, statuses=frozenset({404})
    ),
    "get_audit_record": Example(places={"index": "0"}, statuses=frozenset({404})),
    "get_audit_head": Example(statuses=frozenset({404, 503})),
    "prove_order": Example(places={"order_id": "none"}, statuses=frozenset({404, 503})),
    "get_platform_state": Example(statuses=frozenset({503})),
    "test_hook": Example(
        lambda ids: {
            "secret": "whsec_" + 43 * "A" + "=",
            "signal": {"ticker": "X", "action": "buy"},
        },
        statuses=frozenset({503}),
    ),
    "get_docs_file": Example(places={"file": "start.js"}),
    "create_strategy": Example(_named),
    "create_group": Example(_named),
    "create_account": Example(_account, frozenset({"group_id"})),
    "change_account": Example(_own("group_id"), frozenset({"group_id"})),
    "create_hook": Example(
        lambda ids: _named(ids) | {"strategy_id": ids.get("strategy_id")},
        frozenset({"strategy_id"}),
    ),
    "change_hook": Example(_own("strategy_id"), frozenset({"strategy_id"})),
    "create_service_key": Example(_named),
    "create_subscription": Example(_own(*_PAIR), _PAIR, needs=("account_id",)),
    "change_subscription": Example(_own(enabled=False), _PAIR, foreign=_own(*_PAIR)),
    # People and sessions: what needs a secret of somebody's gets as far as the secret.
    "log_in": Example(
        lambda ids: {"tenant": "admin", "email": f"{unique()}@example.com", "password": "no"},
        statuses=frozenset({401, 429}),
    ),
    "show_second_factor": Example(
        lambda ids: {"half_session": _HALF, "code": "123456"}, statuses=frozenset({401})
    ),
    "ask_webauthn": Example(lambda ids: {"half_session": _HALF}, statuses=frozenset({401})),
    "take_up_invitation": Example(
        lambda ids: {"invitation": "pci_" + 43 * "x", "password": "three blind mice ran"},
        statuses=frozenset({410}),
    ),
    "begin_oidc": Example(places={"provider": "none"}, statuses=frozenset({404})),
    "finish_oidc": Example(places={"provider": "none"}, statuses=frozenset({404})),
    "end_session": Example(statuses=frozenset({404})),
    "change_me": Example(_named),
    "put_password": Example(
        lambda ids: {"current_password": "wrong", "password": "three blind mice ran"},
        statuses=frozenset({401, 409, 422}),
    ),
    "enrol_totp": Example(lambda ids: {}),
    "enrol_webauthn": Example(lambda ids: {}),
    "confirm_factor": Example(
        lambda ids: {"code": "123456"}, places={"factor_id": _NO_ID}, statuses=frozenset({404})
    ),
    "remove_factor": Example(places={"factor_id": _NO_ID}, statuses=frozenset({404})),
    "make_recovery_codes": Example(statuses=frozenset({409})),
    "create_person": Example(lambda ids: {"name": "N", "email": f"{unique()}@example.com"}),
    "create_channel": Example(
        lambda ids: {"name": unique(), "kind": "email", "recipients": ["a@example.com"]}
    ),
    "put_channel_address": Example(
        lambda ids: {"url": "https://hooks.example/T0/B0"}, statuses=frozenset({409})
    ),
    "make_push_key": Example(lambda ids: {"end_others": False}),
    "add_push_device": Example(
        lambda ids: {
            "endpoint": "https://fcm.googleapis.com/fcm/send/x",
            "p256dh": "B" + "A" * 86,
            "auth": "A" * 22,
            "public_key": "B" + "A" * 86,
            "label": "phone",
        },
        statuses=frozenset({409}),
    ),
    "remove_push_device": Example(places={"device_id": _NO_ID}, statuses=frozenset({404})),
    "test_push_device": Example(places={"device_id": _NO_ID}, statuses=frozenset({404})),
    "rotate_channel_secret": Example(lambda ids: {}, statuses=frozenset({409, 422})),
    # The tenant itself, operators let in, proposals.
    "create_tenant": Example(
        lambda ids: {
            "tenant_id": str(uuid4()),
            "name": unique(),
            "audit_log": {
                "log_id": str(uuid4()),
                "origin": f"{unique()}.invalid",
                "key_label": unique(),
                "public_key": b64encode(bytes(32)).decode(),
            },
        },
        frozenset({"tenant_id", "log_id"}),
        statuses=frozenset({409}),  # nobody made its keys in an HSM
    ),
    "roll_back_tenant": Example(statuses=frozenset({404})),  # it never changed
    # The platform itself, and what nobody has agreed on.
    "offboard_tenant": Example(lambda ids: {"reason": "left"}, statuses=frozenset({400, 422})),
    "grow_retention": Example(lambda ids: {"cls": "trade", "regimes": ["finra"]}),
    "place_hold": Example(lambda ids: {"reason": "a letter", "subject": "account:a"}),
    "release_hold": Example(lambda ids: {"reason": "settled"}, statuses=frozenset({404})),
    "shred_subject": Example(
        lambda ids: {"reason": "time is over"},
        places={"subject": "account:b"},
        statuses=frozenset({404}),
    ),
    "get_erasure": Example(statuses=frozenset({404})),
    "get_offboarding": Example(statuses=frozenset({404})),
    "lift_audit_halt": Example(lambda ids: {"reason": "found out"}, statuses=frozenset({404})),
    "decide_drift": Example(
        _own("strategy_id", decision="set_aside", reason="the client's own"),
        frozenset({"strategy_id"}),
    ),
    "ask_access": Example(
        _own("tenant_id", reason="to look", minutes=5),
        frozenset({"tenant_id"}),
        statuses=frozenset({404, 409, 422}),
    ),
    "revoke_access": Example(statuses=frozenset({409})),
    "approve_proposal": Example(lambda ids: {}),
    "reject_proposal": Example(lambda ids: {}),
    "withdraw_proposal": Example(
        lambda ids: {},
        statuses=frozenset({403}),  # it is somebody else's: only they take it back
    ),
    # Signals by approval: nobody was asked about the matrix' signal.
    "approve_order_of_signal": Example(lambda ids: {}, statuses=frozenset({404})),
    "reject_order_of_signal": Example(lambda ids: {}, statuses=frozenset({404})),
    "approve_signal": Example(lambda ids: {}, statuses=frozenset({404})),
    "reject_signal": Example(lambda ids: {}, statuses=frozenset({404})),
    "preview_signal": Example(
        lambda ids: {
            "signal": {"ticker": "BTC_USDT", "action": "buy"},
            "subscriptions": [{"subscription_id": ids.get("subscription_id")}],
        },
        frozenset({"subscription_id"}),
    ),
    "replay_signals": Example(
        lambda ids: {
            "signal_ids": [ids.get("signal_id")],
            "subscriptions": [{"subscription_id": ids.get("subscription_id")}],
        },
        frozenset({"subscription_id", "signal_ids"}),
    ),
    # Doubt and dead letters: of the matrix' signal nothing was left undone.
    "decide_doubt": Example(lambda ids: {"verdict": "absent", "reason": "r"}),
    "preview_dead_letter": Example(
        lambda ids: {"account_ids": [ids.get("account_id")]},
        frozenset({"account_ids"}),
        statuses=frozenset({422}),
    ),
    "replay_dead_letter": Example(
        lambda ids: {"preview": _NO_ID, "reason": "r"}, statuses=frozenset({409})
    ),
    # The audit log: nobody has made the matrix' export yet.
    "ask_export": Example(lambda ids: {"reason": "a question"}),
    "fetch_export": Example(statuses=frozenset({409})),
    "appoint_examiner": Example(
        lambda ids: {"email": f"{unique()}@example.com", "name": "E", "days": 30, "reason": "r"}
    ),
    "cancel_signal": Example(statuses=frozenset({409})),  # the matrix' signal is planned
    # Data subjects, secrets, the kill switch.
    "correct_records_of_person": Example(lambda ids: {"statement": "it was another"}),
    "erase_person": Example(lambda ids: {"reason": "asked for"}, statuses=frozenset({409})),
    "create_hook_secret": Example(lambda ids: {}),
    "put_credential": Example(
        lambda ids: {"api_key": "k", "envelope": "bm8="}, statuses=frozenset({409, 422})
    ),
    "revoke_credential": Example(statuses=frozenset({404, 409})),
    "halt": Example(_switch(level="block_all"), frozenset({"object_id"})),
    "release": Example(
        _switch(state="active"), frozenset({"object_id"}), statuses=frozenset({409})
    ),
    # Reports: of a strategy that is there; the platform has none.
    "get_fairness_report": Example(query="strategy_id={strategy_id}", statuses=frozenset({404})),
    # It names objects by their names, which are looked up within the tenant: there is no id to try.
    "compare_configuration": Example(lambda ids: {}),
    "put_configuration": Example(lambda ids: {}, statuses=frozenset({404, 412})),
}
