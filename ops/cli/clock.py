"""`portcullis clock`: how right this host's clock is, read from the agent's report; nothing need run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from ops.cli.output import json_option, print_json, print_table
from ops.clock.agent import clock_file
from ops.settings import read_settings
from tenancy.clock_file import ClockFile
from tenancy.clock_quality import TIERS_NS, ClockTier, Quality, Report


@click.command()
@json_option
@click.pass_obj
def clock(file: Path, as_json: bool) -> None:
    """How right this host's clock is, and which tiers it meets. Exit status 1 where it is not well."""
    sense = ClockFile(clock_file(read_settings(file).instance.runtime))
    quality = sense.quality()
    tiers = {tier: quality.within(limit_ns) for tier, limit_ns in TIERS_NS.items()}
    if as_json:
        print_json({"quality": quality, "meets": tiers, "report": sense.report})
    else:
        click.echo(quality.words)
        print_table(("what", "how"), [*_figures(quality, sense.report), *_met(tiers)])
    sys.exit(0 if quality.state == "ok" else 1)


def _met(tiers: Mapping[ClockTier, bool]) -> list[tuple[str, str]]:
    return [(tier, "met" if met else "not met") for tier, met in tiers.items()]


def _figures(quality: Quality, report: Report | None) -> list[tuple[str, str]]:
    if report is None or report.tracking is None or quality.src != "chrony":
        return []
    said = report.tracking
    return [
        ("source", f"{said.ref_id}, stratum {said.stratum}"),
        ("offset", f"{said.offset_ns / 1e6:.6f} ms"),
        ("root delay", f"{said.root_delay_ns / 1e6:.6f} ms"),
        ("root dispersion", f"{said.root_dispersion_ns / 1e6:.6f} ms"),
        ("frequency, skew", f"{said.frequency_ppb / 1e3:.3f} ppm, {said.skew_ppb / 1e3:.3f} ppm"),
    ]
