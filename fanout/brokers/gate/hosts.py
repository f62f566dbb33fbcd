"""Which hosts of Gate.io trade with money and which do not, so that nobody takes one for the other. Pure.

Hosts that are not in the table (a proxy of one's own, loopback with a simulator) are what the settings say.
Source: https://www.gate.com/docs/developers/apiv4 and …/futures/ws, server URLs.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

Environment = Literal["live", "testnet"]

_LIVE = frozenset(
    {"api.gateio.ws", "fx-api.gateio.ws", "api.gate.io", "api.gate.com", "fx-ws.gateio.ws"}
)
_TESTNET = frozenset(
    {
        "api-testnet.gateapi.io",
        "fx-api-testnet.gateio.ws",
        "api-testnet.gate.com",
        "fx-ws-testnet.gateio.ws",
        "ws-testnet.gate.com",
    }
)


def check(environment: Environment, url: str, setting: str) -> None:
    """Raises ValueError where `url` is one of Gate's hosts of the other environment."""
    host = urlsplit(url).hostname or ""
    if host in _LIVE and environment != "live":
        raise ValueError(
            f'{setting} {url!r} trades with money, and environment is "{environment}":'
            f' take a testnet host, https://api-testnet.gateapi.io, or say environment = "live"'
        )
    if host in _TESTNET and environment != "testnet":
        raise ValueError(
            f'{setting} {url!r} is Gate.io\'s testnet, and environment is "{environment}":'
            f' say environment = "testnet", or take https://api.gateio.ws'
        )


def spot_stream(base_url: str) -> str:
    """Where the WebSocket of `base_url`'s spot market is."""
    parts = urlsplit(base_url)
    if parts.hostname in _LIVE:
        return "wss://api.gateio.ws/ws/v4/"
    if parts.hostname in _TESTNET:
        return "wss://ws-testnet.gate.com/v4/ws/spot"
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}/ws/v4/"


def futures_stream(base_url: str, settle: str) -> str:
    """Where the WebSocket of `base_url`'s futures is."""
    parts = urlsplit(base_url)
    if parts.hostname in _LIVE:
        return f"wss://fx-ws.gateio.ws/v4/ws/{settle}"
    if parts.hostname in _TESTNET:
        return f"wss://ws-testnet.gate.com/v4/ws/futures/{settle}"
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}/v4/ws/{settle}"
