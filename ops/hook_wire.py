"""From the management listener to the public one, over the wire, as a sender comes: for test signals.

The connection goes to this host's own listener (state.json says where it is); the name and the certificate that
are checked are those that senders are told. Trusted is what the system trusts, and the very certificate that the
listener is set to show. Where no supervisor of ours runs here, the senders' address itself is taken. Behind a
proxy the connection goes by the proxy's socket, and says as it would whose request it is: this host's.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from gateway.admin.hook_wire import HookAnswer, PostToHook
from gateway.proxied import CLIENT
from ops.listener_settings import ListenerSettings
from ops.settings import Settings
from ops.state import read_state
from tenancy.errors import ConfigurationError, Unavailable

TIMEOUT_S = 5.0
AGAIN = 503
AGAIN_S = 0.3
HERE = "127.0.0.1"
PLAIN = "http://localhost"


def hooks_address(settings: Settings) -> str:
    """What senders' addresses begin with; a listener on a free port says in state.json which one it took."""
    said = settings.ingress.base_url
    return said if urlsplit(said).port != 0 else (_own(settings) or said)


def _own(settings: Settings) -> str | None:
    try:
        state = read_state(settings.instance.runtime / "state.json")
    except ConfigurationError:
        return None
    return None if state is None else state.urls.get("ingress")


def hook_wire(settings: Settings) -> PostToHook:
    """The way. A connection of its own for each message: there are few."""
    name = urlsplit(settings.ingress.base_url).hostname or "localhost"

    async def post(path: str, headers: Mapping[str, str], body: bytes) -> HookAnswer:
        proxied = settings.ingress.socket is not None
        base = PLAIN if proxied else _own(settings) or settings.ingress.base_url
        said = {**headers, CLIENT.decode(): HERE} if proxied else headers
        try:
            async with httpx.AsyncClient(
                transport=_way(settings.ingress),
                timeout=TIMEOUT_S,
                follow_redirects=False,
                trust_env=False,
            ) as client:
                answer = await _posted(client, base.rstrip("/") + path, said, name, body)
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            raise Unavailable(
                f"the public listener did not answer ({type(error).__name__}): send from a shell instead"
            ) from None
        return HookAnswer(answer.status_code, answer.content)

    return post


def _way(ingress: ListenerSettings) -> httpx.AsyncHTTPTransport:
    """By TLS; where a proxy ends that, by the socket that it uses, too."""
    if ingress.tls is None:
        return httpx.AsyncHTTPTransport(uds=str(ingress.socket))
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(ingress.tls.certificate)
    return httpx.AsyncHTTPTransport(verify=context)


async def _posted(
    client: httpx.AsyncClient, url: str, headers: Mapping[str, str], name: str, body: bytes
) -> httpx.Response:
    """As a sender does that is told to come again: a hook that was made a moment ago is not known everywhere."""
    ends = time.monotonic() + TIMEOUT_S
    while True:
        answer = await client.post(
            url, content=body, headers={**headers, "host": name}, extensions={"sni_hostname": name}
        )
        if answer.status_code != AGAIN or time.monotonic() + AGAIN_S >= ends:
            return answer
        await asyncio.sleep(AGAIN_S)
