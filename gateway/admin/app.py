"""The management listener: health, metrics, and the operations of the admin API.

Health and metrics carry no tenant's data and are open on this listener, which is not the public
one. Everything else is an operation (gateway/admin/operations.py) and goes through the pipeline; the console's
pages (gateway/console/) ask those operations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from uuid import UUID

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.admin.health import Ask, readiness
from gateway.admin.metrics_pages import Page, metrics_routes
from gateway.admin.operation import Operation, Services
from gateway.admin.operations import OPERATIONS
from gateway.admin.pipeline import Endpoint, endpoint
from gateway.admin.reading import path_types
from gateway.answers import json_answer
from gateway.console.app import console_routes
from gateway.listener import as_response, http_problem, unexpected
from gateway.trace import Traced

NOBODY_ELSE: Mapping[str, Page] = MappingProxyType({})


def admin_app(
    services: Services,
    *,
    checks: Mapping[str, Ask],
    registry: CollectorRegistry = REGISTRY,
    operations: Sequence[Operation] = OPERATIONS,
    pages: Mapping[str, Page] = NOBODY_ELSE,
) -> Starlette:
    """`services.database` connects as portcullis_admin. `registry`: more collectors are registered there.

    `pages`: metrics of every process of this host, ours too (gateway/admin/metrics_pages.py).
    """

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
            *metrics_routes(pages),
            *routes(operations, services),
        ],
        exception_handlers={HTTPException: http_problem, Exception: unexpected},
    )
    app.router.redirect_slashes = False
    app.router.routes.extend(console_routes(app))
    app.add_middleware(Traced, name="admin")
    return app


def routes(operations: Sequence[Operation], services: Services) -> list[Route]:
    """One route per address, so that a wrong method is told the right ones."""
    by_path: dict[str, list[Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, []).append(operation)
    return [_route(path, found, services) for path, found in by_path.items()]


def _route(path: str, operations: list[Operation], services: Services) -> Route:
    by_method: dict[str, Endpoint] = {
        operation.method: endpoint(operation, services) for operation in operations
    }

    async def dispatch(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await by_method[method](request)

    return Route(_pattern(path, operations[0]), dispatch, methods=list(by_method))


def _pattern(path: str, operation: Operation) -> str:
    """The address with its ids as UUIDs, so that `/factors/totp` is not taken for a factor's."""
    for name, kind in path_types(operation).items():
        if kind is UUID:
            path = path.replace(f"{{{name}}}", f"{{{name}:uuid}}")
    return path


async def _healthz(request: Request) -> Response:
    return as_response(json_answer(200, "alive", {"ok": True}))
