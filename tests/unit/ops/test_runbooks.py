"""What the pages of alerts tell somebody to type, look at and open is there."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import click
import pytest

from ops.alerts.expressions import Exported, of_page, product, unknown
from ops.cli.main import cli
from tests.unit.ansible.telling import certificate, told

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs" / "operating" / "alerts").glob("*.md"))
MONITORING = ROOT / "docs" / "operating" / "monitoring.md"


def names(page: Path) -> str:
    return page.stem


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_each_command_that_a_page_names_exists(page: Path):
    for words in re.findall(r"`portcullis ([^`]+)`", page.read_text()):
        command: click.Command = cli
        context = click.Context(cli)
        for word in words.split():
            if not isinstance(command, click.Group) or not re.fullmatch(r"[a-z-]+", word):
                break
            found = command.get_command(context, word)
            assert found is not None, f"{page.name}: there is no `portcullis {words}`"
            command = found


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """What the product's processes export, and what a dedicated host tells of its own certificates."""
    place = tmp_path_factory.mktemp("host")
    certificate(place / "pki", "etcd", datetime.datetime.now(datetime.UTC))
    assert told(place / "pki", place).returncode == 0
    return {**product(), **of_page((place / "certificates.prom").read_text())}


@pytest.mark.parametrize("page", [*PAGES, MONITORING], ids=names)
def test_each_metric_that_a_page_names_is_exported(page: Path, exported: Exported):
    text = re.sub(r"```yaml.*?```", "", page.read_text(), flags=re.DOTALL)
    named = re.findall(r"`([^`]*\bportcullis_[^`]*)`", text)
    histograms = {n.removesuffix("_bucket"): exported[n] for n in exported if n.endswith("_bucket")}
    # People write `orders_total{broker}` for "by broker": that is no matcher yet.
    asked = [re.sub(r"\{(\w+(?:, \w+)*)\}", r" + on (\1) up", one) for one in named]
    assert unknown(asked, {**exported, **histograms}) == []


@pytest.mark.parametrize("page", [*PAGES, MONITORING], ids=names)
def test_each_link_leads_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"
