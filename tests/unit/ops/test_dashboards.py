"""Dashboards: what is committed is what the description says, Grafana can read it, and no panel stays empty."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ops.alerts.expressions import product, unknown, used
from ops.dashboards.__main__ import BOARDS, HERE, texts

ROOT = Path(__file__).parents[3]
EXPORTERS = Path(__file__).with_name("exporters.toml")
ALL = {path.name: json.loads(path.read_text()) for path in sorted(HERE.glob("*.json"))}
UNITS = {
    "Bps", "bytes", "ops", "percentunit", "reqps", "s", "short",
}  # fmt: skip
VARIABLE = re.compile(r"\$\{?(\w+)\}?")
GRAFANAS_OWN = {"__rate_interval"}
STANDS_FOR = {"__rate_interval": "5m"}


def panels(board: Any) -> list[Any]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


EVERY_PANEL = [(name, panel) for name, board in ALL.items() for panel in panels(board)]
EXPRESSIONS = [target["expr"] for _, panel in EVERY_PANEL for target in panel["targets"]] + [
    each["expr"] for board in ALL.values() for each in board["annotations"]["list"]
]


def asked(board: Any) -> list[str]:
    """The queries of its variables."""
    return [v["definition"] for v in board["templating"]["list"] if v["type"] == "query"]


def exporters() -> dict[str, frozenset[str]]:
    """What others export, which is written down by hand: they are not here to be asked."""
    told = msgspec.toml.decode(EXPORTERS.read_bytes(), type=dict[str, dict[str, list[str]]])
    return {name: frozenset(labels) for one in told.values() for name, labels in one.items()}


def test_what_is_committed_is_what_the_description_says():
    """`python -m ops.dashboards` writes them."""
    assert set(ALL) == set(BOARDS)
    for name, text in texts().items():
        assert (HERE / name).read_bytes() == text, f"{name}: run python -m ops.dashboards"


def test_no_panel_and_no_variable_names_what_nobody_exports():
    exported = {**product(), **exporters()}
    queries = [query for board in ALL.values() for query in asked(board)]
    assert unknown([*EXPRESSIONS, *queries], exported) == []


def test_nothing_is_written_down_of_exporters_that_no_panel_uses():
    queries = [query for board in ALL.values() for query in asked(board)]
    named = {one.metric for query in [*EXPRESSIONS, *queries] for one in used(query).selectors}
    assert set(exporters()) <= named


def test_every_metric_of_ours_is_on_a_dashboard():
    """What is measured and never looked at is either missing here or not worth measuring. A new one:
    give it a panel, in the description beside its dashboard."""
    named = {one.metric for query in EXPRESSIONS for one in used(query).selectors}
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
    ours = {name for name in product() if name.startswith("portcullis_")}
    missing = {name for name in ours if re.sub(r"_(bucket|sum|count)$", "", name) not in bare}
    assert missing == set()


def test_prometheus_can_read_every_expression(tmp_path: Path):
    """promtool, on a file of rules with the variables filled in."""
    rules = [
        {"record": f"panel:{at}", "expr": VARIABLE.sub(lambda m: STANDS_FOR.get(m[1], "x"), text)}
        for at, text in enumerate(EXPRESSIONS)
    ]
    assert len(rules) > 150
    file = tmp_path / "rules.yml"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint=none", str(file)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ALL)
def test_panels_say_what_they_show_and_in_which_unit(name: str):
    for panel in panels(ALL[name]):
        _says_enough(panel)


def _says_enough(panel: Any) -> None:
    assert panel["title"]
    assert panel["title"][0].isupper()
    assert len(panel["description"]) > 20
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    assert {target["refId"] for target in panel["targets"]} == set(
        "ABCDEFGH"[: len(panel["targets"])]
    )
    for where in (panel, *panel["targets"]):
        assert where["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_a_counter_is_never_shown_as_it_stands():
    """Its value says for how long the process runs; its rate or increase says what happens."""
    for text in EXPRESSIONS:
        bare = re.sub(r"(rate|increase|changes)\((\w+)", "", text)
        named = [one.metric for one in used(bare).selectors if one.metric.startswith("portcullis_")]
        assert [
            name for name in named if name.endswith(("_total", "_bucket", "_count", "_sum"))
        ] == []


def test_panels_do_not_overlap_and_stay_within_the_grid():
    for name, board in ALL.items():
        places = [(panel["title"], panel["gridPos"]) for panel in board["panels"]]
        for title, at in places:
            assert 0 <= at["x"] < at["x"] + at["w"] <= 24, (name, title)
            assert at["h"] > 0
        for (one, a), (other, b) in itertools.combinations(places, 2):
            apart = (
                a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
                or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
            )  # fmt: skip
            assert apart, (name, one, other)


def test_ids_are_unique_and_uids_are_for_ever():
    for name, board in ALL.items():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids), name
        titles = [panel["title"] for panel in panels(board)]
        assert len(set(titles)) == len(titles), name
    assert {name: board["uid"] for name, board in ALL.items()} == {
        "gateway.json": "portcullis-gateway",
        "brokers.json": "portcullis-brokers",
        "hsm.json": "portcullis-hsm",
        "audit.json": "portcullis-audit",
        "host.json": "portcullis-host",
    }


def test_variables_are_declared_used_and_name_no_tenant():
    for name, board in ALL.items():
        declared = [each["name"] for each in board["templating"]["list"]]
        text = json.dumps([board["panels"], board["annotations"], board["links"], asked(board)])
        assert declared[0] == "datasource"
        assert set(VARIABLE.findall(text)) - GRAFANAS_OWN == set(declared), name
        assert "tenant" not in json.dumps([*EXPRESSIONS, *declared]).replace(
            "portcullis_clock_tenants_over_tier", ""
        )


def test_every_link_leads_to_a_page_of_ours_or_to_the_runbook_of_an_alert():
    """That each alert has its runbook is tests/unit/ops/test_alert_rules.py's to say."""
    rules = "".join(path.read_text() for path in (ROOT / "ops" / "alerts").glob("*.yml"))
    runbooks = {
        f"operating/alerts/{name}.md" for name in re.findall(r"^ +- alert: (\w+)$", rules, re.M)
    }
    found = set(re.findall(r"\$\{docs\}/([^\"]+)", json.dumps(list(ALL.values()))))
    assert len(found & runbooks) > 40
    assert [page for page in found - runbooks if not (ROOT / "docs" / page).is_file()] == []


def test_thresholds_rise_and_begin_with_grafanas_base():
    for name, panel in EVERY_PANEL:
        steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps")
        if steps is None:
            assert panel["type"] == "heatmap", name
            continue
        values = [step["value"] for step in steps]
        assert values[0] is None
        assert None not in values[1:]
        assert values[1:] == sorted(set(values[1:])), (name, panel["title"])
