"""The management listener: health, metrics, and what became of signals and orders.

Every /v1 route authenticates first and reads under the tenant's row-level security, so another
tenant's id is simply not there (404). Health and metrics carry no tenant's data and are open
on this listener, which is not the public one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import structlog
from opentelemetry import trace
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import metrics
from gateway.admin.auth import BadKey, authenticated
from gateway.admin.health import Ask, readiness
from gateway.admin.orders import order_by_id
from gateway.admin.paging import read_cursor, read_limit
from gateway.admin.signals import signal_by_id, signals_page
from gateway.answers import Answer, json_answer
from gateway.listener import as_response, http_problem, unexpected
from gateway.problems import problem_of
from tenancy.database import Connection, Database
from tenancy.errors import NotFound, PortcullisError

log = structlog.get_logger()

Read = Callable[[Request, Connection], Awaitable[dict[str, Any]]]


def admin_app(
    database: Database,
    *,
    checks: Mapping[str, Ask],
    registry: CollectorRegistry = REGISTRY,
) -> Starlette:
    """`database` connects as portcullis_admin. `registry`: more collectors are registered there."""

    async def metrics_page(request: Request) -> Response:
        page = await run_in_threadpool(generate_latest, registry)
        return Response(page, headers={"content-type": CONTENT_TYPE_LATEST})

    async def readyz(request: Request) -> Response:
        return as_response(await readiness(checks))

    app = Starlette(
        routes=[
            Route("/healthz", _healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics_page),
            Route("/v1/signals", _reading(database, "signals", _signals)),
            Route("/v1/signals/{signal_id}", _reading(database, "signal", _signal)),
            Route("/v1/orders/{order_id}", _reading(database, "order", _order)),
        ],
        exception_handlers={HTTPException: http_problem, Exception: unexpected},
    )
    app.router.redirect_slashes = False
    return app


async def _healthz(request: Request) -> Response:
    return as_response(json_answer(200, "alive", {"ok": True}))


def _reading(
    database: Database, route: str, read: Read
) -> Callable[[Request], Awaitable[Response]]:
    """Authenticate, read in the tenant's own transaction, answer or explain."""

    async def endpoint(request: Request) -> Response:
        answer = await _answer(request, database, read)
        metrics.ADMIN_REQUESTS.labels(route, str(answer.status)).inc()
        return as_response(answer)

    return endpoint


async def _answer(request: Request, database: Database, read: Read) -> Answer:
    try:
        scope = await authenticated(request, database)
        async with database.tenant(scope) as conn:
            return json_answer(200, "ok", await read(request, conn))
    except PortcullisError as error:
        span = trace.get_current_span().get_span_context()
        trace_id = f"{span.trace_id:032x}" if span.is_valid else None
        answer = problem_of(error, instance=request.url.path, trace_id=trace_id)
        if isinstance(error, BadKey):
            log.warning("service_key_refused", client=request.client.host if request.client else "")
        return answer


async def _signals(request: Request, conn: Connection) -> dict[str, Any]:
    query = request.query_params
    limit, after = read_limit(query.get("limit")), read_cursor(query.get("cursor"))
    return await signals_page(conn, limit=limit, after=after)


async def _signal(request: Request, conn: Connection) -> dict[str, Any]:
    text = request.path_params["signal_id"]
    try:
        signal_id = UUID(text)
    except ValueError:
        raise NotFound("a signal's id is a UUID; there is no such signal") from None
    return await signal_by_id(conn, signal_id)


async def _order(request: Request, conn: Connection) -> dict[str, Any]:
    text = request.path_params["order_id"]
    if len(text) > 64 or not text.isascii() or not text.isalnum():
        raise NotFound("an order's id is 24 letters and digits; there is no such order")
    return await order_by_id(conn, text)
