"""The alert rules name metrics that the product publishes, and each says what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "ops" / "alerts").glob("*.yml"))
DEFINED = {
    name
    for package in ("audit", "fanout", "gateway", "hsm", "ops", "tenancy")
    for file in (ROOT / package).rglob("*.py")
    for name in re.findall(r"\"(portcullis_[a-z_]+)\"", file.read_text())
}


def rules(file: Path) -> list[str]:
    """Each rule's text, from its name on."""
    return re.split(r"^ *- alert: ", file.read_text(), flags=re.MULTILINE)[1:]


def expression(rule: str) -> str:
    found = re.search(r"^ *expr: (.*(?:\n {10,}.*)*)", rule, re.MULTILINE)
    assert found is not None, rule
    return found[1]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_rule_asks_for_metrics_that_there_are(file):
    assert rules(file)
    for rule in rules(file):
        named = set(re.findall(r"portcullis_[a-z_]+", expression(rule)))
        # A histogram's own name is the one that is defined.
        named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
        assert named, rule
        assert named <= DEFINED, f"{rule.split()[0]}: {named - DEFINED}"


def test_every_rule_has_a_name_of_its_own_a_severity_and_a_summary():
    every = [rule for file in FILES for rule in rules(file)]
    names = [rule.split()[0] for rule in every]
    assert len(names) == len(set(names)) > 25
    for rule in every:
        assert "severity: " in rule, rule
        assert "summary: " in rule, rule
