"""The account, its money and its keys; the unified account; sub-accounts."""

from __future__ import annotations

from loadtest.exchanges.gateio import account_views, views
from loadtest.exchanges.gateio.call import Answered, Call, Endpoint
from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.refusal import Refusal


def _account(call: Call) -> Answered:
    return 200, account_views.account(call.funded(), call.exchange.marks)


def _book(call: Call) -> Answered:
    contract, kind = call.contract(), call.query.get("type")
    rows = [
        row
        for row in account_views.account_book(call.funded())
        if contract in (None, row["contract"]) and kind in (None, "", row["type"])
    ]
    return 200, call.page(call.between(rows, lambda row: float(row["time"])))


def _fee(call: Call) -> Answered:
    call.funded()
    name = call.query.get("contract")
    books = [call.exchange.book(name)] if name else call.exchange.books.values()
    return 200, {
        book.contract.name: {
            "taker_fee": views.plain(book.contract.taker_fee_rate),
            "maker_fee": views.plain(book.contract.maker_fee_rate),
        }
        for book in books
    }


def _detail(call: Call) -> Answered:
    return 200, account_views.account_detail(call.user)


def _main_keys(call: Call) -> Answered:
    if call.user.listed == "forbidden":
        raise Refusal("FORBIDDEN", "the key may not read the account")
    return 200, account_views.main_keys(call.user)


def _unified(call: Call) -> Answered:
    if not call.user.unified:
        raise Refusal("FORBIDDEN", "the account is not a unified account")
    return 200, account_views.unified(call.user, call.exchange.marks, call.exchange.now())


def _unified_mode(call: Call) -> Answered:
    return 200, {"mode": "single_currency" if call.user.unified else "classic", "settings": {}}


# ------------------------------------------------------------------ sub-accounts


def _subs(call: Call) -> list[Account]:
    accounts = call.exchange.accounts.values()
    return [it for it in accounts if it.main == call.user.uid]


def _sub_accounts(call: Call) -> Answered:
    found = {it.uid: account_views.sub_account(it) for it in _subs(call)}
    return 200, list(found.values())


def _sub_keys(call: Call) -> Answered:
    """Keys of one of the caller's own sub-accounts."""
    keys = [it for it in _subs(call) if str(it.uid) == call.argument]
    if not keys:
        raise Refusal("SUB_ACCOUNT_NOT_FOUND", "no such sub-account")
    return 200, [account_views.sub_account_key(it) for it in keys if not it.revoked]


ENDPOINTS = (
    Endpoint("GET", "futures/usdt/accounts", "accounts", _account),
    Endpoint("GET", "futures/usdt/account_book", "account_book", _book),
    Endpoint("GET", "futures/usdt/fee", "fee", _fee),
    Endpoint("GET", "account/detail", "account_detail", _detail),
    Endpoint("GET", "account/main_keys", "main_keys", _main_keys),
    Endpoint("GET", "unified/accounts", "unified_accounts", _unified),
    Endpoint("GET", "unified/unified_mode", "unified_mode", _unified_mode),
    Endpoint("GET", "sub_accounts", "sub_accounts", _sub_accounts),
    Endpoint("GET", "sub_accounts/{}/keys", "sub_account_keys", _sub_keys),
)
