"""Which messages the console has, and what a catalogue lacks of them.

    python -m gateway.console.messages      prints what zh_Hant lacks, as entries to be filled in

A message is what a template says with `_()`, `ngettext()` or `trans`, what the source marks (`mark`) or
says (`view.say`), and the sentences of fanout/reasons.py.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import write_po

from fanout.reasons import SENTENCES
from gateway.console.language import LOCALES, Tongue, catalogs

Message = str | tuple[str, str]
"""One form, or singular and plural."""

_KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "mark": None, "say": None}


def messages() -> dict[Message, str]:
    """Every message, and one place where it stands."""
    found: dict[Message, str] = dict.fromkeys(SENTENCES.values(), "fanout/reasons.py")
    for name, source in _sources(files("gateway.console"), ""):
        method = "jinja2.ext:babel_extract" if name.endswith(".html") else "python"
        options = {"trimmed": "true"} if method != "python" else {}
        text = io.BytesIO(source.read_bytes())
        for line, message, _, _ in extract(method, text, _KEYWORDS, options=options):
            one = tuple(message) if isinstance(message, list | tuple) else message
            found.setdefault(one, f"{name}:{line}")  # type: ignore[arg-type]
    return found


def _sources(place: Traversable, above: str) -> Iterator[tuple[str, Traversable]]:
    for one in sorted(place.iterdir(), key=lambda each: each.name):
        name = f"{above}{one.name}"
        if one.is_dir() and one.name not in ("static", "catalogs", "__pycache__"):
            yield from _sources(one, f"{name}/")
        elif one.name.endswith((".html", ".py")):
            yield name, one


def translated(tongue: Tongue) -> set[Message]:
    """The messages that the catalogues have words for."""
    return {
        message.id if isinstance(message.id, str) else (message.id[0], message.id[1])
        for one in catalogs(tongue)
        for message in one
        if message.id and not message.fuzzy and _said(message.string)
    }


def _said(words: object) -> bool:
    return all(words) if isinstance(words, list | tuple) else bool(words)


def lacking(tongue: Tongue) -> Catalog:
    """What is still to be said in that language."""
    known = translated(tongue)
    catalog = Catalog(locale=LOCALES[tongue], fuzzy=False)
    for message, place in messages().items():
        if message not in known:
            catalog.add(message, locations=[(place, 0)])
    return catalog


if __name__ == "__main__":
    write_po(sys.stdout.buffer, lacking("zh_Hant"), omit_header=True, width=0)
