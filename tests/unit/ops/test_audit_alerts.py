"""The alert rules of anchors and witnesses name metrics that there are."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import REGISTRY, generate_latest

from audit import metrics

RULES = Path(__file__).parents[3] / "ops" / "alerts" / "audit.yml"


def test_every_rule_asks_for_a_metric_that_the_recorder_publishes():
    metrics.WITNESS_FAILURES.labels("w1").inc(0)
    published = generate_latest(REGISTRY).decode()
    named = set(re.findall(r"portcullis_[a-z_]+", RULES.read_text()))
    assert len(named) == 5
    assert all(f"\n{name}" in published for name in named), named
