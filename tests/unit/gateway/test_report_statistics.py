"""The statistics of reports against tables and hand-computed values, and the pictures that show them."""

from __future__ import annotations

import math
import statistics
from datetime import UTC, datetime
from uuid import UUID
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.reports import accepted
from gateway.reports.execution import Execution, ExecutionRow, Slippage
from gateway.reports.fairness import AccountFairness, Fairness
from gateway.reports.picture import ROWS_MOST, execution_svg, fairness_svg
from gateway.reports.statistics import estimate, place, t_975

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("freedom", "value"),
    [(1, 12.706), (5, 2.571), (10, 2.228), (11, 2.201), (15, 2.131), (30, 2.042), (120, 1.980), (10**6, 1.960)],
)  # fmt: skip
def test_the_quantile_is_the_tables(freedom, value):
    assert t_975(freedom) == pytest.approx(value, abs=6e-4)


def test_an_interval_by_hand():
    """1, 2, 3, 4, 5: mean 3, deviation 1.5811, t 2.7764 over 4 degrees: 3 ± 1.9632."""
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    made = estimate(5, statistics.mean(values), statistics.stdev(values))
    assert (made.mean, made.low, made.high) == (3.0, 1.0368, 4.9632)


def test_of_one_there_is_no_interval_and_of_none_no_mean():
    one, none = estimate(1, 2.0, None), estimate(0, None, None)
    assert (one.mean, one.low, one.high) == (2.0, None, None)
    assert (none.n, none.mean) == (0, None)


@pytest.mark.parametrize(
    ("mean", "standing"), [(0.3, "early"), (0.5, "as_expected"), (0.7, "late")]
)
def test_outside_of_chance_is_early_or_late(mean, standing):
    """Of 4 accounts one place varies by 15 / 192; over 30 signals 1.96 * sqrt(30 * 15 / 192) / 30 = 0.1."""
    made = place(
        30, mean, 30 * 15 / 192, first=0.2, first_expected=0.25, last=0.2, last_expected=0.25
    )
    assert (made.low, made.high) == pytest.approx((0.4, 0.6), abs=2e-4)
    assert made.standing == standing


@given(st.integers(2, 200))
def test_places_vary_by_chance_as_is_said(m):
    """The variance of (r + ½) / m over equally likely r."""
    places = [(r + 0.5) / m for r in range(m)]
    assert statistics.mean(places) == pytest.approx(0.5)
    assert statistics.pvariance(places) == pytest.approx((m * m - 1) / (12 * m * m))


@pytest.mark.parametrize(
    ("accept", "format_"),
    [
        ("", "json"), ("*/*", "json"), ("text/csv", "csv"), ("image/svg+xml", "svg"),
        ("text/html, image/svg+xml;q=0.9, text/csv", "svg"), ("application/json", "json"),
        ("TEXT/CSV; charset=utf-8", "csv"),
    ],
)  # fmt: skip
def test_accept_says_in_which_form(accept, format_):
    assert accepted(accept) == format_


def account(name: str, mean: float | None) -> AccountFairness:
    return AccountFairness(
        account_id=UUID(int=1), name=name,
        place=place(9, 0.5, 0.75, first=0, first_expected=0, last=0, last_expected=0),
        send_ms=estimate(9, 1.0, 1.0), fill_ms=estimate(0, None, None),
        price_bps=estimate(9 if mean is not None else 0, mean, 1.0),
    )  # fmt: skip


def fair(accounts: list[AccountFairness]) -> Fairness:
    return Fairness(
        strategy_id=UUID(int=1), strategy='<b>&"', since=AT, until=AT, orders=1, signals=1,
        outside=0, outside_expected=0.0, accounts=accounts,
    )  # fmt: skip


def texts(svg: bytes) -> list[str]:
    return [
        node.text or "" for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")
    ]


def test_a_picture_shows_names_as_they_are_and_runs_nothing():
    """A name is somebody else's words: it must not become markup."""
    svg = fairness_svg(fair([account("<script>alert(1)</script>", 1.0), account("x", None)]))
    assert b"<script" not in svg
    assert "<script>alert(1)</script>" in texts(svg)
    assert b"http://www.w3.org/2000/svg" in svg
    assert svg.count(b"http") == 1, "nothing is loaded from elsewhere"


def test_a_picture_of_many_accounts_says_how_many_it_shows():
    svg = fairness_svg(fair([account(f"client {n}", n / 10) for n in range(100)]))
    assert f"the {ROWS_MOST} that stand out most" in "".join(texts(svg))
    assert "client 99" in texts(svg)
    assert "client 1" not in texts(svg)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_every_value_lies_within_its_axis(mean, worst):
    cost = Slippage(n=1, mean=mean, median=mean, p95=worst, worst=worst)
    row = ExecutionRow(
        by="all", value=None, orders=1, fill_ratio=1.0, rejected=0, signal=cost, arrival=cost
    )
    report = Execution(
        strategy_id=None, account_id=None, since=AT, until=AT, orders=1, left_out=0, rows=[row]
    )
    drawn = ElementTree.fromstring(execution_svg(report))
    width = float(drawn.attrib["width"])
    for node in drawn.iter():
        for name in ("x", "x1", "x2", "cx"):
            if name in node.attrib:
                assert 0 <= float(node.attrib[name]) <= width
                assert math.isfinite(float(node.attrib[name]))
