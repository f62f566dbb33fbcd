"""What a broker says of a key before it may trade: what it may do, whose it is, and whether it works. Pure.

A key is proven by what it *cannot* do as much as by what it can. Whatever a broker does not say in
words that we know is a refusal: a scope nobody has heard of may be the one that moves money.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Code = Literal[
    "key", "sign", "ip", "locked", "token",
    "can_withdraw", "scope_unknown", "cannot_trade", "account_mode", "other_user",
    "test_order", "not_signed",
]  # fmt: skip
"""Why not. The first five are the broker's refusal of the key itself (ports.AuthFailed)."""

DANGEROUS: frozenset[Code] = frozenset({"can_withdraw", "scope_unknown", "other_user"})
"""Of a live key these say that it may do more than when it was taken, or for somebody else."""


class Proven(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It works, and can neither withdraw nor transfer. `scopes` in the broker's words, `checks`: what
    was asked, in ours. `broker_user`: whose key it is, as the broker counts."""

    scopes: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    broker_user: str | None = None


class NotProven(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It is not taken, finally, until a person changes the key at the broker or brings another one."""

    code: Code
    words: str
    scopes: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    broker_user: str | None = None


Proof = Proven | NotProven

NOTHING_TO_PROVE = Proven(checks=("nothing_to_prove",))
"""Of a broker in our own memory, which knows no keys."""


def of_the_same_user(proof: Proof, before: str | None) -> Proof:
    """Refused where the broker counts the key to somebody else than the one that signs now.

    Positions, limits and orders under way are that user's: another one is another account.
    """
    if isinstance(proof, NotProven) or None in (proof.broker_user, before):
        return proof
    if proof.broker_user == before:
        return proof
    return NotProven(
        code="other_user",
        words=f"the key is of user {proof.broker_user}, this account trades for user {before}:"
        " make another account for it",
        scopes=proof.scopes,
        checks=proof.checks,
        broker_user=proof.broker_user,
    )
