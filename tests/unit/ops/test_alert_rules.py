"""Every alert asks for what is exported, is tried in both directions, and has a page that says what to do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.alerts.expressions import TARGET_LABELS, product, unknown, used
from tenancy.values import PARTITIONS

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "ops" / "alerts"
FILES = sorted(ALERTS.glob("*.yml"))
HOSTS = ROOT / "ansible" / "roles" / "monitoring" / "files" / "hosts.yml"
"""Of what runs beside the product; exporters of others tell of it, and booted hosts show that they do."""
TESTS = sorted((ALERTS / "tests").glob("*.yml"))
PAGES = ROOT / "docs" / "operating" / "alerts"
SECTIONS = [
    "What it means", "What is at risk", "What to look at", "What to do", "When it is over",
]  # fmt: skip
SEVERITIES = {"page", "ticket"}


def rules(*files: Path) -> list[dict[str, Any]]:
    read = [yaml.safe_load(file.read_text()) for file in files]
    return [rule for file in read for group in file["groups"] for rule in group["rules"]]


OWN = rules(*FILES)
RULES = [*OWN, *rules(HOSTS)]
NAMES = [rule["alert"] for rule in RULES]


def promtool(*words: str) -> str:
    """What it says. It must be there: `./appliance test` installs it with Debian's prometheus."""
    done = subprocess.run(
        ["promtool", *words], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_the_rules_right():
    said = promtool("check", "rules", *map(str, [*FILES, HOSTS]))
    assert said.count("SUCCESS") == len(FILES) + 1


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_promtool_finds_that_the_alerts_fire_when_they_should_and_only_then(file):
    assert "SUCCESS" in promtool("test", "rules", str(file))


def test_each_alert_is_seen_to_fire_and_seen_not_to():
    fires, quiet = set(), set()
    for file in TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for looked in test["alert_rule_test"]:
                (fires if looked.get("exp_alerts") else quiet).add(looked["alertname"])
    assert fires == set(NAMES)
    assert quiet == set(NAMES)


ABSENT = {"PortcullisNothingScraped", "PortcullisKeyCalendarUnknown", "PortcullisPartitionsUnheld"}
"""Alerts that something is not there: they fire where nothing is."""


def test_a_process_that_has_nothing_to_do_with_it_fires_nothing(tmp_path):
    """Every process imports most metrics: one without labels is shown as 0 by those that never set it."""
    plain = sorted(
        name for name, labels in product().items() if name.startswith("portcullis_") and not labels
    )
    assert "portcullis_hooks_checked_timestamp_seconds" in plain
    tried = {
        "rule_files": [str(file) for file in [*FILES, HOSTS]],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": f'{name}{{process="worker-0"}}', "values": "0x130"} for name in plain
                ],
                "alert_rule_test": [
                    {"eval_time": "125m", "alertname": name} for name in NAMES if name not in ABSENT
                ],
            }
        ],
    }
    file = tmp_path / "nothing.yml"
    file.write_text(yaml.safe_dump(tried))
    assert "SUCCESS" in promtool("test", "rules", str(file))


def test_every_expression_asks_for_metrics_and_labels_that_are_exported():
    assert unknown([rule["expr"] for rule in OWN], product()) == []


def test_every_label_that_a_sentence_names_is_on_the_alert():
    exported = product()
    for rule in OWN:
        use = used(rule["expr"])
        there = TARGET_LABELS.union(*(exported[metric] for metric, _ in use.selectors))
        named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        if re.match(r"\(?(sum|max|min|avg|count|histogram_quantile)\b", rule["expr"]):
            there = use.grouped
        assert named <= there, f"{rule['alert']}: {named - there}"


def test_each_alert_has_one_name_a_severity_a_sentence_and_its_page():
    assert len(set(NAMES)) == len(NAMES) > 60
    for rule in RULES:
        assert set(rule["labels"]) == {"severity"}
        assert rule["labels"]["severity"] in SEVERITIES, rule["alert"]
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook"] == f"docs/operating/alerts/{rule['alert']}.md"


def test_there_is_a_page_for_each_alert_and_no_other():
    assert {page.stem for page in PAGES.glob("*.md")} == {*NAMES, "README"}


@pytest.mark.parametrize("name", NAMES)
def test_each_page_says_what_it_is_and_what_to_do(name):
    text = (PAGES / f"{name}.md").read_text()
    head, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    assert head.startswith(f"# {name}\n")
    assert [part.split("\n", 1)[0] for part in parts] == SECTIONS
    assert all(len(part.split("\n", 1)[1].strip()) >= 10 for part in parts)


def test_the_list_of_pages_names_each_alert_with_its_severity():
    text = (PAGES / "README.md").read_text()
    for rule in RULES:
        row = f"| [{rule['alert']}]({rule['alert']}.md) | {rule['labels']['severity']} |"
        assert row in text, row


def test_the_rule_about_partitions_knows_how_many_there_are():
    (rule,) = (rule for rule in RULES if rule["alert"] == "PortcullisPartitionsUnheld")
    assert rule["expr"].endswith(f"< {PARTITIONS}")
