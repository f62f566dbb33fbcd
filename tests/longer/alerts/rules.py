"""The rules as this run takes them: the same alerts and metrics, and nobody waits for hours.

The transformation, all of it:

1. `for` becomes AT_LEAST_S where it is longer.
2. What THRESHOLDS names is replaced in that one expression: ages, of minutes and hours, by seconds, and
   counts by what some thirty accounts can reach. The comparison, its metric and its labels stay.

Each replacement has to find its text, so a rule that changes is noticed here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

AT_LEAST_S = 2
THRESHOLDS = {
    "PortcullisAnchorUnwitnessed": ("> 300", "> 5"),
    "PortcullisAnchorLate": ("> 300", "> 5"),
    "PortcullisBackupArchiveBehind": ("> 60", "> 3"),
    "PortcullisBackupUnseen": ("> 30", "> 3"),
    "PortcullisAuditUnsealed": ("> 30", "> 3"),
    "PortcullisRecorderStands": ("> 30", "> 8"),
    "PortcullisAuditCheckStands": ("[1h]", "[30s]"),
    "PortcullisAuditCopyUnread": ("> 6 * 3600", "> 10"),
    "PortcullisAuditStoreBehind": ("> 900", "> 4"),
    "PortcullisAuditStoreFarBehind": ("> 6 * 3600", "> 6"),
    "PortcullisClockRecordsWait": ("> 10", "> 1"),
    "PortcullisInboxWaits": ("> 60", "> 2"),
    "PortcullisDoubtOld": ("> 60", "> 4"),
    "PortcullisLanesWait": ("> 60", "> 4"),
    "PortcullisHsmCanarySilent": ("> 30", "> 6"),
    "PortcullisHooksStale": ("> 120", "> 12"),
    "PortcullisSignalsWait": ("> 15", "> 3"),
    "PortcullisReconciliationOld": ("> 600", "> 20"),
    "PortcullisQueueLong": ("> 512", "> 8"),
    "PortcullisManyInDoubt": ("> 20", "> 8"),
    "PortcullisHsmSlow": ("[5m]", "[30s]"),
    "PortcullisAcceptSlow": ("[5m]", "[30s]"),
    "PortcullisPlansSlow": ("[5m]", "[30s]"),
}


def shortened(files: list[Path]) -> tuple[dict[str, Any], list[str]]:
    """All rules in one file, and a line for each change. Raises ValueError for a change that finds nothing."""
    groups, said = [], []
    for file in files:
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                said += _shorten(rule)
            groups.append(group)
    return {"groups": groups}, said


def names(document: dict[str, Any]) -> list[str]:
    return [rule["alert"] for group in document["groups"] for rule in group["rules"]]


def _shorten(rule: dict[str, Any]) -> list[str]:
    said = []
    name = rule["alert"]
    if "for" in rule and _seconds(rule["for"]) > AT_LEAST_S:
        said.append(f"{name}: for {rule['for']} is {AT_LEAST_S}s")
        rule["for"] = f"{AT_LEAST_S}s"
    if name in THRESHOLDS:
        old, new = THRESHOLDS[name]
        if rule["expr"].count(old) < 1:
            raise ValueError(f"{name}: there is no {old!r} in {rule['expr']!r}")
        said.append(f"{name}: {old} is {new}")
        rule["expr"] = rule["expr"].replace(old, new)
    return said


def _seconds(text: str) -> float:
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[text[-1]]
