"""Filters of the playbooks that change a running installation: what stands against it, in sentences.

They read what the product and its processes say of themselves (`preflight`, `backup list`, `hsm calendar`,
/metrics). An empty answer means: nothing does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

PARTITIONS = 16
"""tenancy/values.py: by so many leases is the trading shared."""
HELD = re.compile(r"(?m)^portcullis_partitions_held ([0-9.e+]+)$")


def preflight_refusals(text: str, forgiven: Iterable[str]) -> list[str]:
    """What `portcullis preflight --json` says no to, but for the checks that may."""
    left_out = set(forgiven)
    return [
        f"{one['check']}: {one['problem']}"
        for one in json.loads(text)
        if one["problem"] and one["check"] not in left_out
    ]


def lease_problem(metrics: str, index: int, workers: int) -> str:
    """Why worker `index` of this host has less than its share; `metrics` is what it says at /metrics.

    A share is what each may take, rounded up; who comes last has what the others left. More than its share is
    no problem of this worker's: another host's workers are away.
    """
    told = HELD.search(metrics)
    if told is None:
        return f"worker-{index} does not say how many partitions it holds"
    least = max(0, PARTITIONS - ceil(PARTITIONS / workers) * (workers - 1))
    if float(told[1]) >= least:
        return ""
    return (
        f"worker-{index} holds {float(told[1]):g} of {PARTITIONS} partitions, and should hold {least} at least"
        f" as one of {workers} workers"
    )


def age_problem(text: str, most_h: float, now: datetime | None = None) -> str:
    """Why the newest of `portcullis backup list --json` will not do."""
    there = json.loads(text) if text.strip().startswith("[") else []
    if not there:
        return "there is no base backup"
    newest = max(datetime.fromisoformat(one["ended_at"]) for one in there)
    age = (now or datetime.now(UTC)) - newest
    if age <= timedelta(hours=most_h):
        return ""
    return (
        f"the newest base backup ended {newest:%Y-%m-%d %H:%M} UTC, {age / timedelta(hours=1):.0f} h ago:"
        f" {most_h} h are allowed"
    )


def keys_to_rotate(
    calendar: Iterable[Mapping[str, Any]], wanted: str, days: float, now: datetime | None = None
) -> list[dict[str, Any]]:
    """The words of `portcullis hsm rotate` for each key, with its label as `hsm calendar` shows it.

    `wanted`: `due`, for those whose time is over within so many days; or labels, with commas between. A label
    names a version, so what was rotated already is left alone however often it is named. ValueError for a
    label that no key has.
    """
    keys = list(calendar)
    current = [one for one in keys if one["state"] == "current"]
    if wanted == "due":
        end = (now or datetime.now(UTC)) + timedelta(days=days)
        chosen = [one for one in current if datetime.fromisoformat(one["due_at"]) <= end]
    else:
        labels = [label.strip() for label in wanted.split(",")]
        unknown = sorted(set(labels) - {one["label"] for one in keys})
        if unknown:
            known = ", ".join(one["label"] for one in current)
            raise ValueError(f"no key is called {', '.join(unknown)}; the current ones are {known}")
        chosen = [one for one in current if one["label"] in labels]
    return [{"label": one["label"], "words": _words(one, keys)} for one in chosen]


def _words(key: Mapping[str, Any], keys: Iterable[Mapping[str, Any]]) -> list[str]:
    if key["kind"] == "kek":
        return ["kek", key["tenant_id"]]
    if key["kind"] == "enrol":
        return ["enrol-key"]
    # A log is named by its origin, which is the label of its first key.
    (origin,) = (
        one["label"]
        for one in keys
        if (one["kind"], one["tenant_id"], one["version"]) == (key["kind"], key["tenant_id"], 1)
    )
    return ["log-key", origin]


def drill_page(report: Mapping[str, Any]) -> str:
    """The report of failover-drill as Markdown."""
    lines = [
        f"# Failover drill: {report['installation']}",
        "",
        f"{report['at']}, watched from {report['watcher']}: one question after the other, 50 ms apart.",
        "",
        "| what moved | from | to | answers stood still for | attempts | of which failed |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {one['what']} | {one['from']} | {one['to']} | {one['longest_silence_s']:.2f} s"
        f" | {one['attempts']} | {one['failed']} |"
        for one in report["parts"]
    ]
    return "\n".join(lines) + "\n"


class FilterModule:
    """Where Ansible looks."""

    def filters(self) -> dict[str, Any]:
        return {
            "preflight_refusals": preflight_refusals,
            "lease_problem": lease_problem,
            "age_problem": age_problem,
            "keys_to_rotate": keys_to_rotate,
            "drill_page": drill_page,
        }
