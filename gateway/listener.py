"""What both listeners share: Hypercorn's settings, and Starlette's refusals as problem documents.

Hypercorn as measured (spec performance.md): no access log (a third of the throughput; we log
each request ourselves), no server header, connections kept for many requests, a cap on header
bytes, and no more than a few seconds for a client that says nothing.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Mapping
from typing import Any

import structlog
from hypercorn.config import Config
from opentelemetry import trace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import Answer
from gateway.problems import internal, problem

log = structlog.get_logger()


def hypercorn_config(
    bind: str,
    *,
    certfile: str | None = None,
    keyfile: str | None = None,
    client_ca: str | None = None,
    read_timeout_s: int | None = 60,
) -> Config:
    """`bind`: host:port, unix:path or fd://n. With certificate and key it speaks TLS ≥ 1.2.

    With `client_ca` a client may show a certificate; one that this authority did not sign, or that
    is out of date, ends the handshake. `read_timeout_s` ends a connection whose client says nothing
    for so long, also while it is being answered: None where answers may go on for hours. Between
    requests keep_alive_timeout ends it.
    """
    config = Config()
    config.bind = [bind]
    config.certfile, config.keyfile = certfile, keyfile
    if client_ca is not None:
        config.ca_certs, config.verify_mode = client_ca, ssl.CERT_OPTIONAL
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.backlog = 1024
    config.keep_alive_max_requests = 1_000_000
    config.keep_alive_timeout = 60
    config.read_timeout = read_timeout_s
    config.ssl_handshake_timeout = 10
    config.h11_max_incomplete_size = 16 * 1024
    config.h2_max_header_list_size = 16 * 1024
    config.graceful_timeout = 5
    return config


async def http_problem(request: Request, error: Exception) -> Response:
    """Starlette's own refusals (404, 405) as problem documents."""
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    code = codes.get(error.status_code, "bad_request")
    detail = "there is nothing at this address" if code == "not_found" else error.detail
    return as_response(problem(code, detail, instance=request.scope["path"]), error.headers)


async def unexpected(request: Request, error: Exception) -> Response:
    """What nobody foresaw: the cause is in our log alone, under the id that the answer has.

    Starlette raises it again afterwards, and Hypercorn has been told to keep no log of its own.
    """
    context = trace.get_current_span().get_span_context()
    trace_id = f"{context.trace_id or secrets.randbits(128):032x}"
    log.error("unexpected", path=request.scope["path"], trace_id=trace_id, exc_info=error)
    return as_response(internal(instance=request.scope["path"], trace_id=trace_id))


GUARDED = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000",
}
"""On every answer that does not say otherwise: what a browser must not make of it. Over plain HTTP
browsers ignore the last (RFC 6797, 8.1)."""


def as_response(answer: Answer, headers: Mapping[str, Any] | None = None) -> Response:
    """An Answer where Starlette wants a Response."""
    response = Response(answer.body, answer.status, headers=headers)
    response.headers["content-type"] = answer.content_type.decode()
    response.headers["cache-control"] = "no-store"
    for name, value in answer.headers:
        response.headers.append(name.decode(), value.decode())  # Set-Cookie may come twice
    for text, otherwise in GUARDED.items():
        response.headers.setdefault(text, otherwise)
    return response
