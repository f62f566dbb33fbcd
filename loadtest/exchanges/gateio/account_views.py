"""What the venue answers of accounts and keys: Gate's JSON, as in the official models."""

from __future__ import annotations

from decimal import Decimal

from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.positions import ZERO
from loadtest.exchanges.gateio.views import Json, money, plain


def account(it: Account, marks: dict[str, Decimal]) -> Json:
    """Of a unified account the money is in unified/accounts, and `total` is zero here."""
    balance = it.balance or ZERO
    margin = it.position_margin(marks)
    shown: Json = {
        "user": it.uid,
        "currency": "USDT",
        "total": "0" if it.unified else money(balance),
        "unrealised_pnl": money(it.unrealised(marks)),
        "position_margin": money(margin),
        "order_margin": money(it.order_margin),
        "available": money(it.available(marks)),
        "point": "0",
        "bonus": "0",
        "in_dual_mode": it.dual_mode,
        "position_mode": "dual" if it.dual_mode else "single",
        "enable_credit": it.unified,
        "enable_evolved_classic": it.evolved,
        "enable_new_dual_mode": False,
        "margin_mode": 3 if it.unified else 0,
        "position_initial_margin": money(margin if it.unified else ZERO),
        "maintenance_margin": "0",
        "history": {
            "dnw": money(it.deposits),
            "pnl": money(it.pnl),
            "fee": money(-it.fees),
            "refr": "0",
            "fund": "0",
            "point_dnw": "0",
            "point_fee": "0",
            "point_refr": "0",
            "bonus_dnw": "0",
            "bonus_offset": "0",
        },
    }
    if it.evolved or it.unified:
        shown |= _cross(it, marks)
    return shown


def _cross(it: Account, marks: dict[str, Decimal]) -> Json:
    """The members of the newer margin modes. The balance is the equity that stands behind cross positions."""
    held = it.positions.items()
    isolated = sum((p.margin(marks[n]) for (n, _), p in held if p.size and p.isolated), ZERO)
    initial = sum((p.margin(marks[n]) for (n, _), p in held if p.size and not p.isolated), ZERO)
    unrealised = it.cross_unrealised(marks)
    return {
        "cross_order_margin": money(it.order_margin),
        "cross_initial_margin": money(initial),
        "cross_maintenance_margin": "0",
        "cross_unrealised_pnl": money(unrealised),
        "cross_available": money(it.available(marks)),
        "cross_margin_balance": money((it.balance or ZERO) + unrealised - isolated),
        "cross_mmr": "0",
        "cross_imr": "0",
        "isolated_position_margin": money(isolated),
    }


def unified(it: Account, marks: dict[str, Decimal], now: float) -> Json:
    """unified/accounts: one currency, nothing borrowed."""
    equity = (it.balance or ZERO) + it.unrealised(marks)
    margin = it.position_margin(marks) + it.order_margin
    available = money(it.available(marks))
    return {
        "mode": "single_currency",
        "user_id": it.uid,
        "refresh_time": int(now),
        "locked": False,
        "balances": {
            "USDT": {
                "available": available,
                "freeze": money(margin),
                "borrowed": "0",
                "equity": money(equity),
                "cross_balance": money(it.balance or ZERO),
                "iso_balance": "0",
                "im": money(margin),
                "mm": "0",
                "margin_balance": money(equity),
                "available_margin": available,
            }
        },
        "total": money(it.balance or ZERO),
        "borrowed": "0",
        "total_initial_margin": money(margin),
        "total_margin_balance": money(equity),
        "total_maintenance_margin": "0",
        "total_available_margin": available,
        "unified_account_total": money(equity),
        "unified_account_total_liab": "0",
        "unified_account_total_equity": money(equity),
        "leverage": plain(it.leverage),
        "spot_hedge": False,
        "use_funding": False,
        "is_all_collateral": False,
    }


def account_book(it: Account) -> list[Json]:
    """Every change of the wallet, newest first: what was put in, profit and fee of each fill."""
    rows: list[Json] = []
    if it.deposits:
        rows.append(_row(it.created_at, it.deposits, it.deposits, "dnw", "", "", "0", 0))
    for n, fill in enumerate(it.trades, 1):
        text, trade = f"{fill.contract}:{fill.order_id}", str(fill.id)
        after_pnl = fill.balance + fill.fee
        if fill.pnl:
            rows.append(_row(fill.create_time, fill.pnl, after_pnl, "pnl", text, fill.contract,
                             trade, 2 * n))  # fmt: skip
        rows.append(_row(fill.create_time, -fill.fee, fill.balance, "fee", text, fill.contract,
                         trade, 2 * n + 1))  # fmt: skip
    rows.reverse()
    return rows


def _row(
    at: float, change: Decimal, balance: Decimal, kind: str, text: str, contract: str,
    trade: str, row_id: int,
) -> Json:  # fmt: skip
    return {
        "time": round(at, 3),
        "change": money(change),
        "balance": money(balance),
        "type": kind,
        "text": text,
        "contract": contract,
        "trade_id": trade,
        "id": str(row_id),
    }


def sub_account(it: Account) -> Json:
    return {
        "user_id": it.uid,
        "login_name": f"sub{it.uid}",
        "remark": "",
        "email": "",
        "state": 1,
        "type": 1,
        "create_time": int(it.created_at),
    }


def sub_account_key(it: Account) -> Json:
    return {
        "user_id": it.uid,
        "mode": _mode(it),
        "name": "simulated",
        "perms": [{"name": name, "read_only": name in it.read_only} for name in it.permissions],
        "ip_whitelist": list(it.ip_whitelist),
        "key": it.key,
        "state": it.key_state,
        "created_at": int(it.created_at),
        "updated_at": int(it.created_at),
        "last_access": 0,
    }


def account_detail(it: Account) -> Json:
    return {
        "user_id": it.uid,
        "ip_whitelist": list(it.ip_whitelist),
        "currency_pairs": [],
        "tier": 0,
        "key": {"mode": _mode(it)},
        "copy_trading_role": 0,
    }


def main_keys(it: Account) -> Json | list[Json]:
    """What the key may do. As one object, which is how the official client reads it, or as a list of
    the user's keys, each cut to its first characters, which is how the documentation shows it."""
    shown = {
        "state": it.key_state,
        "mode": _mode(it),
        "name": "simulated",
        "user_id": it.uid,
        "currency_pairs": [],
        "ip_whitelist": list(it.ip_whitelist),
        "perms": [{"name": name, "read_only": name in it.read_only} for name in it.permissions],
    }
    if it.listed == "object":
        return {**shown, "key": {"mode": _mode(it)}}
    another = {
        **shown,
        "key": "52fd0035f665*****",
        "perms": [{"name": "wallet", "read_only": False}],
    }
    return [another, {**shown, "key": it.key[:12] + "*****"}]


def _mode(it: Account) -> int:
    return 2 if it.unified else 1
