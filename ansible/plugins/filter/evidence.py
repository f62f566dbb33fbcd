"""Filters of the hardening report: controls from tables, what a command printed judged, and a page for people.

A control is `control` (the numbers that others know it by), `says`, `command`, and how its output is judged:
`expect` has to be found in it, `refuse` must not be; with neither, the command has to succeed. Both are
regular expressions, of lines. `kernel: true`: it is about a kernel, which in a container is not the host's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

PRINTED_MOST = 4000
"""Characters of a command's output that a report keeps."""


def each_of(
    table: Mapping[str, str], command: str, values: Mapping[str, Any], expect: str = "^{value}$"
) -> list[dict[str, Any]]:
    """A control for each key of `table`, which says what others call it. `{key}` and `{value}` are filled in.

    KeyError where a key has no value: what is judged is what the role wants, and nothing else.
    """
    return [
        {
            "control": control,
            "says": f"{key} is {values[key]}",
            "command": command.replace("{key}", key),
            "expect": expect.replace("{key}", re.escape(key)).replace(
                "{value}", re.escape(str(values[key]))
            ),
        }
        for key, control in table.items()
    ]


def judged(results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was found of each control; `results` as a loop over controls registers them.

    `passed` is None where a control was not asked, which is neither good nor bad.
    """
    return [_judged(one["item"], one) for one in results]


def _judged(control: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: control[key] for key in ("control", "says", "command")}
    if result.get("skipped"):
        return {**told, "printed": "", "passed": None}
    printed = "\n".join(filter(None, (result.get("stdout", ""), result.get("stderr", ""))))
    return {
        **told,
        "printed": printed[:PRINTED_MOST],
        "passed": _passes(control, result.get("stdout", ""), result.get("rc")),
    }


def _passes(control: Mapping[str, Any], text: str, status: int | None) -> bool:
    expect, refuse = control.get("expect"), control.get("refuse")
    if expect is None and refuse is None:
        return status == 0
    return (expect is None or re.search(expect, text, re.MULTILINE) is not None) and (
        refuse is None or re.search(refuse, text, re.MULTILINE) is None
    )


def exposures(
    units: Iterable[Mapping[str, Any]], limits: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """`systemd-analyze security --json` of each unit that a limit is for: the first whose expression fits it."""
    found = []
    for unit in units:
        name = str(unit["unit"]).removesuffix(".service")
        most = next((most for pattern, most in limits.items() if re.fullmatch(pattern, name)), None)
        if most is not None:
            level = float(unit["exposure"])
            found.append(
                {"unit": name, "exposure": level, "most": float(most), "passed": level <= most}
            )
    return sorted(found, key=lambda one: one["unit"])


def listeners(text: str) -> list[dict[str, Any]]:
    """`ss -Hltunp` as facts of ports, which `strangers` judges."""
    found = []
    for line in text.splitlines():
        protocol, _, _, _, local, *rest = line.split()
        address, _, port = local.rpartition(":")
        program = re.search(r'\(\("([^"]+)"', " ".join(rest))
        name = program[1] if program else ""
        found.append({"protocol": protocol, "address": address, "port": int(port), "name": name})
    return found


def evidence_page(report: Mapping[str, Any]) -> str:
    """The report as Markdown: what failed first, then everything with its command and what it printed."""
    hosts = report["hosts"]
    counted = [[name, *_counts(host), len(host["findings"])] for name, host in hosts.items()]
    lines = [f"# Hardening evidence: {report['installation']}", "", f"Gathered {report['at']}.", ""]
    lines += _table(["host", "passed", "failed", "not judged", "findings of `verify`"], counted)
    for name, host in hosts.items():
        lines += ["", f"## {name}", "", *(f"- **differs**: {one}" for one in host["findings"])]
        lines += ["", "### Controls", "", *_controls(host["controls"])]
        lines += ["", "### Exposure of units", "", *_units(host["units"])]
        lines += ["", "### Open ports", ""]
        lines += [f"- **not expected**: {one}" for one in host["strangers"]]
        lines += ["```", *host["ports"].splitlines(), "```"]
    return "\n".join(lines) + "\n"


def _controls(controls: Iterable[Mapping[str, Any]]) -> list[str]:
    ordered = sorted(controls, key=lambda one: one["passed"] is not False)
    rows = [
        [one["control"], one["says"], _word(one["passed"]), *map(_code, (one["command"], one["printed"]))]
        for one in ordered
    ]  # fmt: skip
    return _table(["control", "says", "", "command", "printed"], rows)


def _units(units: list[Mapping[str, Any]]) -> list[str]:
    if not units:
        return ["- **FAILED**: systemd told of no unit"]
    rows = [[one["unit"], one["exposure"], one["most"], _word(one["passed"])] for one in units]
    return _table(["unit", "exposure", "at most", ""], rows)


def _counts(host: Mapping[str, Any]) -> list[int]:
    told = [one["passed"] for one in [*host["controls"], *host["units"]]]
    failed = told.count(False) + len(host["strangers"]) + (not host["units"])
    return [told.count(True), failed, told.count(None)]


def _word(passed: bool | None) -> str:
    return "not judged" if passed is None else "passed" if passed else "**FAILED**"


def _table(titles: list[str], rows: Iterable[list[Any]]) -> list[str]:
    cells = [titles, ["---"] * len(titles), *rows]
    return ["| " + " | ".join(str(cell) for cell in row) + " |" for row in cells]


def _code(text: str) -> str:
    """As code in a table's cell, of which the text may hold borders and quotes."""
    plain = " ⏎ ".join(text.split("\n")).replace("|", "\\|").replace("`", "'")
    return f"`{plain}`" if plain.strip() else ""


class FilterModule:
    """Where Ansible looks."""

    def filters(self) -> dict[str, Any]:
        return {
            "each_of": each_of,
            "judged": judged,
            "exposures": exposures,
            "listeners": listeners,
            "evidence_page": evidence_page,
        }
