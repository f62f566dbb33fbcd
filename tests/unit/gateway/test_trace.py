"""Every answer of the management listener names its trace, and what it asks within is of the same one."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from starlette.types import Message, Receive, Scope, Send

from gateway.trace import Traced

THEIRS = "4bf92f3577b34da6a3ce929d0e0e4736"


async def ask(app: Any, path: str, *headers: tuple[bytes, bytes]) -> dict[bytes, bytes]:
    """The headers of the answer."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    await app({"type": "http", "path": path, "headers": list(headers)}, receive, send)
    return dict(sent[0]["headers"])


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the trace that it was asked under."""
    seen = f"{trace.get_current_span().get_span_context().trace_id:032x}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"seen", seen)]})
    await send({"type": "http.response.body", "body": b""})


async def test_an_answer_names_the_trace_that_its_operation_ran_under():
    answer = await ask(Traced(inner, "admin"), "/v1/signals")
    assert answer[b"portcullis-trace-id"] == answer[b"seen"] != b"0" * 32
    other = await ask(Traced(inner, "admin"), "/v1/signals")
    assert other[b"seen"] != answer[b"seen"]


async def test_a_callers_trace_is_continued():
    header = (b"traceparent", f"00-{THEIRS}-00f067aa0ba902b7-01".encode())
    answer = await ask(Traced(inner, "admin"), "/v1/signals", header)
    assert answer[b"portcullis-trace-id"] == THEIRS.encode()


async def test_a_page_that_asks_an_operation_in_its_own_process_shares_its_trace():
    within: dict[bytes, bytes] = {}

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        within.update(await ask(Traced(inner, "admin"), "/v1/accounts"))
        await inner(scope, receive, send)

    answer = await ask(Traced(page, "admin"), "/console/accounts")
    assert within[b"seen"] == answer[b"portcullis-trace-id"]


@pytest.mark.parametrize("path", ["/healthz", "/metrics/worker-0", "/console/static/now.js"])
async def test_what_machines_ask_all_day_has_no_trace(path: str):
    assert b"portcullis-trace-id" not in await ask(Traced(inner, "admin"), path)
