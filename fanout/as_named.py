"""A snapshot for an order of our own that says exactly what is to come out, for the accounts it names. Pure.

A correction (fanout/drift_decisions.py) names a position in the broker's lots. What people set up to
change a sender's size, type or protection has no word in it, a quorum of the strategy's accounts neither,
and nobody is asked again: a person or the account's policy has decided. Everything that stops or limits
an order holds as for everybody: the kill switch, limits, directions, windows, and the subscription's switch.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any

import msgspec

from tenancy.effective import Chosen, Parameter, QuantityParameter, Resolved
from tenancy.snapshot import Snapshot, Subscribed
from tenancy.values import AccountID

_PLAIN: dict[str, Any] = {
    "allow_add_to_position": True,
    "allow_side_swap": True,
    "cancel_open_orders_on_signal": False,
    "rounding": "down",
    "below_minimum": "skip",
    "needs_approval": False,
    "position_basis": "strategy",
}


def as_named(snapshot: Snapshot, accounts: Collection[AccountID]) -> Snapshot:
    """The rows of these accounts, each under settings that add nothing of their own."""
    settings = msgspec.structs.replace(
        snapshot.strategy.settings, quorum_percent=None, quorum_accounts=None
    )
    return msgspec.structs.replace(
        snapshot,
        strategy=msgspec.structs.replace(snapshot.strategy, settings=settings),
        rows=tuple(_row(row) for row in snapshot.rows if row.account.account_id in accounts),
        shadows=(),
    )


def _row(row: Subscribed) -> Subscribed:
    return msgspec.structs.replace(row, settings=_plain(row.settings))


def _plain(settings: Resolved) -> Resolved:
    chosen = {name: Chosen(value, "product") for name, value in _PLAIN.items()}
    quantity = QuantityParameter(
        use_signal=True, use_signal_source="product", value=Decimal(1),
        quantity_type="fixed_quantity", source="product",
    )  # fmt: skip
    return msgspec.structs.replace(
        settings,
        quantity=quantity,
        order_type_entry=_always("market"),
        order_type_exit=_always("market"),
        take_profit=_always(None),
        stop_loss=_always(None),
        **chosen,
    )


def _always(value: Any) -> Parameter[Any]:
    return Parameter(use_signal=True, use_signal_source="product", value=value, source="product")
