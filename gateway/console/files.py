"""The console's own files: style, script, icons, and what others wrote. Read once, served from memory."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from gateway.console.headers import GUARDED

MEDIA = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webmanifest": "application/manifest+json",
    "html": "text/html; charset=utf-8",
}
FOR_GOOD = "public, max-age=31536000, immutable"
SOON = "no-cache"


class File(NamedTuple):
    """`mark` is of its content: an address with it never changes its meaning."""

    body: bytes
    mark: str
    media: str


@cache
def served() -> dict[str, File]:
    """Every file by its name; what has no media type of ours (licences) is not served."""
    found: dict[str, File] = {}
    for one in (files("gateway.console") / "static").iterdir():
        media = MEDIA.get(one.name.rpartition(".")[2])
        if media is not None:
            body = one.read_bytes()
            found[one.name] = File(body, hashlib.sha256(body).hexdigest()[:12], media)
    return found


def address(name: str) -> str:
    """Where a page finds it. Raises KeyError for a file that is not there."""
    return f"/console/static/{name}?{served()[name].mark}"


async def give(request: Request) -> Response:
    """One file."""
    return _given(request, request.path_params["name"], {})


async def give_worker(request: Request) -> Response:
    """The service worker, at an address whose scope is the console."""
    return _given(request, "worker.js", {"service-worker-allowed": "/console/"})


def _given(request: Request, name: str, more: dict[str, str]) -> Response:
    file = served().get(name)
    if file is None:
        return Response("there is no such file", 404, media_type="text/plain", headers=GUARDED)
    marked = request.scope["query_string"] == file.mark.encode()
    headers = {
        **GUARDED, "cache-control": FOR_GOOD if marked else SOON, "etag": f'"{file.mark}"', **more,
    }  # fmt: skip
    if request.headers.get("if-none-match") == f'"{file.mark}"':
        return Response(status_code=304, headers=headers)
    return Response(file.body, media_type=file.media, headers=headers)
