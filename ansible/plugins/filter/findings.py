"""Filters of `verify`: read what a program says is in force, and say in sentences what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import unified_diff
from ipaddress import ip_address
from typing import Any


def as_settings(text: str, separator: str | None = None) -> dict[str, str]:
    """`key value` lines as sshd -T writes them, or `key = value` with that separator.

    Keys in lower case; empty lines and comments are left out.
    """
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition(separator or " ") for line in lines if line and line[0] != "#")
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any], what: str) -> list[str]:
    """One sentence for each wanted thing that is otherwise, or not there; what else there is may be."""
    return [
        f"{what}: {key} is {found.get(key, 'not set')}, should be {value}"
        for key, value in wanted.items()
        if str(found.get(key)) != str(value)
    ]


def text_differences(found: str, wanted: str, what: str) -> list[str]:
    """Each line that is not in both: `-` is wanted and missing, `+` should not be there."""
    lines = unified_diff(wanted.splitlines(), found.splitlines(), lineterm="", n=0)
    return [
        f"{what}: {line}"
        for line in lines
        if line[0] in "+-" and not line.startswith(("+++", "---"))
    ]


def mount_differences(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """One sentence for each option that a mount should have: `item` has path and options, `stdout` what is.

    Sizes and modes are left out: the kernel writes them in words of its own.
    """
    return [
        f"mount: {one['item']['path']} is not {option}"
        for one in results
        for option in one["item"]["options"].split(",")
        if "=" not in option and option not in one["stdout"].strip().split(",")
    ]


def unit_differences(states: Mapping[str, str], wanted: Iterable[str]) -> list[str]:
    """One sentence for each unit that the next boot would not start; `states` as systemctl is-enabled says."""
    return differences(states, dict.fromkeys(wanted, "enabled"), "unit")


def strangers(listeners: Iterable[Mapping[str, Any]], ports: Iterable[Any]) -> list[str]:
    """One sentence for each port that is open to other hosts, and in no flow."""
    known = {int(port) for port in ports}
    return sorted(
        {
            f"open port: {one['protocol']} {one['port']} ({one.get('name') or 'unknown'}) is in no flow"
            for one in listeners
            if not (
                _is_loopback(one["address"])
                or (one["protocol"] == "tcp" and int(one["port"]) in known)
            )
        }
    )


def unreached(targets: Iterable[Mapping[str, Any]], jobs: Iterable[str]) -> list[str]:
    """One sentence for each target of Prometheus that does not answer, and for each job that has none at all."""
    told = list(targets)
    there = {one["labels"]["job"] for one in told}
    return [f"monitoring: Prometheus asks nobody as {job}" for job in jobs if job not in there] + [
        f"monitoring: {one['scrapeUrl']} is {one['health']}: {one.get('lastError') or 'not asked yet'}"
        for one in told
        if one["health"] != "up"
    ]


def _is_loopback(address: str) -> bool:
    return address != "*" and ip_address(address.partition("%")[0].strip("[]")).is_loopback


class FilterModule:
    """Where Ansible looks."""

    def filters(self) -> dict[str, Any]:
        return {
            "as_settings": as_settings,
            "differences": differences,
            "text_differences": text_differences,
            "mount_differences": mount_differences,
            "unit_differences": unit_differences,
            "strangers": strangers,
            "unreached": unreached,
        }
