"""What was asked wrongly is no verdict: exit status 2 means that a log was tampered with."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from audit.arguments import ASKED_WRONGLY
from audit.verdict import WORDS
from ops.cli.main import cli


def test_asking_wrongly_is_none_of_the_verdicts():
    assert ASKED_WRONGLY not in WORDS


@pytest.mark.parametrize(
    "words",
    [["verify"], ["verify", "x", "--nope"], ["verify-bundle", "x"], ["watch"], ["open", "--package", "x"]],
)  # fmt: skip
def test_a_wrong_option_of_the_command_is_no_verdict(words):
    done = CliRunner().invoke(cli, ["audit", *words])
    assert done.exit_code == ASKED_WRONGLY
    assert "Usage: " in done.output
    assert "Error: " in done.output


@pytest.mark.parametrize("module", ["audit.verifier", "audit.export.reader"])
def test_a_wrong_option_of_the_program_is_no_verdict(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "place", "--vkey", "x", "--nope"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (ASKED_WRONGLY, "")
    assert "unrecognized arguments: --nope" in done.stderr
