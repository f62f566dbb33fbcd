"""Which metrics and labels PromQL expressions name, and whether the product exports them. Pure but for `product`.

An alert on a metric that nobody exports never fires, and a panel stays empty: both look like all is
well. So every expression of a rule or a dashboard is compared with the registries (`product`), or with
a page that a process really showed (`of_page`). `unknown` says what does not fit, in sentences.

This reads just enough of PromQL (prometheus.io/docs/prometheus/latest/querying/basics) to find selectors, their
matchers and label lists; whether an expression is right otherwise, `promtool check rules` says. Grafana's
variables (`$broker`, `[$__rate_interval]`) and `label_values()` are understood.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

Exported = Mapping[str, frozenset[str]]
"""The labels of each series, by the name that an expression uses (`…_total`, `…_bucket`)."""

MODULES = (
    "audit.metrics",
    "fanout.metrics",
    "gateway.metrics",
    "gateway.notify.metrics",
    "hsm.metrics",
    "ops.backup.metrics",
    "ops.clock.metrics",
    "ops.metrics",
)
"""Where the product's metrics are defined. A test says that there is no other place."""

TARGET_LABELS = frozenset({"job", "instance", "process"})
"""What scraping puts on every series (docs/operating/monitoring.md)."""
PROMETHEUS_OWN: Exported = {
    "up": frozenset(),
    "scrape_duration_seconds": frozenset(),
    "ALERTS": frozenset({"alertname", "alertstate", "severity"}),
}
"""What Prometheus makes by itself for each target, and of its alerts."""

_SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("_sum", "_count"),
    "info": ("_info",),
}
_TOKEN = re.compile(
    r"""(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
      | (?P<range>\[[^\]]*\])
      | (?P<variable>\$\{\w+(?::\w+)?\}|\$\w+)
      | (?P<number>\d[\w.]*)
      | (?P<name>[A-Za-z_:][\w:]*)
      | (?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^=<>(){},@])""",
    re.VERBOSE,
)
_LABEL_LISTS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan", "start", "end"})
_MAKES_LABEL = {"label_replace": 1, "label_join": 1, "count_values": 0}
"""Functions that put a label on their result, and which argument names it."""


class Token(NamedTuple):
    """One word of an expression. `kind`: a group of _TOKEN."""

    kind: str
    word: str


class Selector(NamedTuple):
    """A metric as an expression names it, and the labels that it is chosen by."""

    metric: str
    labels: frozenset[str]


class Use(NamedTuple):
    """What one expression names. `grouped`: labels of by, on and their like; `made`: by label_replace."""

    selectors: tuple[Selector, ...]
    grouped: frozenset[str]
    made: frozenset[str]


def used(expression: str) -> Use:
    """What the expression names. Raises ValueError where a character is none of PromQL's."""
    tokens = list(_tokens(expression))
    selectors: list[Selector] = []
    grouped: set[str] = set()
    made: set[str] = set()
    at = 0
    while at < len(tokens):
        token, after = tokens[at], _at(tokens, at + 1)
        if token.kind == "name" and token.word in _LABEL_LISTS and after == "(":
            names, at = _until(tokens, at + 2, ")")
            grouped.update(names)
        elif token.kind == "name" and token.word == "label_values" and after == "(":
            label, at = _label_values(tokens, at)
            grouped.add(label)
        elif token.kind == "name" and after in ("(", "by", "without"):  # a function
            made.update(_made(tokens, at))
            at += 1
        elif token.word == "{" or (
            token.kind == "name" and token.word.lower() not in _WORDS | _LABEL_LISTS
        ):
            selector, at = _selector(tokens, at)
            selectors.append(selector)
        else:
            at += 1
    return Use(tuple(selectors), frozenset(grouped), frozenset(made))


def unknown(expressions: Iterable[str], exported: Exported) -> list[str]:
    """A sentence for each name and label that is not exported. Empty: all of it is."""
    wrong = []
    for expression in expressions:
        use = used(expression)
        allowed = TARGET_LABELS | {"le"} | use.made
        for metric, labels in use.selectors:
            if metric not in exported:
                wrong.append(f"nobody exports {metric}: {expression}")
                continue
            allowed |= exported[metric]
            if extra := labels - exported[metric] - TARGET_LABELS:
                wrong.append(f"{metric} has no label {', '.join(sorted(extra))}: {expression}")
        if extra := use.grouped - allowed:
            wrong.append(f"nothing in it has the label {', '.join(sorted(extra))}: {expression}")
    return wrong


def product() -> Exported:
    """Everything that the product's processes export, from their registries, and Prometheus' own."""
    for module in MODULES:
        importlib.import_module(module)
    return {**PROMETHEUS_OWN, **of_registry(REGISTRY)}


def of_registry(registry: CollectorRegistry) -> Exported:
    """The series of a registry, also of metrics that have no value yet."""
    found: dict[str, frozenset[str]] = {}
    for collector in _collectors(registry):
        labels = frozenset(getattr(collector, "_labelnames", ()))
        for family in collector.describe() if hasattr(collector, "describe") else ():
            found.update(_series(family.name, family.type, labels))
    for (
        family
    ) in registry.collect():  # collectors that do not describe themselves: process_…, python_…
        for series in _series(family.name, family.type, frozenset()):
            found.setdefault(series, frozenset())
        for sample in family.samples:
            if sample.name in found:
                found[sample.name] |= frozenset(sample.labels)
    return found


def of_page(text: str) -> Exported:
    """The series of one /metrics page. Metrics with labels and no value yet show none."""
    found: dict[str, frozenset[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, frozenset()) | frozenset(sample.labels)
    return found


def _collectors(registry: CollectorRegistry) -> list[object]:
    """Each once. The registry gives away its values only; what has none yet is what we are after."""
    return list(getattr(registry, "_collector_to_names"))  # noqa: B009 - private, and stable since 2015


def _series(name: str, kind: str, labels: frozenset[str]) -> dict[str, frozenset[str]]:
    suffixes = _SUFFIXES.get(kind, ("",))
    return {
        name + suffix: labels | {"le"} if suffix == "_bucket" else labels for suffix in suffixes
    }


def _tokens(expression: str) -> Iterator[Token]:
    at = 0
    while at < len(expression):
        if expression[at].isspace():
            at += 1
            continue
        found = _TOKEN.match(expression, at)
        if found is None or found.lastgroup is None:
            raise ValueError(f"not PromQL at {expression[at : at + 10]!r}: {expression}")
        yield Token(found.lastgroup, found[0])
        at = found.end()


def _at(tokens: list[Token], index: int) -> str:
    return tokens[index].word if index < len(tokens) else ""


def _until(tokens: list[Token], at: int, close: str) -> tuple[list[str], int]:
    """The names from `at` to `close`, and the index behind it."""
    names = []
    while at < len(tokens) and tokens[at].word != close:
        if tokens[at].kind == "name":
            names.append(tokens[at].word)
        at += 1
    return names, at + 1


def _selector(tokens: list[Token], at: int) -> tuple[Selector, int]:
    """`metric`, `metric{…}` or `{__name__="metric", …}`."""
    metric = "" if tokens[at].word == "{" else tokens[at].word
    at += bool(metric)
    labels = set()
    if _at(tokens, at) == "{":
        end = next((i for i in range(at, len(tokens)) if tokens[i].word == "}"), len(tokens))
        for index in range(at + 1, end):
            if tokens[index].kind != "name":
                continue
            if tokens[index].word == "__name__":
                metric = _at(tokens, index + 2).strip("\"'`")
            else:
                labels.add(tokens[index].word)
        at = end + 1
    return Selector(metric, frozenset(labels)), at


def _label_values(tokens: list[Token], at: int) -> tuple[str, int]:
    """Grafana's `label_values(selector, label)`: the label, and where its selector begins.

    The comma and the label are taken out of `tokens`, so that what is left reads as PromQL.
    """
    close, depth = at + 1, 0
    while close < len(tokens):
        depth += (tokens[close].word == "(") - (tokens[close].word == ")")
        if depth == 0:
            break
        close += 1
    label = tokens[close - 1].word
    first = close - 2 if tokens[close - 2].word == "," else close - 1
    del tokens[first:close]
    return label, at + 2


def _made(tokens: list[Token], at: int) -> Iterator[str]:
    """The label that the function at `at` puts on its result."""
    which = _MAKES_LABEL.get(tokens[at].word)
    if which is None:
        return
    argument, depth = 0, 0
    for token in tokens[at + 1 :]:
        depth += (token.word in ("(", "{")) - (token.word in (")", "}"))
        if depth == 0:
            return
        if token.word == "," and depth == 1:
            argument += 1
        elif depth == 1 and argument == which and token.kind == "text":
            yield token.word.strip("\"'`")
