"""Recorded runs: what of a report of `./appliance load` a prediction is made of.

The report itself serves (what is not named here is passed over); those that are kept in the repository
(`recorded/`) are reports without their samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from ops.load.figures import StepFigures
from ops.load.floors import Floors
from ops.load.report import Knee
from ops.load.settings import Settings
from tenancy.errors import ConfigurationError

RECORDED = Path(__file__).parent / "recorded"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of `./appliance load`. `cores`: of the host, generators and exchange on them too."""

    command: str
    conditions: str
    cores: int
    settings: Settings
    floors: Floors
    knee: Knee
    steps: list[StepFigures]

    @property
    def accounts(self) -> int:
        return self.settings.accounts


def read(files: Iterable[Path]) -> list[Run]:
    """Raises ConfigurationError, naming the file and what is wrong in it."""
    return [_read(file) for file in files]


def recorded() -> list[Run]:
    """The runs that came with this release."""
    return read(sorted(RECORDED.glob("*.json")))


def _read(file: Path) -> Run:
    try:
        run = msgspec.json.decode(file.read_bytes(), type=Run)
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigurationError(
            f"{file}: {error}; wanted: report.json of `./appliance load`"
        ) from error
    if run.settings.scenario != "knee":
        raise ConfigurationError(
            f"{file}: a run of the scenario {run.settings.scenario}; wanted: one that searched the knee"
        )
    if not run.steps:
        raise ConfigurationError(f"{file}: the run ended before any rate was measured")
    return run
