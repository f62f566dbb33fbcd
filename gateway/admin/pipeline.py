"""One request of the admin API, from its bytes to its answer; the same steps for every operation.

1. Authenticate: a Principal, or 401.
2. Rate: per credential and per tenant, per address for whoever shows no good one, or 429.
3. Permit: the operation's action is among the caller's, or 403.
4. Read: query, headers, body, each refused with its place.
5. One transaction in the caller's tenant: a kept answer for a repeated POST, else the handler, its
   audit records and the answer to keep. Committed before the first byte of the answer.
6. Answer: JSON, ETag, Location; what is shown once is added here and is nowhere else.

Whatever is refused leaves as a problem document. An error at COMMIT is `outcome_unknown`: with an
Idempotency-Key the caller may simply repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from opentelemetry import trace
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from audit import receipts
from audit.record import Kind
from fanout.wake import publish
from gateway import metrics
from gateway.admin import changes, idempotency
from gateway.admin.auth import authenticated, client_of
from gateway.admin.errors import BadKey, Forbidden, TooMany
from gateway.admin.event_stream import LiveResponse
from gateway.admin.operation import Allowed, Call, Operation, Principal, Result, Services
from gateway.admin.reading import read_body, read_if_match, read_path, read_query, read_why
from gateway.admin.refusals import EnrolmentRequired
from gateway.admin.session_auth import BEFORE_ENROLMENT
from gateway.answers import JSON, Answer
from gateway.body import SenderLeft
from gateway.listener import GUARDED, as_response
from gateway.problems import problem_of
from tenancy.database import Connection
from tenancy.errors import PortcullisError

log = structlog.get_logger()

WAKE_TIMEOUT_S = 0.25
Endpoint = Callable[[Request], Awaitable[Response]]


def endpoint(operation: Operation, services: Services) -> Endpoint:
    """Starlette's endpoint of one operation."""

    async def answer(request: Request) -> Response:
        extra: list[tuple[str, str]] = []
        span = trace.get_current_span()
        span.update_name(operation.name)
        span.set_attribute("http.route", operation.path)
        try:
            with receipts.collected() as made:
                response = await _answered(operation, services, request, extra)
            if made:  # and committed: else an error would have come in its place
                extra.append((receipts.HEADER, receipts.header(made)))
        except SenderLeft:
            response = Response(status_code=400)  # nobody is there to read it
        except PortcullisError as error:
            response = as_response(_refusal(error, request))
            if isinstance(error, BadKey):
                log.warning("credential_refused", client=client_of(request))
        for name, value in extra:
            response.headers.append(name, value)
        metrics.ADMIN_REQUESTS.labels(operation.name, str(response.status_code)).inc()
        return response

    return answer


async def _answered(
    operation: Operation, services: Services, request: Request, extra: list[tuple[str, str]]
) -> Response:
    principal: Principal | None = None
    if operation.action is None:
        await _rated_unsigned(services, request, extra)
    else:
        try:
            principal, headers = await authenticated(request, services)
        except BadKey:  # whoever guesses is counted like whoever shows nothing
            await _rated_unsigned(services, request, extra)
            raise
        extra.extend(headers)
        await _rated(operation, services, principal, extra)
        permit(operation, principal)
    call, once = await _read(operation, services, request, principal)
    if principal is None:
        return _response(operation, await operation.handle(call))
    kept: Answer | None = None
    result: Result | None = None
    async with services.database.tenant(principal.scope) as conn:
        call._conn = conn
        if once is not None:
            kept = await idempotency.find(conn, principal, once)
        if kept is None:
            await _note_operator(call, principal)
            result = await operation.handle(call)
            if once is not None:
                await _keep(conn, principal, once, operation, result)
    if kept is not None:
        return as_response(kept)
    assert result is not None
    await _wake(services, result)
    return _response(operation, result)


async def _wake(services: Services, result: Result) -> None:
    """After the commit. Redis away, or slow: whoever is meant looks by itself."""
    if not result.wakes:
        return
    try:
        async with asyncio.timeout(WAKE_TIMEOUT_S):
            await publish(services.redis, result.wakes)
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("wake_failed", error=repr(error))


async def _rated(
    operation: Operation, services: Services, principal: Principal, extra: list[tuple[str, str]]
) -> None:
    if services.rates is None:
        return
    allowance = await services.rates.take(
        principal.credential,
        principal.scope.tenant_id,
        "write" if operation.changes else "read",
    )
    _admit(allowance, extra)


async def _rated_unsigned(
    services: Services, request: Request, extra: list[tuple[str, str]]
) -> None:
    if services.rates is not None:
        _admit(await services.rates.take_unsigned(client_of(request)), extra)


def _admit(allowance: Allowed, extra: list[tuple[str, str]]) -> None:
    extra.extend(allowance.headers())
    if not allowance.allowed:
        raise TooMany(allowance.refusal(), allowance.retry_after_s)


def permit(operation: Operation, principal: Principal) -> None:
    """Raises Forbidden, naming the action that is missing; EnrolmentRequired."""
    if principal.must_enrol and operation.name not in BEFORE_ENROLMENT:
        raise EnrolmentRequired(
            "your roles need a second factor: enrol one at /v1/me/factors, then go on"
        )
    if principal.home is not None and operation.changes:
        raise Forbidden("you were let in to look: nothing is changed here by an operator")
    if operation.platform and principal.kind != "platform":
        raise Forbidden("this belongs to the platform: only its operators may")
    if operation.action not in ("self", *principal.actions):
        raise Forbidden(f"{operation.action} is needed, and this credential does not have it")


async def _read(
    operation: Operation, services: Services, request: Request, principal: Principal | None
) -> tuple[Call, idempotency.Once | None]:
    path = read_path(operation, request)
    query = read_query(operation, request)
    if_match = read_if_match(operation, request)
    body, patch, raw = await read_body(operation, request)
    once = None
    if operation.once and principal is not None:
        address = _address(request)
        key = request.headers.get(idempotency.HEADER)
        once = idempotency.read_key(key, operation.method, address, raw)
    call = Call(
        operation=operation,
        services=services,
        path=path,
        query=query,
        body=body,
        patch=patch,
        if_match=if_match,
        why=read_why(request) if operation.changes else "",
        client=client_of(request),
        headers=dict(request.headers),
        cookies=dict(request.cookies),
        trace_id=_trace_id() or "",
        _principal=principal,
    )
    return call, once


async def _note_operator(call: Call, principal: Principal) -> None:
    """Whoever was let in leaves a record of every request in the log of the house."""
    if principal.home is not None:
        facts = {"operation": call.operation.name, "path": dict(call.path), "client": call.client}
        await changes.record_change(changes.by(call), Kind.KEY_USE, facts)


async def _keep(
    conn: Connection,
    principal: Principal,
    once: idempotency.Once,
    operation: Operation,
    result: Result,
) -> None:
    if result.stream is None:
        await idempotency.keep(conn, principal, once, _answer(operation, result, with_once=False))


def _response(operation: Operation, result: Result) -> Response:
    if result.stream is not None:
        return LiveResponse(result.stream)
    if result.file is not None:
        return FileResponse(
            result.file, media_type="application/zip", filename=result.file.name,
            headers={**GUARDED, "cache-control": "no-store", **dict(result.headers)},
        )  # fmt: skip
    return as_response(_answer(operation, result, with_once=True))


def _answer(operation: Operation, result: Result, *, with_once: bool) -> Answer:
    status = result.status or operation.status
    headers = [(name.encode(), value.encode("latin-1")) for name, value in result.headers]
    if result.revision is not None:
        headers.append((b"etag", b'"%d"' % result.revision))
    if result.location is not None:
        headers.append((b"location", result.location.encode()))
    content: Any = result.content
    if content is None and not result.once:
        return Answer(status, operation.name, b"", b"", tuple(headers))
    if isinstance(content, Answer):
        return content
    if result.once:
        content = msgspec.to_builtins(content) or {}
        content |= result.once if with_once else dict.fromkeys(result.once)
    return Answer(status, operation.name, msgspec.json.encode(content), JSON, tuple(headers))


def _refusal(error: PortcullisError, request: Request) -> Answer:
    return problem_of(error, instance=request.scope["path"], trace_id=_trace_id())


def _address(request: Request) -> str:
    """As it was sent. Starlette's `request.url` raises for a query or a host that is no UTF-8, no URL."""
    query: bytes = request.scope["query_string"]
    return f"{request.scope['path']}?{query.decode('latin-1')}"


def _trace_id() -> str | None:
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x}" if span.is_valid else None
