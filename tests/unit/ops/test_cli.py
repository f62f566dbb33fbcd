"""What the command line answers an operator who did something wrong."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ops.cli.index import ABOUT, COMMANDS
from ops.cli.lifecycle import next_steps
from ops.cli.main import cli

ROOT = Path(__file__).parents[3]


def test_a_missing_settings_file_is_status_2_and_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["--settings", str(tmp_path / "portcullis.toml"), "status"])
    assert done.exit_code == 2
    assert "portcullis init" in done.stderr


@pytest.mark.parametrize("command", cli.list_commands(click.Context(cli)))
def test_every_command_explains_itself(command: str) -> None:
    done = CliRunner().invoke(cli, [command, "--help"])
    assert done.exit_code == 0
    assert len(done.output.splitlines()) > 4


@pytest.mark.parametrize("command", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(command: str) -> None:
    """Of the other groups the list is the one text (ops/cli/api/groups.py)."""
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    assert found.get_short_help_str(200) == ABOUT[command]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"_PORTCULLIS_COMPLETE": "bash_complete", "COMP_WORDS": "portcullis s", "COMP_CWORD": "1"},
    ],
    ids=["help", "tab"],
)
def test_help_and_tab_import_no_part_of_the_api(asked: dict[str, str]) -> None:
    """They are asked for while somebody types."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('API' if 'gateway.admin.operations' in sys.modules else ''))\n"
        "from ops.cli.main import cli\n"
        "cli(['--help'], prog_name='portcullis')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked},
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "strategy" in done.stdout
    assert "API" not in done.stdout.splitlines()


def test_after_up_the_next_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTCULLIS_COMMAND", "./appliance portcullis")
    (tmp_path / "operator.key").touch()
    assert next_steps(tmp_path).splitlines() == [
        f"the operators' key: {tmp_path / 'operator.key'}",
        'next: ./appliance portcullis tenant create "My Fund"',
        "from there to a first signal: docs/operating/command-line.md",
    ]
    (tmp_path / "my-fund.key").touch()
    assert "tenants' keys: my-fund; take one with --as NAME" in next_steps(tmp_path).splitlines()


def test_help_calls_it_by_its_name_however_it_was_started() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli.main", "--help"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("Usage: portcullis ")


def test_optimised_python_is_refused() -> None:
    """-O would remove the assertions that the product is built with."""
    for module in ("ops.cli.main", "ops.run"):
        words = ["worker", "--settings", "/nonexistent"] if module == "ops.run" else ["--help"]
        done = subprocess.run(
            [sys.executable, "-O", "-m", module, *words],
            capture_output=True, text=True, cwd=ROOT, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert "refuses to run under -O" in done.stderr


def test_the_root_command_is_readable_by_an_old_python() -> None:
    """It must get far enough under Python 3.6 to say that 3.11 is needed."""
    ast.parse((ROOT / "appliance").read_text(), feature_version=(3, 6))
