"""The audit log on booted hosts: what the database says is signed, and what each host's own set shows."""

from __future__ import annotations

import re

from audit.tiles import WIDTH
from tests.hosts.cluster import sql
from tests.hosts.lab import Lab

AUDIT = "/var/lib/portcullis/audit"
SIGNED = "SELECT log_id, max(size) FROM audit_checkpoints GROUP BY log_id"
LEAVES = "SELECT log_id, max(i) + 1 FROM audit_leaves GROUP BY log_id"


def is_signed(lab: Lab, had: dict[str, int] | None = None) -> bool:
    """Whether every record that has an index is under a published checkpoint; with `had`, as many as those.

    While there is trading the two questions never have one answer: each record is followed by the next.
    """
    now = signed(lab)
    if had is None:
        return written(lab) == now
    return all(now.get(log, 0) >= size for log, size in had.items())


def written(lab: Lab) -> dict[str, int]:
    return sizes(lab, LEAVES)


def all_beyond(was: dict[str, int], now: dict[str, int]) -> bool:
    return all(now[log] > size for log, size in was.items())


def signed(lab: Lab) -> dict[str, int]:
    return sizes(lab, SIGNED)


def sizes(lab: Lab, query: str) -> dict[str, int]:
    """By the log's id."""
    rows = (line.split("|") for line in sql(lab, query).splitlines())
    return {log: int(size) for log, size in rows}


def notes(lab: Lab) -> dict[tuple[str, str], str]:
    """The checkpoint of each log in each host's own set, by host and log."""
    asked = f"sudo sh -c 'cd {AUDIT} && ls -d */ | tr -d /'"
    return {
        (host.name, log): lab.controller.said(host, f"sudo cat {AUDIT}/{log}/checkpoint")
        for host in lab.hosts
        for log in lab.controller.said(host, asked).split()
    }


def verify(lab: Lab, name: str, log: str, older: str) -> None:
    """From the files of that host alone; and that they extend what they were. A manifest has whole tiles alone."""
    host = lab.host(name)
    lab.controller.put(host, "/var/tmp/older", older)
    size = int(older.splitlines()[1])
    words = "--since /var/tmp/older" + (" --manifest" if size >= WIDTH else "")
    lab.controller.said(host, f"sudo portcullis audit verify {AUDIT}/{log} {words}")


def stopped(lab: Lab) -> float:
    """How many logs the recorder in force does not sign of itself: no halt of them is open."""
    asked = "sudo curl -s --unix-socket /run/portcullis/recorder-0.health http://localhost/metrics"
    told = "".join(lab.controller.said(host, asked) for host in lab.hosts)
    refused = max(
        float(size) for size in re.findall(r"^portcullis_audit_refused_logs (.+)$", told, re.M)
    )
    halted = max(
        float(size) for size in re.findall(r"^portcullis_audit_halted_logs (.+)$", told, re.M)
    )
    return halted if refused == 0 else 0
