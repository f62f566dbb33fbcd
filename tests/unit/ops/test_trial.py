"""What a trial leaves behind does not stand in the way of the next one, whichever version made it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops.paths import Places
from ops.state import State, identify, write_state
from ops.trial.installation import remove
from tenancy.errors import ConfigurationError


def left(directory: Path) -> Places:
    """An installation whose settings this version cannot read."""
    where = Places(var=directory / "var", runtime=directory / "run")
    for place in (where.var, where.runtime):
        place.mkdir()
    where.settings.write_text("[of_another_version]\n")
    where.settings.chmod(0o600)
    return where


def test_an_old_installation_that_does_not_run_is_taken_away(tmp_path: Path) -> None:
    where = left(tmp_path)
    remove(where)
    assert not where.var.exists()
    assert not where.runtime.exists()


def test_an_old_installation_that_runs_is_not_pulled_from_under_itself(tmp_path: Path) -> None:
    where = left(tmp_path)
    us = identify(os.getpid())
    assert us is not None
    write_state(
        where.runtime / "state.json",
        State(supervisor=us, settings=where.settings, ready=True, processes={}, urls={}, health={}),
    )
    with pytest.raises(ConfigurationError):
        remove(where)
    assert where.settings.exists()
