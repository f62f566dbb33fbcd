"""What the API says in one word, in words for people: states, sides, actions, roles."""

from __future__ import annotations

from collections.abc import Mapping

from fanout.reasons import SENTENCES
from gateway.console.language import mark
from gateway.console.proof_words import PROOF
from gateway.console.steering_words import STEERING

WORDS: Mapping[str, Mapping[str, str]] = {
    "signal": {
        "accepted": mark("accepted"), "planned": mark("planned"), "working": mark("working"),
        "done": mark("done"), "refused": mark("refused"), "canceled": mark("taken back"),
    },
    "account": {
        "skipped": mark("skipped"), "cancels": mark("cancels only"), "asked": mark("asked"),
        "declined": mark("declined"), "planned": mark("planned"), "working": mark("working"),
        "filled": mark("filled"), "partly_filled": mark("partly filled"), "failed": mark("failed"),
        "in_doubt": mark("in doubt"),
    },
    "order": {
        "held": mark("held"), "waiting": mark("waiting"), "intent": mark("intended"),
        "new": mark("open"), "partially_filled": mark("partly filled"), "filled": mark("filled"),
        "canceled": mark("canceled"), "rejected": mark("rejected"), "expired": mark("expired"),
        "in_doubt": mark("in doubt"), "denied": mark("denied"), "unsent": mark("not sent"),
        "absent": mark("proven absent"),
    },
    "side": {"buy": mark("buy"), "sell": mark("sell")},
    "step": {
        "planned": mark("planned"), "written": mark("written down"), "on its way": mark("to the wire"),
        "acknowledged": mark("to the broker's answer"), "worked": mark("to its end"),
    },
    "layer": {
        "signal": mark("the signal"), "product": mark("Portcullis' own default"),
        "strategy": mark("the strategy"), "group": mark("the account's group"),
        "account": mark("the account"), "subscription": mark("the subscription"),
        "platform": mark("the platform"), "tenant": mark("the tenant"),
    },
    "role": {
        "operator": mark("operator"), "admin": mark("administrator"), "trader": mark("trader"),
        "approver": mark("approver"), "compliance": mark("compliance"), "viewer": mark("viewer"),
        "examiner": mark("examiner"),
    },
    "share": {
        "done": mark("done"), "open": mark("under way"), "skipped": mark("skipped"),
        "refused": mark("refused"), "doubt": mark("in doubt"),
    },
    **STEERING,
    **PROOF,
}  # fmt: skip
"""Group → value → message id."""


def word(value: str, group: str) -> str:
    """The message id of a value; a value that nobody named is said as it is."""
    return WORDS.get(group, {}).get(value, str(value).replace("_", " "))


def sentence(reason: str) -> str:
    """Why an account trades, or does not (fanout/reasons.py): the sentence is its message id."""
    return {str(known): text for known, text in SENTENCES.items()}.get(reason, reason)
