"""Where ingress and admin listen: at an address with TLS of their own, or on a Unix socket behind a proxy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Port = Annotated[int, Meta(ge=0, le=65535)]

Server = Literal["hypercorn", "uvicorn"]
"""What speaks HTTP on a listener (ops/serve.py)."""

SOCKET_PATH_MAX_BYTES = 107


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Files, PEM."""

    certificate: Path
    key: Path


class ListenerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`host`, `port` and `tls`; or `socket` instead of all three.

    `port` 0 takes a free one and says which in state.json. Behind `socket` stands a proxy on this host
    that ends TLS, and says whose request it hands on (gateway/proxied.py). `base_url` is where the listener
    is found by those outside, whoever ends their TLS.
    """

    base_url: str
    host: str | None = None
    port: Port | None = None
    tls: Tls | None = None
    socket: Path | None = None

    def __post_init__(self) -> None:
        if self.socket is None:
            if self.address is None or self.tls is None:
                raise ValueError(
                    "host, port and tls are needed; or socket alone, where a proxy on this host ends TLS"
                )
        elif (self.host, self.port, self.tls) != (None, None, None):
            raise ValueError("socket: host, port and tls are then the proxy's; leave them out here")
        else:
            check_socket_path(self.socket, "socket")

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port; None behind a proxy."""
        return None if self.host is None or self.port is None else (self.host, self.port)


def check_socket_path(path: Path, name: str) -> None:
    """Raises ValueError where the kernel could not bind `path` (sun_path holds 107 bytes)."""
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_MAX_BYTES:
        raise ValueError(
            f"{name}: {length} bytes, a Unix socket's path has at most {SOCKET_PATH_MAX_BYTES}"
        )
