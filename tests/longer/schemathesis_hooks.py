"""Gives the attack something to meet: ids that exist, the revision that is there, its own tenant.

Random ids alone would be answered 404 for ever. Of what was drawn well-formed, most is replaced; what
was drawn broken, to be refused, stays as it is. Every fourth call stays, so a seed repeats a run.
In chains (stateful testing) an id is the one of the answer before, and most things are made from the
examples of the matrix: from a body that nobody takes no link goes on.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from typing import Any

import schemathesis

from tests.integration.gateway.examples import EXAMPLES

KNOWN: dict[str, str] = json.loads(os.environ.get("PORTCULLIS_ATTACK_IDS", "{}"))
SPARE: dict[str, str] = json.loads(os.environ.get("PORTCULLIS_ATTACK_SPARE", "{}"))
"""For what takes things away, so that the others stay."""
TENANT = os.environ.get("PORTCULLIS_ATTACK_TENANT", "")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHAPES = {"key_id": re.compile("[0-9a-f]{16}"), "hook_id": re.compile("[A-Za-z0-9_-]{32}")}
_ETAG = re.compile(r'(W/)?"[0-9]{1,18}"')

_calls = itertools.count()
_names = itertools.count()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    often = next(_calls) % 4 != 0
    chained = case.meta is not None and case.meta.phase.name.value == "stateful"
    headers = case.headers if case.headers is not None else {}
    for name in list(headers):
        value = str(headers[name])
        if name.lower() == "if-match" and _ETAG.fullmatch(value) and (often or chained):
            headers[name] = "*"
        if name.lower() == "portcullis-tenant" and _UUID.fullmatch(value):
            headers[name] = TENANT  # another tenant's door is shut whatever the rest says
    if chained:
        _make_well(
            case
        )  # always: a step that comes out otherwise when it is repeated ends the search
        return
    known = SPARE if case.method == "DELETE" else KNOWN
    places = case.path_parameters or {}
    for name, value in places.items():
        text = str(value)
        if name in known and _SHAPES.get(name, _UUID).fullmatch(text) and often:
            places[name] = known[name]


def _make_well(case: Any) -> None:
    """The body of an example that is answered with a yes, under a name that nothing has."""
    example = EXAMPLES.get(case.operation.definition.raw.get("operationId", ""))
    if example is None or example.body is None or case.method not in ("POST", "PATCH"):
        return
    body = example.body(KNOWN)
    if not isinstance(body, dict) or not isinstance(case.body, dict):
        return
    for member in ("name", "email"):
        if member in body:
            body[member] = f"attack-{next(_names)}" + ("@example.com" if member == "email" else "")
    case.body = body
