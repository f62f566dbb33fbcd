"""The kit is the customer's: it needs nothing of ours, and nothing but what it declares."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

KIT = Path(__file__).parents[3] / "gateway/sender_kit"
MODULES = sorted((KIT / "portcullis_sender").glob("*.py"))


def imports(path: Path) -> set[str]:
    """Top-level names that a module imports from outside its own package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_it_imports_the_standard_library_and_what_it_declares(path: Path) -> None:
    project = tomllib.loads((KIT / "pyproject.toml").read_text())["project"]
    extras = {name for names in project["optional-dependencies"].values() for name in names}
    assert project["dependencies"] == []
    foreign = imports(path) - set(sys.stdlib_module_names)
    assert foreign <= extras
    assert "aiohttp" not in foreign or path.name == "aio.py"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_it_names_itself_only_relatively(path: Path) -> None:
    """So that it works under its own name and under ours, as one copy."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1


def test_it_works_under_its_own_name_without_any_package(tmp_path: Path) -> None:
    """A copy of the directory, an interpreter without site-packages: it signs and refuses floats."""
    shutil.copytree(KIT / "portcullis_sender", tmp_path / "portcullis_sender")
    program = """
import portcullis_sender as kit
made = kit.signature_headers((kit.read_key("whsec_" + "A" * 32),), "m", 1, b"{}")
assert made["webhook-signature"].startswith("v1,"), made
assert kit.Sender("https://x/", "whsec_" + "A" * 32)
assert kit.Signal(ticker="X", action="buy", quantity="1").body()
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{program}"],
        capture_output=True, text=True, timeout=30, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_types_are_strict_and_shipped() -> None:
    assert (KIT / "portcullis_sender/py.typed").exists()
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--cache-dir", "/dev/null"],
        capture_output=True, text=True, timeout=300, cwd=KIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
