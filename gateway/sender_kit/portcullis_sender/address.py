"""Where a hook is: https only, but for a gateway on this very machine."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit


def hook_address(url: str) -> SplitResult:
    """The parts of the hook's address. Raises ValueError for what must not be sent to."""
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.fragment:
        raise ValueError("the hook's address is needed, such as https://gateway.example/v1/hooks/…")
    if parts.scheme != "https" and not (parts.scheme == "http" and _loopback(parts.hostname)):
        raise ValueError("the hook's address is https (http only to this machine itself)")
    return parts


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
