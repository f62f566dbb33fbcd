"""Whose request it is, where a proxy on this host ends TLS and hands requests on by a Unix socket.

The proxy removes what a client says of itself in these two headers, and sets them:

`X-Portcullis-Client`                the address the connection came from
`X-Portcullis-Certificate`           SHA-256 of the client certificate that it verified, DER, hex; empty
                                     or absent: the client showed none

From there on a request looks as it does on a listener of our own: the address is the connection's, the
fingerprint is where gateway/admin/client_certificates.py looks for it, and the headers are gone. A request
that does not say whose it is, or says so twice, is answered 500 and logged: who may open the socket is the
proxy alone, so that is a proxy set up wrongly, and an address guessed would let a stranger past a list of sources.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import structlog

from gateway.admin.client_certificates import STATE_KEY
from gateway.answers import Receive, Scope, Send, send_answer
from gateway.problems import internal

CLIENT = b"x-portcullis-client"
CERTIFICATE = b"x-portcullis-certificate"
SHA256_BYTES = 32

App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = structlog.get_logger()


class Untold(ValueError):
    """What the proxy said of a client cannot be used."""


class Proxied:
    """The application, behind a proxy."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                scope = told(scope)
            except Untold as error:
                log.error("proxy_says_no_client", path=scope["path"], error=str(error))
                await send_answer(internal(instance=scope["path"], trace_id=None), send)
                return
        await self._app(scope, receive, send)


def told(scope: Scope) -> Scope:
    """The scope as on a listener of our own. Pure. Raises Untold."""
    clients = [value for name, value in scope["headers"] if name == CLIENT]
    if len(clients) != 1:
        raise Untold(f"{len(clients)} headers {CLIENT.decode()}, 1 is needed")
    try:
        client = str(ip_address(clients[0].decode("ascii")))
    except ValueError:
        raise Untold(f"{CLIENT.decode()}: an address is needed") from None
    shown = [value for name, value in scope["headers"] if name == CERTIFICATE and value]
    if len(shown) > 1:
        raise Untold(f"{len(shown)} headers {CERTIFICATE.decode()}, at most 1 is allowed")
    kept = [one for one in scope["headers"] if one[0] not in (CLIENT, CERTIFICATE)]
    state = dict(scope.get("state") or {})
    if shown:
        state[STATE_KEY] = _fingerprint(shown[0])
    return {**scope, "client": (client, 0), "scheme": "https", "headers": kept, "state": state}


def _fingerprint(text: bytes) -> bytes:
    try:
        found = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        found = b""
    if len(found) != SHA256_BYTES:
        raise Untold(f"{CERTIFICATE.decode()}: {SHA256_BYTES} bytes in hex are needed")
    return found
