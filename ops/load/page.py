"""The report as one page that stands alone: what was found, the pictures, each step, the floors, the command."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from ops.bench.show import number
from ops.load.report import Report


def page(report: Report, picture: str) -> str:
    """HTML. `picture`: an SVG of our own, put in as it is."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names and findings are others' words
        trim_blocks=True,
    )
    environment.filters["n"] = _number
    return environment.get_template("report.html.jinja").render(
        report=report,
        picture=Markup(picture),  # noqa: S704 - drawn by us
        groups=sorted({group for step in report.steps for group in step.cpu_cores}),
    )


def _number(value: float | None) -> str:
    return "–" if value is None else number(value)
