"""`./appliance` before anything is installed: what it says, and that asking and stopping install nothing."""

from __future__ import annotations

import importlib.util
import io
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from ops import check

ROOT = Path(__file__).parents[3]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """As much of a fresh clone as the root command reads, without `.venv` and `var`."""
    (tmp_path / "requirements").mkdir()
    for name in (
        "appliance",
        "pyproject.toml",
        "requirements/runtime.lock",
        "requirements/dev.lock",
        "requirements/hosts.lock",
    ):
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


def typed(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", str(clone / "appliance"), *words],
        capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/nowhere", "HOME": str(clone), "PYTHONUTF8": "1"},
    )  # fmt: skip


def loaded(clone: Path) -> ModuleType:
    """The root command as a module; the project itself never imports it."""
    loader = SourceFileLoader("appliance_of_a_clone", str(clone / "appliance"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    (clone / "var").mkdir()
    return module


def test_without_a_command_all_commands_are_named(clone: Path):
    done = typed(clone)
    assert done.returncode == 2
    for name in ("demo", "test", "up", "down", "bench", "load", "chaos", "portcullis"):
        assert f"\n    {name}" in done.stderr


@pytest.mark.parametrize(
    "words", [("demo", "--help"), ("test", "-h"), ("load", "-h"), ("up", "--help")]
)
def test_asking_for_help_installs_nothing(clone: Path, words: tuple[str, ...]):
    done = typed(clone, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"./appliance {words[0]}: " in done.stdout
    assert not (clone / ".venv").exists()


def test_stopping_nothing_installs_nothing(clone: Path):
    done = typed(clone, "down")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("nothing was running")
    assert not (clone / ".venv").exists()


def test_an_installer_that_fails_is_quoted_and_its_log_named(
    clone: Path, capsys: pytest.CaptureFixture[str]
):
    appliance = loaded(clone)
    with pytest.raises(appliance.Failed, match=r"no such thing\.(.|\n)*install\.log"):
        appliance.run(["/bin/sh", "-c", "echo one; echo E: two >&2; exit 9"], "no such thing.")
    assert capsys.readouterr().err == "  | one\n  | E: two\n"
    assert "E: two\n" in (clone / "var" / "install.log").read_text()


def test_an_installer_that_succeeds_is_quiet_where_there_is_no_terminal(
    clone: Path, capsys: pytest.CaptureFixture[str]
):
    loaded(clone).run(["/bin/sh", "-c", "echo one"], "never")
    assert capsys.readouterr() == ("", "")


def test_a_machine_without_apt_is_told_what_to_install(
    clone: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", "/nowhere")
    appliance = loaded(clone)
    assert appliance.redis_package() == "redis-server"
    with pytest.raises(appliance.Failed, match="postgresql, softhsm2"):
        appliance.install_packages([("postgresql", "why"), ("softhsm2", "why")])


@pytest.mark.parametrize(
    ("sudo", "told"),
    [(None, "no sudo"), ("echo sudo: a password is required >&2; exit 1", "sudo wants a password")],
)
def test_who_may_not_become_root_is_told_what_root_has_to_type(
    clone: Path, monkeypatch: pytest.MonkeyPatch, sudo: str | None, told: str
):
    tools = {"apt-get": "exit 0", **({"sudo": sudo} if sudo else {})}
    for name, script in tools.items():
        (clone / name).write_text(f"#!/bin/sh\n{script}\n")
        (clone / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(clone))
    appliance = loaded(clone)
    monkeypatch.setattr(appliance.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(appliance.sys, "stdin", io.StringIO())
    with pytest.raises(appliance.Failed, match=f"{told}.*apt-get install softhsm2"):
        appliance.install_packages([("softhsm2", "why")])


def test_playbooks_are_linted_where_their_linter_is_installed() -> None:
    """It is in requirements/hosts.lock alone, which only that suite installs."""
    names = [[one.name for one in check.steps(words)] for words in ([], ["--suite", "hosts"])]
    assert names[1] == [*names[0], "playbooks"]
    assert "ansible-lint==" in (check.ROOT / "requirements/hosts.lock").read_text()
    (playbooks,) = [one for one in check.steps(["--suite", "hosts"]) if one.name == "playbooks"]
    assert (playbooks.place / ".ansible-lint").exists(), "its profile stands there"


def test_help_of_the_tests_runs_no_check(capsys: pytest.CaptureFixture[str]):
    assert check.main(["--help"]) == 0
    assert "== " not in capsys.readouterr().out
