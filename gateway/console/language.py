"""The console's two languages, read once at start.

English is what the source says. What Traditional Chinese says stands in catalogs/zh_Hant/*.po, one file for
each part of the console; Babel reads them, and nothing has to be compiled. What a catalogue lacks is said in
English, and tests/unit/gateway/test_catalogs.py says which messages that would be.
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from babel import Locale
from babel.core import negotiate_locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

Tongue = Literal["en", "zh_Hant"]
COOKIE = "portcullis_language"
NAMES: Mapping[Tongue, str] = {"en": "English", "zh_Hant": "繁體中文"}
HTML: Mapping[Tongue, str] = {"en": "en", "zh_Hant": "zh-Hant-TW"}
LOCALES: Mapping[Tongue, Locale] = {"en": Locale("en"), "zh_Hant": Locale("zh", "TW", "Hant")}
_CHINESE = ("zh_hant", "zh_tw", "zh_hk", "zh_mo", "zh")


def tongue_of(cookie: str | None, accepted: str) -> Tongue:
    """The one that was chosen, else the best of the browser's (RFC 9110, 12.5.4), else English."""
    for tongue in get_args(Tongue):
        if cookie == tongue:
            return tongue
    found = negotiate_locale(_wanted(accepted), ["en", *_CHINESE], aliases={})
    return "zh_Hant" if found is not None and found.lower().startswith("zh") else "en"


def _wanted(accepted: str) -> list[str]:
    """The browser's languages, best first; what cannot be read counts as least wanted."""
    ranked = []
    for number, part in enumerate(accepted[:200].split(",")):
        name, _, weight = part.strip().partition(";q=")
        try:
            rank = float(weight) if weight else 1.0
        except ValueError:
            rank = 0.0
        if name:
            ranked.append((-rank, number, name.replace("-", "_").lower()))
    return [name for _, _, name in sorted(ranked)]


@cache
def translations(tongue: Tongue) -> gettext.NullTranslations:
    """What is said in that language."""
    if tongue == "en":
        return gettext.NullTranslations()
    whole = Catalog(locale=LOCALES[tongue])
    for one in catalogs(tongue):
        for message in one:
            if message.id:
                whole[message.id] = message
    compiled = io.BytesIO()
    write_mo(compiled, whole)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def catalogs(tongue: Tongue) -> list[Catalog]:
    """The parts' catalogues, by name. An entry that is marked fuzzy counts as missing."""
    found = []
    for file in sorted((files("gateway.console") / "catalogs" / tongue).iterdir(), key=str):
        if file.name.endswith(".po"):
            found.append(read_po(io.BytesIO(file.read_bytes()), locale=str(LOCALES[tongue])))
    return found


def mark(text: str) -> str:
    """The text itself: it says to whoever collects messages that this is one."""
    return text
