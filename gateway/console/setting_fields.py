"""The commonest settings as fields of a form, and what a sent form changes of a document. Pure.

A field names a member by its path. An empty field means *not set*: the layer above holds. Only what was changed
goes into the merge patch, also when a form is sent again after somebody else was faster; what a value may be is
the API's to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, get_args

from gateway.console.language import mark
from tenancy.parameters import Direction, OrdType, OverrideQuantityType, QuantityType, TimeInForce

Kind = Literal["text", "number", "count", "choice", "switch", "group", "list"]
SWITCH = ("true", "false")


class Field(NamedTuple):
    """`path`: the member, with dots. `options`: of a choice. `needed`: it is never empty."""

    path: str
    label: str
    kind: Kind = "text"
    options: tuple[str, ...] = ()
    needed: bool = False

    @property
    def name(self) -> str:
        """As an id and a form's name."""
        return self.path.replace(".", "-")

    @property
    def key(self) -> str:
        return self.path.rpartition(".")[2]


class Form(Protocol):
    """What was sent."""

    def __getitem__(self, name: str) -> str: ...
    def __contains__(self, name: str) -> bool: ...


LABELS: Mapping[str, str] = {
    "quantity": mark("Quantity"), "quantity_type": mark("Quantity type"),
    "order_type_entry": mark("Order type, entries"), "order_type_exit": mark("Order type, exits"),
    "time_in_force_entry": mark("Time in force, entries"), "time_in_force_exit": mark("Time in force, exits"),
    "take_profit": mark("Take profit"), "stop_loss": mark("Stop loss"),
    "allow_add_to_position": mark("Add to an open position"),
    "subtract_exit_quantity": mark("An exit's quantity is subtracted"),
    "cancel_open_orders_on_signal": mark("A signal cancels open orders"),
    "direction": mark("Direction"), "rounding": mark("Rounding of lots"),
    "below_minimum": mark("Below the smallest order"), "tickers_allowed": mark("Tickers allowed"),
    "tickers_refused": mark("Tickers refused"), "symbol_map": mark("Names of symbols"),
    "trading_windows": mark("Trading windows"), "needs_approval": mark("A person agrees first"),
    "approval_minutes": mark("Minutes to agree in"), "allow_side_swap": mark("A signal may turn the position"),
    "price_rounding": mark("Rounding of prices"), "equity_basis": mark("Equity counts"),
    "position_basis": mark("Position counts"), "position_mismatch": mark("Expected position differs"),
    "closes_when_expired": mark("A late signal may close"), "invert_puts": mark("Puts are inverted"),
    "block_ratio": mark("Share of a block"), "max_spread": mark("Widest spread, in price"),
    "max_spread_percent": mark("Widest spread in percent"),
    "max_order_quantity": mark("Most lots in an order"), "max_order_notional": mark("Most worth of an order"),
    "max_position_quantity": mark("Most lots in a position"),
    "max_position_notional": mark("Most worth of a position"),
    "strategy_position_quantity": mark("Most lots of this strategy"),
    "strategy_position_notional": mark("Most worth of this strategy"),
    "price_collar_percent": mark("Limit price from the market, in percent"), "max_leverage": mark("Most leverage"),
    "max_daily_loss": mark("Most loss in a day"), "max_orders_per_minute": mark("Most orders in a minute"),
    "over_limit": mark("What is over a limit"),
}  # fmt: skip
"""A setting or a limit → what it is called."""

_LIMITS = tuple(
    Field(f"limits.{name}", LABELS[name], "count" if name == "max_orders_per_minute" else "number")
    for name in (
        "max_order_quantity", "max_order_notional", "max_position_quantity", "max_position_notional",
        "max_leverage", "max_daily_loss", "max_orders_per_minute",
    )
)  # fmt: skip


def _parameters(prefix: str, quantity_types: Sequence[str]) -> tuple[Field, ...]:
    own = f"settings.{prefix}_"
    return (
        Field(f"{own}quantity", LABELS["quantity"], "number"),
        Field(f"{own}quantity_type", LABELS["quantity_type"], "choice", tuple(quantity_types)),
        Field(f"{own}order_type_entry", LABELS["order_type_entry"], "choice", get_args(OrdType)),
        Field(f"{own}order_type_exit", LABELS["order_type_exit"], "choice", get_args(OrdType)),
        Field(
            f"{own}time_in_force_entry",
            LABELS["time_in_force_entry"],
            "choice",
            get_args(TimeInForce),
        ),
    )


_BEHAVIOURS = (
    Field("settings.direction", LABELS["direction"], "choice", get_args(Direction)),
    Field("settings.allow_add_to_position", LABELS["allow_add_to_position"], "switch", SWITCH),
    Field("settings.needs_approval", LABELS["needs_approval"], "switch", SWITCH),
    Field("settings.approval_minutes", LABELS["approval_minutes"], "count"),
    Field("settings.tickers_allowed", LABELS["tickers_allowed"], "list"),
    Field("settings.tickers_refused", LABELS["tickers_refused"], "list"),
    Field("settings.max_spread_percent", LABELS["max_spread_percent"], "number"),
)

STRATEGY_FIELDS: tuple[Field, ...] = (
    Field("name", mark("Name"), needed=True),
    Field(
        "sequence",
        mark("Order of the accounts"),
        "choice",
        ("rotate", "random", "fixed"),
        needed=True,
    ),
    *_parameters("default", get_args(QuantityType)),
    *_BEHAVIOURS,
    *_LIMITS,
)
SUBSCRIPTION_FIELDS: tuple[Field, ...] = (
    Field("enabled", mark("Follows the strategy"), "switch", SWITCH, needed=True),
    Field("settings.use_signal_quantity", mark("Use the signal's quantity"), "switch", SWITCH),
    *_parameters("override", get_args(OverrideQuantityType)),
    *_BEHAVIOURS,
)
ACCOUNT_FIELDS: tuple[Field, ...] = (
    Field("name", mark("Name"), needed=True),
    Field("group_id", mark("Group"), "group"),
    Field("leverage", mark("Leverage"), "number", needed=True),
    Field("stated_equity", mark("Stated equity"), "number"),
    Field("on_drift", mark("When book and broker differ"), "choice", ("report", "correct", "halt")),
    *_LIMITS,
)


def filled(document: Mapping[str, Any], fields: Sequence[Field]) -> dict[str, str]:
    """What the form shows of a document: name → text, empty where nothing is set."""
    return {field.name: _text(_member(document, field.path)) for field in fields}


def typed(now: Mapping[str, str], fields: Sequence[Field], sent: Form) -> dict[str, str]:
    """What a form shows again after a refusal: what was typed, and of what nobody touched the value of now."""
    return {
        field.name: sent[field.name] if _touched(field, sent) else now[field.name]
        for field in fields
    }


def changed(fields: Sequence[Field], sent: Form) -> dict[str, Any]:
    """The merge patch (RFC 7396) that makes the document what the person changed the form to.

    A form carries the values that it was shown with (`was-…`): so a field that nobody touched is never written
    back over what somebody else has made of it since.
    """
    patch: dict[str, Any] = {}
    for field in fields:
        if not _touched(field, sent):
            continue
        *above, last = field.path.split(".")
        place = patch
        for name in above:
            place = place.setdefault(name, {})
        place[last] = _value(sent[field.name], field.kind)
    return patch


def _touched(field: Field, sent: Form) -> bool:
    return field.name in sent and sent[field.name] != sent[f"was-{field.name}"]


def _member(document: Mapping[str, Any], path: str) -> Any:
    found: Any = document
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value)
    return str(value)


def _value(text: str, kind: Kind) -> Any:
    if not text:
        return None
    if kind == "switch":
        return text == "true"
    if kind == "count" and text.isascii() and text.isdigit():
        return int(text)
    if kind == "list":
        return [one.strip() for one in text.split(",") if one.strip()]
    return text
