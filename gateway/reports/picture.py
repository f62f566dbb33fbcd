"""A report as a picture: rows of dots with intervals on shared axes, as SVG. Pure.

No script, no font or file from elsewhere, colours by CSS for light and dark. A picture shows at most ROWS_MOST
rows of a kind; what it leaves out it says. Every number in it is in the JSON and in the CSV.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

import msgspec

from gateway.reports.execution import Execution, ExecutionRow
from gateway.reports.fairness import AccountFairness, Fairness

ROWS_MOST = 30
ROW, LABEL, PANEL, GAP, MARGIN, TOP, BOTTOM = 20, 270, 300, 46, 24, 96, 58
LABEL_CHARS, NOTED_LABEL_CHARS = 34, 20

_STYLE = """
svg{--paper:#ffffff;--ink:#1d2a33;--soft:#5c6b75;--line:#dde4e8;--dot:#1f6f8b;--bad:#b4442c;--good:#3c8d5a;
background:var(--paper);font:12px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
@media (prefers-color-scheme:dark){svg{--paper:#11181d;--ink:#e6edf1;--soft:#9aaab4;--line:#2a363d;--dot:#5fb3d1;
--bad:#e2785f;--good:#6cc08b}}
text{fill:var(--ink)}.soft{fill:var(--soft)}.title{font-size:17px;font-weight:600}.head{font-weight:600}
.grid{stroke:var(--line)}.zero{stroke:var(--soft);stroke-dasharray:3 3}.band{fill:var(--line)}
.span{stroke:var(--dot);stroke-width:2}.dot{fill:var(--dot)}.bad .span{stroke:var(--bad)}.bad .dot{fill:var(--bad)}
.good .span{stroke:var(--good)}.good .dot{fill:var(--good)}.end{stroke:var(--soft);stroke-width:1.5}
.n{text-anchor:end}.mid{text-anchor:middle}"""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What a row shows in one panel. `band`: what is usual; `end`: a far value beyond the interval."""

    dot: float | None = None
    low: float | None = None
    high: float | None = None
    band: tuple[float, float] | None = None
    end: float | None = None
    tone: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the picture; one without marks is a heading."""

    label: str
    note: str = ""
    marks: Sequence[Mark] = ()


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """An axis with its words. `line`: the value at which nothing is different."""

    title: str
    axis: str
    line: float


def fairness_svg(report: Fairness) -> bytes:
    """Place and price of the accounts that stand out most, the first by price."""
    shown = sorted(report.accounts, key=_stands_out, reverse=True)[:ROWS_MOST]
    count = len(report.accounts)
    words = (
        f"{_period(report)} · {report.signals:,} signals, {report.orders:,} orders · "
        f"{report.outside} of {count:,} accounts outside of chance ({report.outside_expected:g} expected)"
    )
    if len(shown) < count:
        words += f" · the {len(shown)} that stand out most"
    panels = (
        Panel(
            title="Place in the fan-out",
            axis="0 = first, 1 = last; grey: what chance keeps to",
            line=0.5,
        ),
        Panel(
            title="Price against the signal's average",
            axis="basis points, right is worse; 95 % interval",
            line=0.0,
        ),
    )
    rows = [
        Row(label=one.name, note=f"n={one.place.n}", marks=(_place(one), _price(one)))
        for one in shown
    ]
    return draw(f"Fairness: {report.strategy}", words, panels, rows, one_scale=False)


def execution_svg(report: Execution) -> bytes:
    """Slippage against both references: mean, from the median to the 95th percentile, and the worst."""
    words = (
        f"{_period(report)} · {report.orders:,} orders ·"
        " dot: mean, bar: median to 95th percentile, tick: worst"
    )
    panels = (
        Panel(title="Slippage against the signal price", axis="basis points, right is worse", line=0.0),
        Panel(title="Slippage against the arrival price", axis="basis points, right is worse", line=0.0),
    )  # fmt: skip
    rows: list[Row] = []
    for by, heading in _HEADINGS.items():
        found = [row for row in report.rows if row.by == by]
        if not found:
            continue
        left = len(found) - ROWS_MOST + (report.left_out if by == "symbol" else 0)
        rows.append(Row(label=heading + (f" ({left} more)" if left > 0 else "")))
        rows += [_cost(row) for row in found[:ROWS_MOST]]
    return draw("Best execution", words, panels, rows, one_scale=True)


_HEADINGS = {
    "all": "All",
    "broker": "Broker",
    "symbol": "Instrument",
    "hour": "Hour (UTC)",
    "ord_type": "Order type",
}


def _cost(row: ExecutionRow) -> Row:
    marks = [
        Mark(dot=s.mean, low=s.median, high=s.p95, end=s.worst) for s in (row.signal, row.arrival)
    ]
    note = f"n={row.orders:,} · {row.fill_ratio:.0%} filled"
    return Row(label=row.value or "every order", note=note, marks=marks)


def _place(one: AccountFairness) -> Mark:
    tone = "" if one.place.standing == "as_expected" else "bad"
    return Mark(dot=one.place.mean, band=(one.place.low, one.place.high), tone=tone)


def _price(one: AccountFairness) -> Mark:
    price = one.price_bps
    tone = ""
    if price.low is not None and price.high is not None:
        tone = "bad" if price.low > 0 else "good" if price.high < 0 else ""
    return Mark(dot=price.mean, low=price.low, high=price.high, tone=tone)


def _stands_out(one: AccountFairness) -> tuple[bool, float, float]:
    return (
        one.place.standing != "as_expected",
        abs(one.price_bps.mean or 0.0),
        abs(one.place.mean - 0.5),
    )


def _period(report: Fairness | Execution) -> str:
    return f"{report.since:%Y-%m-%d} to {report.until:%Y-%m-%d} UTC"


def draw(
    title: str, words: str, panels: Sequence[Panel], rows: Sequence[Row], *, one_scale: bool
) -> bytes:
    """The whole picture. `one_scale`: the panels' axes are the same, so that they can be compared."""
    width = 2 * MARGIN + LABEL + len(panels) * (PANEL + GAP)
    height = TOP + max(1, len(rows)) * ROW + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img" aria-labelledby="t d"><title id="t">{escape(title)}</title>'
        f'<desc id="d">{escape(words)}</desc><style>{_STYLE}</style>',
        _words(MARGIN, 34, title, "title"),
        _words(MARGIN, 54, words, "soft"),
    ]
    scales = _scales(panels, rows, one_scale=one_scale)
    lefts = [MARGIN + LABEL + GAP // 2 + n * (PANEL + GAP) for n in range(len(panels))]
    for panel, left, scale in zip(panels, lefts, scales, strict=True):
        parts += _panel(panel, left, height, scale)
    for number, row in enumerate(rows):
        y = TOP + number * ROW + ROW / 2
        parts += _labels(row, y + 4)
        for mark, left, scale in zip(row.marks, lefts, scales, strict=False):  # a heading has none
            parts += _mark(mark, left, y, scale)
    if not rows:
        parts.append(_words(MARGIN + LABEL, TOP + 14, "nothing in this period", "soft"))
    return "".join([*parts, "</svg>\n"]).encode()


def _labels(row: Row, y: float) -> Iterable[str]:
    most = NOTED_LABEL_CHARS if len(row.note) > 10 else LABEL_CHARS
    name = row.label if len(row.label) <= most else row.label[: most - 1] + "…"
    yield _words(MARGIN, y, name, "" if row.marks else "head")
    if row.note:
        yield _words(MARGIN + LABEL + GAP // 2 - 14, y, row.note, "soft n")


class _Scale(msgspec.Struct, frozen=True):
    """An axis: which value is at its left end, and pixels for one unit."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Pixels from the left."""
        return (value - self.low) * PANEL / (self.high - self.low)


def _scales(panels: Sequence[Panel], rows: Sequence[Row], *, one_scale: bool) -> list[_Scale]:
    """Every value of a panel, with room on both sides."""
    found = []
    for number, panel in enumerate(panels):
        values = [panel.line]
        for mark in (row.marks[number] for row in rows if row.marks):
            values += [v for v in (mark.dot, mark.low, mark.high, mark.end) if v is not None]
            values += mark.band or ()
        found.append((min(values), max(values)))
    if one_scale:
        found = [(min(low for low, _ in found), max(high for _, high in found))] * len(panels)
    room = [(high - low) * 0.06 or 1.0 for low, high in found]
    return [_Scale(low - r, high + r) for (low, high), r in zip(found, room, strict=True)]


def _ticks(low: float, high: float) -> list[float]:
    """Round values between, about five."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= raw)
    first = math.ceil(low / step)
    return [round(n * step, 10) for n in range(first, math.floor(high / step) + 1)]


def _panel(panel: Panel, left: int, height: int, scale: _Scale) -> Iterable[str]:
    bottom = height - BOTTOM + 4
    yield _words(left + PANEL / 2, TOP - 14, panel.title, "head mid")
    for tick in _ticks(scale.low, scale.high):
        x = left + scale.at(tick)
        yield _line(x, TOP, x, bottom, "grid")
        yield _words(x, bottom + 16, f"{tick:g}", "soft mid")
    x = left + scale.at(panel.line)
    yield _line(x, TOP, x, bottom, "zero")
    yield _words(left + PANEL / 2, bottom + 36, panel.axis, "soft mid")


def _mark(mark: Mark, left: int, y: float, scale: _Scale) -> Iterable[str]:
    def at(value: float) -> float:
        return left + scale.at(value)

    yield f'<g class="{mark.tone}">' if mark.tone else "<g>"
    if mark.band is not None:
        begin, end = at(mark.band[0]), at(mark.band[1])
        yield (
            f'<rect class="band" x="{begin:.1f}" y="{y - 5:.1f}" width="{end - begin:.1f}"'
            ' height="10" rx="2"/>'
        )
    if mark.low is not None and mark.high is not None:
        yield _line(at(mark.low), y, at(mark.high), y, "span")
    if mark.end is not None:
        yield _line(at(mark.end), y - 4, at(mark.end), y + 4, "end")
    if mark.dot is not None:
        yield f'<circle class="dot" cx="{at(mark.dot):.1f}" cy="{y:.1f}" r="3.6"/>'
    yield "</g>"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _words(x: float, y: float, text: str, kind: str) -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
