"""Jinja's environments, one for each language: strict about what is missing, careful with what is shown."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from gateway.console import formats
from gateway.console.files import address
from gateway.console.language import NAMES, Tongue, translations
from gateway.console.said import SAID
from gateway.console.words import sentence, word


@cache
def environment(tongue: Tongue) -> Environment:
    """Everything is escaped, and a name that is not given is an error."""
    made = Environment(
        loader=PackageLoader("gateway.console", "templates"), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"], auto_reload=False,
    )  # fmt: skip
    made.install_gettext_translations(translations(tongue), newstyle=True)  # type: ignore[attr-defined]
    made.filters |= {
        "when": _by_view(formats.when, "zone", "locale"),
        "clock": _by_view(formats.clock, "zone", "locale"),
        "age": _by_view(formats.age, "now"),
        "number": _by_view(formats.number, "locale"),
        "ms": _by_view(formats.milliseconds, "locale"),
        "span": formats.span,
        "short": formats.short,
        "word": _said(word),
        "sentence": _said(sentence),
    }
    made.globals |= {"static": address, "languages": NAMES, "SAID": SAID}
    return made


def _by_view(shown: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """A filter that takes those of the visit's facts."""

    @pass_context
    def filtered(context: Context, value: Any, *given: Any) -> Any:
        view = context["view"]
        return shown(value, *given, **{name: getattr(view, name) for name in names})

    return filtered


def _said(found: Callable[..., str]) -> Callable[..., str]:
    """A filter whose text is said in the reader's language."""

    @pass_context
    def filtered(context: Context, value: Any, *given: Any) -> str:
        said: str = context["view"].say(found(value, *given))
        return said

    return filtered
