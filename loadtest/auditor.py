"""The independent auditor: was every 202 traded exactly as planned, once, and is the log unbroken?

Reads what the sender noted, the rows, the exchange's own record and the log's files, and compares
them (loadtest/audit/). It judges a settled system: it waits for nothing.

Exit status: 0 clean · 1 findings, one line each · 2 something could not be read.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from loadtest.audit import orders
from loadtest.audit.facts import Facts, Finding
from loadtest.audit.read import CannotAudit, read_facts
from loadtest.audit.trail import trail, unbroken

VENUE = "gateio"


@dataclass(frozen=True)
class Opinion:
    """What the auditor says."""

    signals: int
    orders: int
    findings: tuple[Finding, ...]
    log: str

    @property
    def clean(self) -> bool:
        return not self.findings and self.log == "unbroken"

    def as_json(self) -> dict[str, object]:
        counts = Counter(finding.kind for finding in self.findings)
        return {
            "signals": self.signals,
            "orders": self.orders,
            "lost": counts["lost"],
            "doubled": counts["doubled"],
            "unexplained": counts["unexplained"],
            "log": self.log,
            "findings": [str(finding) for finding in self.findings],
        }


def judge(facts: Facts, *, carried_out: bool = False, venue: str = VENUE) -> Opinion:
    """Every finding, each once, the gravest words first. Pure."""
    found = {
        *orders.kept(facts),
        *orders.planned(facts),
        *orders.traded(facts, carried_out=carried_out),
        *orders.executed(facts, venue),
        *orders.in_turn(facts, venue),
        *orders.folded(facts),
        *trail(facts),
    }
    placed = len({order.order_id for order in facts.orders})
    return Opinion(len(facts.signals), placed, tuple(sorted(found)), unbroken(facts))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.auditor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--database", required=True, help="libpq string of a role above the wall")
    parser.add_argument("--simulator", required=True, help="where the exchange answers, http://…")
    parser.add_argument("--store", required=True, type=Path, help="the recorder's directory")
    parser.add_argument("--sent", required=True, type=Path, help="the sender's notes, JSON lines")
    parser.add_argument(
        "--audit-keys", type=Path, help="the tenants' audit keys, JSON: tenant's id → 64 hex digits"
    )  # fmt: skip
    parser.add_argument(
        "--carried-out",
        action="store_true",
        help="count as lost what we gave up ourselves (a deadline that passed), too",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    try:
        facts = asyncio.run(
            read_facts(
                database=given.database,
                simulator=given.simulator,
                store=given.store,
                sent=given.sent,
                audit_keys=given.audit_keys,
            )
        )
    except CannotAudit as error:
        print(f"auditor: {error}", file=sys.stderr)
        return 2
    opinion = judge(facts, carried_out=given.carried_out)
    said = opinion.as_json()
    if given.json:
        print(json.dumps(said))
    else:
        for line in opinion.findings:
            print(line)
        print(", ".join(f"{name} {said[name]}" for name in said if name != "findings"))
    return 0 if opinion.clean else 1


if __name__ == "__main__":
    sys.exit(main())
