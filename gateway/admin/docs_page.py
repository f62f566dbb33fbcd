"""The document and the page that shows it: two addresses, and the page's files from this listener alone.

The page is Swagger UI (gateway/admin/docs/, THIRD-PARTY.md there). Its content security policy
permits nothing but our own files: no inline script, nobody else's server, no evaluation of text.
Open to anybody who reaches the management listener: they say what the API is, no tenant's data.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Literal

from gateway.admin.openapi import text_of
from gateway.admin.operation import Call, Operation, Result
from gateway.answers import JSON, Answer

TAG = "Description"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Portcullis API</title>
<link rel="stylesheet" href="/v1/docs/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="page"></div>
<noscript>This page needs JavaScript. <a href="/v1/openapi.json">The document itself</a> does not.</noscript>
<script src="/v1/docs/swagger-ui-bundle.js"></script>
<script src="/v1/docs/start.js"></script>
</body>
</html>
"""
_HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_KEPT = ((b"cache-control", b"private, max-age=3600"),)

File = Literal["swagger-ui-bundle.js", "swagger-ui.css", "start.js"]
_MEDIA = {"js": b"text/javascript; charset=utf-8", "css": b"text/css; charset=utf-8"}


def described(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """The operations, and three that describe them all, themselves too."""
    every: list[Operation] = []
    made: list[bytes] = []

    async def give_document(call: Call) -> Result:
        if not made:
            made.append(text_of(every))
        return Result(content=Answer(200, "document", made[0], JSON, _HEADERS))

    every += [
        Operation(
            name="get_openapi", method="GET", path="/v1/openapi.json", tag=TAG, action=None,
            summary="This document.", handle=give_document, answer=dict,
        ),
        Operation(
            name="show_docs", method="GET", path="/v1/docs", tag=TAG, action=None, html=True,
            summary="This document as a page to read.", handle=_show_page,
        ),
        Operation(
            name="get_docs_file", method="GET", path="/v1/docs/{file}", tag=TAG, action=None,
            summary="A script or style of the page.", handle=_give_file, places={"file": File},
            media=("text/javascript", "text/css"),
        ),
        *operations,
    ]  # fmt: skip
    return tuple(every)


async def _show_page(call: Call) -> Result:
    return Result(content=Answer(200, "page", _PAGE, b"text/html; charset=utf-8", _HEADERS))


async def _give_file(call: Call) -> Result:
    name = call.path["file"]
    media = _MEDIA[name.rpartition(".")[2]]
    return Result(content=Answer(200, "file", file_of(name), media, _HEADERS + _KEPT))


@cache
def file_of(name: str) -> bytes:
    """A file of the page, from the package."""
    return (files("gateway.admin") / "docs" / name).read_bytes()
