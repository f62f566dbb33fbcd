"""Gate's paths: which call each is, whom it counts against, and what answers it.

Paths are matched on their segments after `/api/v4/`; `{}` stands for one segment, the last or the
last but one. The handlers are in rest/, one file per subject; what is added there is added here.
"""

from __future__ import annotations

from loadtest.exchanges.gateio.call import Call, Endpoint
from loadtest.exchanges.gateio.refusal import Refusal
from loadtest.exchanges.gateio.rest import account, market, orders, positions, triggers
from loadtest.exchanges.gateio.spot_endpoints import SPOT_ENDPOINTS

__all__ = ["ENDPOINTS", "PREFIX", "Call", "Endpoint", "route"]

PREFIX = "/api/v4/"

ENDPOINTS = (
    *orders.ENDPOINTS,
    *triggers.ENDPOINTS,
    *positions.ENDPOINTS,
    *account.ENDPOINTS,
    *market.ENDPOINTS,
    *SPOT_ENDPOINTS,
)

_BY_PATH = {(e.method, PREFIX + e.path): e for e in ENDPOINTS}
_KNOWN_PATHS = {path for _, path in _BY_PATH}


def route(method: str, path: str) -> tuple[Endpoint, str]:
    """The endpoint and its path argument. Raises NOT_FOUND or METHOD_NOT_ALLOWED."""
    found = _BY_PATH.get((method, path))
    if found is not None:
        return found, ""
    known = path in _KNOWN_PATHS
    for pattern, argument in _patterns(path):
        found = _BY_PATH.get((method, pattern))
        if found is not None:
            return found, argument
        known = known or pattern in _KNOWN_PATHS
    if known:
        raise Refusal("METHOD_NOT_ALLOWED", f"{method} is not allowed here")
    raise Refusal("NOT_FOUND", "Request URL not exists")


def _patterns(path: str) -> list[tuple[str, str]]:
    """The path with its last segment as argument, and with the one before."""
    head, _, last = path.rpartition("/")
    before, _, argument = head.rpartition("/")
    shapes = ((head + "/{}", last), (f"{before}/{{}}/{last}", argument))
    return [(pattern, found) for pattern, found in shapes if found]
