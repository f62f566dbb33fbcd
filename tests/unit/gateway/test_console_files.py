"""What the console ships: others' files unchanged and named, nothing inline, each message in both languages."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from gateway.console import files
from gateway.console.language import tongue_of
from gateway.console.messages import lacking, messages, translated

CONSOLE = Path(files.__file__).parent
TEMPLATES = sorted((CONSOLE / "templates").rglob("*.html"))


def third_parties() -> dict[str, str]:
    page = (CONSOLE / "static" / "THIRD-PARTY.md").read_text()
    return dict(re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", page, re.M))


def test_what_others_wrote_is_unchanged() -> None:
    named = third_parties()

    assert named.keys() == {"htmx.min.js"}
    for name, digest in named.items():
        assert hashlib.sha256((CONSOLE / "static" / name).read_bytes()).hexdigest() == digest, name


def test_whatever_is_minified_is_named_as_somebody_elses() -> None:
    assert {one.name for one in (CONSOLE / "static").glob("*.min.*")} == set(third_parties())


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_script_or_style_inline(template: Path) -> None:
    text = template.read_text()

    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=\"", text)
    assert "|safe" not in text
    assert not re.search(r"hx-on|hx-vals='js|javascript:", text)


def test_every_message_is_said_in_both_languages() -> None:
    missing = [message.id for message in lacking("zh_Hant") if message.id]

    assert missing == [], "python -m gateway.console.messages prints them as entries to fill in"


def test_no_catalogue_says_what_nobody_says_any_more() -> None:
    assert translated("zh_Hant") - messages().keys() == set()


@pytest.mark.parametrize(
    ("cookie", "accepted", "tongue"),
    [
        (None, "", "en"),
        (None, "zh-TW,zh;q=0.9,en;q=0.8", "zh_Hant"),
        (None, "de-DE,de;q=0.9,en;q=0.7,zh;q=0.2", "en"),
        (None, "zh-HK", "zh_Hant"),
        (None, "fr", "en"),
        (None, "en;q=x,zh-TW;q=0.1", "zh_Hant"),
        ("en", "zh-TW", "en"),
        ("zh_Hant", "en", "zh_Hant"),
        ("klingon", "zh-TW", "zh_Hant"),
    ],
)
def test_the_language_is_the_one_chosen_else_the_browsers(
    cookie: str | None, accepted: str, tongue: str
) -> None:
    assert tongue_of(cookie, accepted) == tongue
