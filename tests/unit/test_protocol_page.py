"""docs/protocol.md is kept true: every test that it names exists, and every step that kills is in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text()


def names_in(directory: Path) -> set[str]:
    return {
        node.name
        for file in directory.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


def test_every_test_that_the_page_names_exists():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 30
    assert named - names_in(ROOT / "tests") == set()


@pytest.mark.parametrize("name", sorted(names_in(ROOT / "tests" / "chaos")))
def test_every_kill_is_on_the_page(name):
    assert f"`{name}`" in PAGE


def test_every_file_that_the_page_names_exists():
    named = re.findall(r"`((?:fanout|gateway|audit|ops|tests)/[\w/.]+\.py)`", PAGE)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
