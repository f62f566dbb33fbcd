"""The metrics of every process of this host, on the management listener, each as a target of its own.

`/metrics/targets`    the processes, as Prometheus' HTTP service discovery reads them (http_sd_config)
`/metrics/{process}`  that process' page, or 503 where it does not answer: Prometheus says `up == 0` then

A process' own page is on a Unix socket that no Prometheus can reach. Passing the pages on one by one,
rather than all of them in one, keeps `up`, and a counter that begins anew, what they are: one process'.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.listener import as_response
from gateway.problems import problem

Page = Callable[[], Awaitable[bytes]]
"""One process' page. Raises OSError, TimeoutError or ValueError where there is none."""


def metrics_routes(pages: Mapping[str, Page]) -> list[Route]:
    """`pages` by the process' name, as `worker-0`."""

    async def listed(request: Request) -> Response:
        found = targets(list(pages), request.headers.get("host", ""))
        return Response(orjson.dumps(found), headers={"content-type": "application/json"})

    async def page(request: Request) -> Response:
        name = request.path_params["process"]
        if name not in pages:
            return as_response(
                problem(
                    "not_found",
                    f"no process of this host is called {name}",
                    instance=request.url.path,
                )
            )
        try:
            text = await pages[name]()
        except (OSError, TimeoutError, ValueError, IndexError) as error:
            return as_response(
                problem(
                    "unavailable",
                    f"{name} shows no metrics now: {str(error) or type(error).__name__}",
                    instance=request.url.path,
                )
            )
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    return [Route("/metrics/targets", listed), Route("/metrics/{process}", page)]


def targets(names: list[str], address: str) -> list[dict[str, Any]]:
    """One group for each process, all at the address by which we were asked. Pure."""
    return [
        {
            "targets": [address],
            "labels": {"__metrics_path__": f"/metrics/{name}", "process": name},
        }
        for name in names
    ]
