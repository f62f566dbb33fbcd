"""What Gate.io says of an API key: what it may do, and whose it is. Pure; raises only Unreadable.

Two answers are read. `GET /account/detail`: the user and the account's mode. `GET
/account/main_keys`: the permissions (`perms`: name, read_only), as one object for the asking key
(gate-api 7.2.161, AccountKeyInfo) or as a list of all keys of the user with `key` cut to its first
characters (https://www.gate.com/docs/developers/apiv4, "Query all main account key information").
Both forms are read; every entry that may be ours counts, and none that is ours is a refusal.

The permissions and what each could do if it may write:

    futures, spot                    what an account of either kind needs; trades, moves nothing out
    margin, delivery, options        trades, moves nothing out
    wallet, custody                  withdraws and transfers
    account, earn, loan, unified,    sub-accounts, deposits into products, loans, gifts: value moves
    copy, pilot, otc, alpha, crossx

A writable one of the last two lines is refused. Anything else is a name that Gate has made since
and nobody has judged: refused too, even where it only reads.
"""

from __future__ import annotations

import msgspec

from fanout.brokers.gate.reading import Unreadable, decode
from fanout.proof import Code, NotProven, Proof, Proven

NEEDED = {"futures": "perpetual futures", "spot": "spot trading"}
"""What a key is to write to, and Gate's own word for it where keys are made."""
TRADES = frozenset({"futures", "spot", "margin", "delivery", "options"})
MOVES_MONEY = frozenset(
    {
        "wallet", "withdraw", "withdrawal", "custody", "account", "sub_account", "earn", "loan",
        "unified", "copy", "pilot", "otc", "alpha", "crossx", "tradfi_spot",
    }
)  # fmt: skip
NORMAL = 1
CLASSIC = 1
SHOWN_LEAST = 6
"""Characters that a cut key shows at least: with fewer it could be anybody's, and counts as ours."""


class _Perm(msgspec.Struct):
    name: str
    read_only: bool


class _Mode(msgspec.Struct):
    mode: int


class _Key(msgspec.Struct):
    user_id: int
    perms: list[_Perm]
    state: int = 0
    key: _Mode | str | None = None


class _Detail(msgspec.Struct):
    user_id: int
    key: _Mode
    ip_whitelist: list[str] = []


def judged(
    api_key: str, detail: bytes, keys: bytes, *, needed: str = "futures", unified: bool = False
) -> Proof:
    """May this key be taken for an account that writes to `needed`, and is `unified` or classic?

    Raises Unreadable: what cannot be read is not a yes.
    """
    account = decode(detail, _Detail)
    ours = _ours(api_key, keys)
    user = str(account.user_id)
    scopes = tuple(sorted({_text(perm) for one in ours for perm in one.perms}))

    def refused(code: Code, words: str) -> NotProven:
        return NotProven(code=code, words=words, scopes=scopes, broker_user=user)

    if not ours:
        return refused("scope_unknown", "Gate.io does not list this key among the user's own")
    if any(one.user_id != account.user_id for one in ours):
        raise Unreadable("account/detail and account/main_keys are about different users")
    for perms in (one.perms for one in ours):
        unknown = sorted({p.name for p in perms} - TRADES - MOVES_MONEY)
        if unknown or not perms:
            named = ", ".join(unknown) or "none at all"
            return refused("scope_unknown", f"permissions that are not known here: {named}")
        moves = sorted(p.name for p in perms if not p.read_only and p.name not in TRADES)
        if moves:
            return refused(
                "can_withdraw",
                f"the key may write to {', '.join(moves)}: it could move money. Make one with"
                f" {NEEDED[needed]} alone",
            )
        if not any(p.name == needed and not p.read_only for p in perms):
            return refused("cannot_trade", f"the key may not write to {needed}")
    if any(one.state != NORMAL for one in ours):
        return refused("locked", "Gate.io says that the key is locked or frozen")
    if (account.key.mode != CLASSIC) != unified:
        words = (
            "the account is classic, and its settings say unified"
            if unified
            else "only classic accounts are traded, this one is unified"
        )
        return refused("account_mode", words)
    bound = ("ip_bound",) if account.ip_whitelist else ("not_ip_bound",)
    return Proven(scopes=scopes, checks=("scopes", *bound), broker_user=user)


def _ours(api_key: str, body: bytes) -> list[_Key]:
    """The entries that may be this key's: its own, and those that do not say whose they are."""
    listed = body.lstrip().startswith(b"[")
    entries = decode(body, list[_Key]) if listed else [decode(body, _Key)]
    return [one for one in entries if not isinstance(one.key, str) or _shows(one.key, api_key)]


def _shows(cut: str, api_key: str) -> bool:
    """Could a key that Gate shows cut off (`c5dcfbf1f3a7*****`) be this one?"""
    if "*" not in cut:
        return cut == api_key
    head, tail = cut.split("*", 1)[0], cut.rsplit("*", 1)[1]
    if len(head) + len(tail) < SHOWN_LEAST:
        return True
    return api_key.startswith(head) and api_key.endswith(tail)


def _text(perm: _Perm) -> str:
    return f"{perm.name}:{'read' if perm.read_only else 'write'}"


class _Futures(msgspec.Struct):
    in_dual_mode: bool = False
    position_mode: str = "single"


def user_id(detail: bytes) -> str:
    """Whose key it is, of account/detail. Raises Unreadable."""
    return str(decode(detail, _Detail).user_id)


def in_one_way_mode(body: bytes) -> bool:
    """Of the futures account. Raises Unreadable."""
    seen = decode(body, _Futures)
    return not seen.in_dual_mode and seen.position_mode == "single"
