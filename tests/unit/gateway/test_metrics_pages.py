"""Each process of the host is a target of its own, at the address by which Prometheus came."""

from __future__ import annotations

from starlette.applications import Starlette

from gateway.admin.metrics_pages import metrics_routes, targets
from tests.integration.gateway.ingress import Reply, post


async def well() -> bytes:
    return b"portcullis_lanes_busy 3.0\n"


async def away() -> bytes:
    raise FileNotFoundError("no such socket")


async def silent() -> bytes:
    raise TimeoutError


PAGES = {"worker-0": well, "ingress-0": away, "recorder-0": silent}


async def asked(path: str) -> Reply:
    app = Starlette(routes=[*metrics_routes(PAGES)])
    return await post(app, path, {"host": "gate.example:9443"}, b"", method="GET")


async def test_every_process_is_listed_as_prometheus_discovers_it():
    reply = await asked("/metrics/targets")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json() == targets(list(PAGES), "gate.example:9443")
    assert reply.json()[0] == {
        "targets": ["gate.example:9443"],
        "labels": {"__metrics_path__": "/metrics/worker-0", "process": "worker-0"},
    }


async def test_a_page_is_passed_on_as_its_process_wrote_it():
    reply = await asked("/metrics/worker-0")
    assert (reply.status, reply.body) == (200, b"portcullis_lanes_busy 3.0\n")
    assert reply.headers["content-type"].startswith("text/plain")


async def test_a_process_that_does_not_answer_is_no_page_so_that_up_is_0():
    for name, why in (("ingress-0", "no such socket"), ("recorder-0", "TimeoutError")):
        reply = await asked(f"/metrics/{name}")
        assert (reply.status, reply.json()["code"]) == (503, "unavailable")
        assert f"{name} shows no metrics now: {why}" in reply.json()["detail"]


async def test_nobody_is_asked_who_is_no_process_of_this_host():
    reply = await asked("/metrics/worker-9")
    assert (reply.status, reply.json()["code"]) == (404, "not_found")
