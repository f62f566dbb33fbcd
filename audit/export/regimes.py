"""Which fields a rule asks for, and where ours stand: the tables behind a regulator's package. Data alone.

For each rule a table of fields: what is asked, in which record and member it stands, or that we do not
hold it. docs/audit/regimes.md is made from these tables (`python -m audit.export.regimes`), and says
where they come from. A field that we do not hold is a column that says so in its heading and stays
empty: nobody shall take a blank for an answer.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from audit.record import Kind

Name = Literal["17a-4", "mifid-rts6", "twse"]
NOT_HELD = "not held"

ABOUT_ORDERS = frozenset(
    {
        Kind.ORDER_INTENT, Kind.ORDER_HELD, Kind.ORDER_SENT, Kind.ORDER_ACKNOWLEDGED,
        Kind.ORDER_REJECTED, Kind.ORDER_FILL, Kind.ORDER_AMEND, Kind.ORDER_CANCEL, Kind.ORDER_CLOSE,
        Kind.ORDER_IN_DOUBT, Kind.ORDER_RESOLVED,
    }
)  # fmt: skip
PLACED = frozenset({Kind.ORDER_INTENT, Kind.ORDER_AMEND, Kind.ORDER_CANCEL})
ABOUT_THE_LOG = frozenset(
    {
        Kind.EXPORT, Kind.HOLD, Kind.RELEASE, Kind.SHRED, Kind.KEY_USE, Kind.KEY_ROTATION,
        Kind.TENANT_KEYS_DESTROYED, Kind.HSM_REFUSED, Kind.CLOCK, Kind.DEPLOYMENT,
        Kind.CHECKPOINT_REFUSED, Kind.ALERT,
    }
)  # fmt: skip
"""The audit of the audit: who took records out, held, released or erased them, and how the log fared."""


@dataclass(frozen=True)
class Field:
    """`column`: our name. `asked`: what the rule asks for. `held`: where it stands: `leaf.<member>`,
    `order.<member>` (of this record or the order's first), `signal.<member>`, `serial`, or why it is
    not held."""

    column: str
    asked: str
    held: str

    @property
    def is_held(self) -> bool:
        return not self.held.startswith(NOT_HELD)


@dataclass(frozen=True)
class Regime:
    """`kinds`: the records that are lines of `orders.csv`."""

    name: Name
    title: str
    source: str
    kept: str
    kinds: frozenset[Kind]
    fields: tuple[Field, ...]


_SERIAL = Field("serial", "serial number in order of receipt", "serial")
_WHEN = Field("happened_at", "date and time", "leaf.ts")
_WHAT = Field("event", "new order, change, cancellation, execution …", "leaf.k")

REGIMES: tuple[Regime, ...] = (
    Regime(
        name="17a-4",
        title="SEC Rule 17a-4(f), FINRA Rule 4511",
        source="17 CFR 240.17a-4(f) as amended by Release 34-96034, 87 FR 66412 (2022); the contents of"
        " an order's memorandum: 17 CFR 240.17a-3(a)(6) and (7)",
        kept="six years (17a-4(a), (b); FINRA 4511(b))",
        kinds=ABOUT_ORDERS,
        fields=(
            _SERIAL, _WHAT,
            Field("account", "account for which it was entered", "leaf.acct"),
            Field("order_id", "which order", "leaf.oid"),
            Field("terms", "terms and conditions of the order", "order.ord_type"),
            Field("side", "buy or sell", "order.side"),
            Field("symbol", "security", "order.symbol"),
            Field("order_qty", "quantity", "order.order_qty"),
            Field("price", "price asked for", "order.price"),
            Field("time_in_force", "how long it is good for", "order.time_in_force"),
            Field("received_at", "time the order was received", "signal.ts"),
            Field("happened_at", "time of entry, modification, cancellation or execution", "leaf.ts"),
            Field("last_qty", "quantity executed", "order.last_qty"),
            Field("last_px", "price at which executed", "order.last_px"),
            Field("actor", "identity of who entered or accepted it", "leaf.act"),
            Field("responsible", "associated person responsible for the account",
                  "not held: kept by the firm, by account"),
        ),
    ),
    Regime(
        name="mifid-rts6",
        title="MiFID II: Delegated Regulation (EU) 2017/589 (RTS 6), Article 28",
        source="(EU) 2017/589 Article 28(3) and Annex II, tables 2 and 3; (EU) 2017/565 Articles 72, 74"
        " and 75. By subject: the annex's own numbers and formats were not at hand when this table was"
        " made and must be compared with the Official Journal before a submission",
        kept="five years, seven where the authority asks (2017/565 Article 72, 2017/589 Article 28(4))",
        kinds=ABOUT_ORDERS,
        fields=(
            _SERIAL, _WHAT, _WHEN,
            Field("clock_error", "accuracy of the clock (RTS 25)", "leaf.clk"),
            Field("client", "designation of the client", "leaf.acct"),
            Field("client_lei", "client identification code (LEI, national id)",
                  "not held: kept by the firm, by account"),
            Field("investment_decision", "person or algorithm responsible for the decision",
                  "signal.strategy_id"),
            Field("execution", "person or algorithm responsible for the execution", "leaf.act"),
            Field("order_id", "order identification code", "leaf.oid"),
            Field("cl_ord_id", "identification of the attempt sent", "order.cl_ord_id"),
            Field("broker_order_id", "identification given by the venue or broker",
                  "order.broker_order_id"),
            Field("side", "buy-sell indicator", "order.side"),
            Field("symbol", "instrument, as the broker names it", "order.symbol"),
            Field("isin", "instrument identification code (ISIN)",
                  "not held: brokers' own symbols are"),
            Field("venue", "where it was sent", "order.broker"),
            Field("price", "price", "order.price"),
            Field("price_currency", "price notation and currency",
                  "not held in the record: it is the instrument's at its broker"),
            Field("order_qty", "quantity", "order.order_qty"),
            Field("last_qty", "quantity traded", "order.last_qty"),
            Field("last_px", "price of the trade", "order.last_px"),
            Field("cum_qty", "quantity traded so far", "order.cum_qty"),
            Field("ord_type", "type of the order", "order.ord_type"),
            Field("stop_px", "stop price", "order.stop_px"),
            Field("time_in_force", "validity period", "order.time_in_force"),
            Field("reduce_only", "restriction: reduces a position only", "order.reduce_only"),
            Field("capacity", "trading capacity (DEAL, MTCH, AOTC)", "not held: the firm's to state"),
            Field("liquidity", "liquidity provision", "not held"),
            Field("short_selling", "short-selling indicator", "not held"),
        ),
    ),
    Regime(
        name="twse",
        title="TWSE and TPEx: records of orders placed over the Internet",
        source="TWSE Directions for Securities Brokers Preparing Trading Order Records Using the Internet"
        " or Other Electronic Means of Trading (FL007051, 2020-04-20), article 1; TPEx's of the same"
        " matter (FL082227); TWSE Operating Rules (FL007304), articles 58 and 80",
        kept="five years, in a dispute until it is resolved",
        kinds=PLACED,
        fields=(
            Field("serial", "serial number, in order of receipt", "serial"), _WHAT,
            Field("account", "account number of the principal", "leaf.acct"),
            Field("name", "name of the principal", "not held in the log: in the tenant's accounts"),
            Field("received_at", "date and time the order was placed", "signal.ts"),
            Field("happened_at", "time of transmission", "leaf.ts"),
            Field("symbol", "type (code) of the securities", "order.symbol"),
            Field("side", "sale or purchase", "order.side"),
            Field("order_qty", "number of shares", "order.order_qty"),
            Field("ord_type", "limit or market order", "order.ord_type"),
            Field("price", "price", "order.price"),
            Field("time_in_force", "time in force (ROD, IOC, FOK)", "order.time_in_force"),
            Field("trade_type", "type of trade (normal, block, odd-lot), margin or short sale",
                  "not held in the record: the account's settings at its broker"),
            Field("method", "order method", "leaf.act"),
            Field("client_ip", "IP address that the order came from", "signal.client"),
            Field("signature", "electronic signature",
                  "not held as a certificate's: the signed webhook's digest stands in signal.accepted"),
            Field("handler", "name or code of the processing person", "order.broker"),
            Field("order_id", "which order", "leaf.oid"),
        ),
    ),
)  # fmt: skip


def regime(name: Name) -> Regime:
    return next(one for one in REGIMES if one.name == name)


_ABOUT = """# Regulators' packages

Made from `audit/export/regimes.py` by `python -m audit.export.regimes`. `portcullis audit export --package NAME`
adds to the records and their proofs: `orders.csv` with the rule's own fields, `fields.csv` that says where each
stands, `index.csv` to find a record by order, account, kind or time, and `audit-of-the-audit.csv` (exports, holds,
releases, erasures, keys, the clock). This page says what we hold; whether that is enough for a firm is its own
counsel's to judge.

`leaf` is the record itself, `order` the order's terms and what was learned of it, `signal` the instruction that
wanted it. Accounts are pseudonyms in the log; their names are in the tenant's accounts.
"""


def page() -> str:
    """docs/audit/regimes.md."""
    text = [_ABOUT]
    for one in REGIMES:
        text.append(f"## `{one.name}`: {one.title}\n\nSource: {one.source}.\n\nKept: {one.kept}.\n")
        text.append("| column | asked for | where it stands |\n| --- | --- | --- |")
        text += [f"| `{f.column}` | {f.asked} | {f.held} |" for f in one.fields]
        text.append("")
    return "\n".join(text)


if __name__ == "__main__":
    sys.stdout.write(page())
