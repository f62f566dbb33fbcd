"""Which call a path is: futures' endpoints and spot's, in one table.

Paths are matched on their segments after `/api/v4/`; `{}` stands for one segment.
"""

from __future__ import annotations

from loadtest.exchanges.gateio.endpoints import ENDPOINTS, PREFIX, Endpoint
from loadtest.exchanges.gateio.refusal import Refusal
from loadtest.exchanges.gateio.spot_endpoints import SPOT_ENDPOINTS

_BY_PATH = {(e.method, PREFIX + e.path): e for e in (*ENDPOINTS, *SPOT_ENDPOINTS)}
_KNOWN_PATHS = {path for _, path in _BY_PATH}


def route(method: str, path: str) -> tuple[Endpoint, str]:
    """The endpoint and its path argument. Raises NOT_FOUND or METHOD_NOT_ALLOWED."""
    found = _BY_PATH.get((method, path))
    if found is not None:
        return found, ""
    head, _, argument = path.rpartition("/")
    found = _BY_PATH.get((method, head + "/{}")) if argument else None
    if found is not None:
        return found, argument
    if path in _KNOWN_PATHS or head + "/{}" in _KNOWN_PATHS:
        raise Refusal("METHOD_NOT_ALLOWED", f"{method} is not allowed here")
    raise Refusal("NOT_FOUND", "Request URL not exists")
