"""One record as a row of a table: the leaf's members, the payload's well-known ones, and all of it. Pure.

Every value is text, a whole number or missing. Quantities and prices stay text, as they were
recorded: no reader shall round them. What a payload says beyond the known members is in `payload`,
as JSON, so nothing is lost for want of a column. Standard library only.
"""

from __future__ import annotations

from typing import Any, Literal

from audit.export.row import Row, compact

Type = Literal["text", "int"]

LEAF: tuple[tuple[str, Type, str], ...] = (
    ("serial", "int", "Number in order of receipt, from 1, without a gap: the index plus one."),
    ("index", "int", "Index in the log, from 0."),
    ("happened_at", "text", "When it happened: UTC, nanoseconds."),
    ("recorded_at", "text", "When it was recorded; never runs backwards."),
    ("kind", "text", "What happened."),
    ("order_id", "text", "The order whose story it continues."),
    ("order_number", "int", "Number within that order, from 1, without a gap."),
    ("account", "text", "The account, by its pseudonym."),
    ("actor_kind", "text", "Who acted: human, api, algo or sys."),
    ("actor", "text", "Their id."),
    ("class", "text", "Retention class."),
    ("corrects", "int", "Index of the record that this one corrects."),
    ("trace", "text", "Trace id: what one request caused has one."),
    ("clock_source", "text", "Which clock said when it happened."),
    ("clock_error_ns", "text", "Bound of that clock's error, as recorded; empty: not measured."),
    ("clock_state", "text", "State of that clock."),
    ("payload_state", "text", "open, sealed, erased or absent."),
    ("leaf_sha256", "text", "RFC 6962 hash of the leaf."),
    ("commitment", "text", "HMAC-SHA256(k_rec, payload), to which the leaf commits."),
)  # fmt: skip
SAID: tuple[str, ...] = (
    "signal_id", "strategy_id", "cl_ord_id", "broker", "broker_order_id", "symbol", "side",
    "order_qty", "ord_type", "price", "stop_px", "time_in_force", "reduce_only", "state", "last_qty",
    "last_px", "cum_qty", "code", "text", "client", "event", "object", "id", "why",
)  # fmt: skip
"""Members of payloads that have columns of their own."""
COLUMNS: tuple[str, ...] = (*(name for name, _, _ in LEAF), *SAID, "payload")
INTEGERS = frozenset(name for name, kind, _ in LEAF if kind == "int")


def values(row: Row) -> list[Any]:
    """The row's values, in the order of COLUMNS."""
    leaf, said = row.members, row.said
    clock, actor = leaf["clk"], leaf["act"]
    made: list[Any] = [
        row.index + 1, row.index, leaf["ts"], leaf["rt"], leaf["k"], leaf.get("oid"),
        leaf.get("on"), leaf.get("acct"), actor.get("kind"), actor.get("id"), leaf["cls"],
        leaf.get("sup"), leaf.get("cor"), clock.get("src"), _text(clock.get("err")),
        clock.get("state"), row.state, row.digest.hex(), leaf["pc"],
    ]  # fmt: skip
    if said:
        # Text and nothing are as they are, which saves a call for nearly every cell.
        made += [
            cell if cell is None or cell.__class__ is str else _text(cell)
            for cell in map(said.get, SAID)
        ]
        made.append(compact(said))
    else:
        made += [None] * (len(SAID) + 1)
    return made


def _text(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    if value is True or value is False:
        return "true" if value else "false"
    return compact(value)
