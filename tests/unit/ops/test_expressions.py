"""What an expression names is found, whatever is around it; and what is not exported is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ops.alerts import expressions
from ops.alerts.expressions import Selector, of_page, of_registry, product, unknown, used

ROOT = Path(__file__).parents[3]
EXPORTED = {
    "a_total": frozenset({"x"}),
    "b": frozenset({"y"}),
    "c_bucket": frozenset({"kind", "le"}),
}


@pytest.mark.parametrize(
    ("expression", "selectors", "grouped"),
    [
        ("up", {"up": set()}, set()),
        ('sum by (x) (increase(a_total{x=~"m|n", y!="o"}[5m])) > 3', {"a_total": {"x", "y"}}, {"x"}),
        ("histogram_quantile(0.99, sum(rate(c_bucket[$__rate_interval])) without (kind))",
         {"c_bucket": set()}, {"kind"}),
        ("a == 0 and on (host) max by (host) (b offset 5m) < bool 1e3", {"a": set(), "b": set()}, {"host"}),
        ('a * on (x) group_left (v) info{v="}"}', {"a": set(), "info": {"v"}}, {"x", "v"}),
        ('{__name__="a_total", x="1"}', {"a_total": {"x"}}, set()),
        ("time() - b{y=\"$broker\"} > ${limit}", {"b": {"y"}}, set()),
        ('label_values(a_total{x="1"}, y)', {"a_total": {"x"}}, {"y"}),
        ("absent(b) or vector(0) unless a @ end()", {"a": set(), "b": set()}, set()),
        ("max_over_time(b[1h:5m])", {"b": set()}, set()),
    ],
)  # fmt: skip
def test_names_matchers_and_label_lists_are_found(expression, selectors, grouped):
    found = used(expression)
    assert set(found.selectors) == {
        Selector(name, frozenset(labels)) for name, labels in selectors.items()
    }
    assert found.grouped == grouped


def test_what_is_no_promql_is_said():
    with pytest.raises(ValueError, match="not PromQL at '& b'"):
        used("a & b")


@pytest.mark.parametrize(
    "expression",
    [
        'rate(a_total{x="1", job="portcullis", process=~"worker.*"}[5m])',
        "sum by (instance, y) (b)",
        "histogram_quantile(0.5, sum by (le, kind) (rate(c_bucket[5m])))",
        'sum by (of) (label_replace(b, "of", "$1", "y", "(.*)"))',
        "a_total * on (instance) group_left (y) b",
    ],
)
def test_what_is_exported_is_in_order(expression):
    assert unknown([expression], EXPORTED) == []


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("a_total + d", "nobody exports d: "),
        ("a_totals", "nobody exports a_totals: "),
        ('a_total{y="1"}', "a_total has no label y: "),
        ("sum by (z) (a_total)", "nothing in it has the label z: "),
        ("label_values(b, z)", "nothing in it has the label z: "),
    ],
)
def test_what_is_not_exported_is_said(expression, said):
    assert unknown([expression], EXPORTED) == [said + expression]


def test_a_registry_tells_labels_of_metrics_without_values_and_a_page_of_those_with():
    registry = CollectorRegistry()
    Counter("made_total", "-", ["kind"], registry=registry)
    Histogram("took_seconds", "-", ["of"], registry=registry).labels("x").observe(1)
    Gauge("room_bytes", "-", registry=registry)
    told = of_registry(registry)
    assert told["made_total"] == {"kind"}
    assert told["took_seconds_bucket"] == {"of", "le"}
    assert told["took_seconds_count"] == {"of"}
    assert told["room_bytes"] == frozenset()
    page = of_page(generate_latest(registry).decode())
    assert "made_total" not in page  # no value yet: nothing is shown
    assert {name: labels for name, labels in page.items() if not name.endswith("_created")} == {
        name: labels for name, labels in told.items() if name != "made_total"
    }


def test_every_place_where_metrics_are_defined_is_asked():
    makes = re.compile(
        r"^from prometheus_client import .*\b(?:Counter|Gauge|Histogram|Summary)\b", re.M
    )
    found = {
        file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for package in ("tenancy", "hsm", "audit", "fanout", "gateway", "ops", "loadtest")
        for file in (ROOT / package).rglob("*.py")
        if makes.search(file.read_text())
    }
    assert found == set(expressions.MODULES)


def test_no_metric_has_a_label_that_scraping_puts_on_it():
    """Prometheus would call ours `exported_…`, and no expression would find it."""
    ours = {name: labels for name, labels in product().items() if name.startswith("portcullis_")}
    assert ours
    assert [n for n, labels in ours.items() if labels & expressions.TARGET_LABELS] == []


def test_metrics_are_named_as_prometheus_expects():
    """Base units; what only counts ends in _total. prometheus.io/docs/practices/naming"""
    odd = re.compile(r"_(ms|us|ns|millis|minutes|hours|days|kb|mb|percent)(_|$)")
    for name in product():
        if name.startswith("portcullis_"):
            assert not odd.search(name), name
