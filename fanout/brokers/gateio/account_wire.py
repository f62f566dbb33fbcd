"""Gate.io futures on the wire: what is asked and set of a whole account, not of an order. No I/O.

Margin mode and leverage are one thing at Gate: `leverage=10` is isolated with ten,
`leverage=0&cross_leverage_limit=10` is cross with ten (gate-api 7.2.161, update_position_leverage). In hedge
mode the same questions have paths of their own (`dual_comp`). Setting what is set already changes nothing.

Source: https://www.gate.com/docs/developers/apiv4, futures, unified.
"""

from __future__ import annotations

import msgspec

from fanout.brokers.gate.request import PAGE, PREFIX, Request

MARGIN_MODES = {"cross": "CROSS", "isolated": "ISOLATED"}


def account(settle: str) -> Request:
    return Request("GET", f"{PREFIX}/futures/{settle}/accounts")


def unified_account() -> Request:
    """Equity and margin of a unified account, in US dollars and by currency."""
    return Request("GET", f"{PREFIX}/unified/accounts")


def list_positions(settle: str, offset: int) -> Request:
    """A page of what is held; both sides of a contract in hedge mode."""
    query = f"holding=true&limit={PAGE}&offset={offset}"
    return Request("GET", f"{PREFIX}/futures/{settle}/positions", query)


def position(settle: str, contract: str, *, hedge: bool) -> Request:
    """One object in one-way mode, a list of both sides in hedge mode."""
    return Request("GET", f"{_positions(settle, hedge)}/{contract}")


def set_leverage(
    settle: str, contract: str, *, hedge: bool, margin_mode: str, leverage: str
) -> Request:
    """Margin mode and leverage at once."""
    query = f"leverage={leverage}"
    if margin_mode == "cross":
        query = f"leverage=0&cross_leverage_limit={leverage}"
    return Request("POST", f"{_positions(settle, hedge)}/{contract}/leverage", query)


def set_margin_mode(settle: str, contract: str, *, hedge: bool, margin_mode: str) -> Request:
    """The margin mode alone; leverage stays as it was there."""
    body = msgspec.json.encode({"mode": MARGIN_MODES[margin_mode], "contract": contract})
    return Request("POST", f"{_positions(settle, hedge)}/cross_mode", "", body)


def set_position_mode(settle: str, *, hedge: bool) -> Request:
    """Gate refuses it while the account has a position or an open order."""
    query = f"dual_mode={'true' if hedge else 'false'}"
    return Request("POST", f"{PREFIX}/futures/{settle}/dual_mode", query)


def _positions(settle: str, hedge: bool) -> str:
    return f"{PREFIX}/futures/{settle}/{'dual_comp/positions' if hedge else 'positions'}"
