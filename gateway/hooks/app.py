"""The public listener: `POST /v1/hooks/{hook_id}`, and nothing else.

One request, in this order: body (bounded) → authenticate → rate → content type and schema →
keep → 202. The order is what an attacker may learn and cost: nobody without a secret reaches
the rate counter, the decoder or the database.

- An unknown hook, a disabled one and a bad signature get the same answer after the same work.
- 202 is sent after the commit and never waits for Redis. Who says `Prefer: wait=N` hears more
  (gateway/hooks/waiting.py); nobody else's answer changes by a byte.
- A repeat of id and body gets the first one's answer, byte for byte; the RateLimit fields are today's, and
  the receipt is that of the record of the repeat.
- Halted tenants' and strategies' signals are kept too: the plan denies them, with a reason;
  refusing here would lose the evidence.
- Refusals of known hooks go to the audit log, so many per second and hook; the next one that is
  recorded says how many were not (`suppressed`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
import structlog
from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from audit import receipts
from fanout.signal import InvalidSignal, decode
from fanout.trace import inside, parent, say, within
from gateway import metrics
from gateway.answers import JSON, Answer, Receive, Scope, Send, send_answer
from gateway.body import SenderLeft, read_body
from gateway.hooks.accept import Acceptor, MessageConflict
from gateway.hooks.incoming import Incoming, Kept
from gateway.hooks.records import accepted
from gateway.hooks.refusals import Refusals
from gateway.hooks.registry import Hook, Registry
from gateway.hooks.settings import HookSettings
from gateway.hooks.tradingview import WRONG_TOKEN, Window, authentic, may_come_from, window
from gateway.hooks.verify import Refusal, Verified, verify
from gateway.hooks.waiting import Waiting, wanted_s
from gateway.listener import http_problem, unexpected
from gateway.problems import internal, problem, problem_of
from gateway.quota import Allowance
from gateway.rate import Rates
from gateway.trace import HEADER, parent_of, start_server_span, trace_id_of, traceparent
from tenancy.clock import Clock
from tenancy.errors import PortcullisError
from tenancy.ids import new_id
from tenancy.values import SignalID

log = structlog.get_logger()

PREFIX = "/v1/hooks"

Headers = Iterable[tuple[bytes, bytes]]


class _Seen(msgspec.Struct):
    """What is known of a request so far; refusals tell it to the log."""

    path: str
    client: str
    trace_id: str
    traceparent: str
    hook: Hook | None = None
    message_id: str | None = None
    body_sha256: bytes = b""
    signal_id: str | None = None
    allowance: Allowance = Allowance(False)
    ticker: str = ""
    not_before: datetime | None = None
    window: Window | None = None
    receipt: str = ""
    kept_at: float | None = None
    """When a sender that waits for the outcome began to wait."""


class HookEndpoint:
    """The hot route, as a bare ASGI application."""

    def __init__(
        self,
        registry: Registry,
        rates: Rates,
        acceptor: Acceptor,
        waiting: Waiting,
        *,
        clock: Clock,
        settings: HookSettings,
    ) -> None:
        self._registry = registry
        self._rates = rates
        self._acceptor = acceptor
        self._waiting = waiting
        self._clock = clock
        self._settings = settings
        self._refusals = Refusals(
            acceptor.note_refusal, clock, per_s=settings.refusal_records_per_s
        )
        self._links = settings.management_base_url.rstrip("/") + "/v1/signals/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        span = start_server_span("hook", parent_of(scope["headers"]))
        with within(span):
            await self._served(scope, receive, send, span, started)

    async def _served(
        self, scope: Scope, receive: Receive, send: Send, span: Span, started: float
    ) -> None:
        seen = _seen(scope, span)
        try:
            answer = await self._answer(scope, receive, seen)
        except SenderLeft:
            metrics.HOOK_REQUESTS.labels("sender_left").inc()
            return
        except PortcullisError as error:
            answer = problem_of(error, instance=seen.path, trace_id=seen.trace_id)
            if isinstance(error, MessageConflict):
                seen.signal_id = str(error.first)
        except Exception:
            log.exception("hook_failed", trace_id=seen.trace_id)
            answer = internal(instance=seen.path, trace_id=seen.trace_id)
        await send_answer(_with_headers(answer, seen), send)
        self._tell(answer, seen, span, started)

    async def _answer(self, scope: Scope, receive: Receive, seen: _Seen) -> Answer:
        headers = scope["headers"]
        body = await read_body(
            headers,
            receive,
            most_bytes=self._settings.max_body_bytes,
            timeout_s=self._settings.body_timeout_s,
        )
        seen.hook = await self._registry.find(scope["path_params"]["hook_id"])
        seen.body_sha256 = hashlib.sha256(body).digest()
        token = scope["path_params"].get("token")
        verified = (
            self._authenticate(headers, body, seen)
            if token is None
            else self._by_token(token, seen)
        )
        if isinstance(verified, Answer):
            return verified
        seen.message_id = verified.message_id
        assert seen.hook is not None
        seen.allowance = await self._rates.take(seen.hook.claim)
        if not seen.allowance.allowed:
            metrics.RATE_REFUSALS.labels(seen.allowance.policy).inc()
            return self._problem(
                "rate_limited",
                seen.allowance.refusal(),
                seen,
                retry_after_s=seen.allowance.retry_after_s,
            )
        refused = self._unfit(headers, body, seen)
        if refused is not None:
            return refused
        kept = await self._keep(seen.hook, verified, body, seen)
        answer = self._accepted(kept, seen)
        asked_s = wanted_s(headers)
        if asked_s is None:
            return answer
        seen.kept_at = time.perf_counter()
        return await self._waiting.finish(
            answer, receive, asked_s=asked_s, tenant=seen.hook.tenant_id,
            signal_id=kept.signal_id, hook_id=seen.hook.hook_id,
        )  # fmt: skip

    def _authenticate(self, headers: Headers, body: bytes, seen: _Seen) -> Verified | Answer:
        """Verified only for a hook that exists; all others do the same work for nothing."""
        now = self._clock.now()
        hook = seen.hook
        if hook is not None and hook.sender != "standard_webhooks":
            hook = None  # it has no secret that signs: for this address it does not exist
        verdict = verify(
            headers,
            body,
            hook.live(now) if hook is not None else (),
            now=now.timestamp(),
            tolerance_s=self._settings.tolerance_s,
        )
        if isinstance(verdict, Verified):
            return verdict
        return self._unauthenticated(verdict, seen)

    def _by_token(self, token: str, seen: _Seen) -> Verified | Answer:
        """For senders that can neither sign nor set headers. Who has no token learns nothing."""
        now = self._clock.now()
        hook = seen.hook
        if hook is not None and hook.sender != "tradingview":
            hook = None
        if not authentic(token, hook.live(now) if hook is not None else ()) or hook is None:
            return self._problem(WRONG_TOKEN.code, WRONG_TOKEN.detail, seen)
        if not may_come_from(seen.client, hook.sources):
            return self._problem(
                "source_not_allowed",
                f"{seen.client} is none of this hook's sources; see its `sources`",
                seen,
            )
        seen.window = window(seen.body_sha256, now, hook.repeat_window_s)
        return Verified(seen.window.message_id, int(now.timestamp()))

    def _unauthenticated(self, refusal: Refusal, seen: _Seen) -> Answer:
        hook = seen.hook
        if refusal.code == "bad_signature" and hook is not None and hook.waits_for_signer:
            return self._problem(
                "unavailable", "a secret of this hook is not open yet", seen, retry_after_s=2
            )
        return self._problem(refusal.code, refusal.detail, seen)

    def _unfit(self, headers: Headers, body: bytes, seen: _Seen) -> Answer | None:
        if seen.window is None and not is_json(headers):
            return self._problem(
                "unsupported_media_type", "Content-Type: application/json is needed, once", seen
            )
        try:
            signal = decode(body)
            seen.ticker, seen.not_before = signal.ticker, signal.due(self._clock.now())
        except InvalidSignal as error:
            return self._problem(error.code, str(error), seen, field=error.field or None)
        return None

    async def _keep(self, hook: Hook, verified: Verified, body: bytes, seen: _Seen) -> Kept:
        signal_id = SignalID(new_id())
        note = accepted(
            hook,
            signal_id=signal_id,
            message_id=verified.message_id,
            sent_at=verified.timestamp,
            body=body,
            body_sha256=seen.body_sha256,
            client=seen.client,
            trace_id=seen.trace_id,
            at_ns=self._clock.now_ns(),
        )
        incoming = Incoming(
            signal_id=signal_id,
            tenant_id=hook.tenant_id,
            strategy_id=hook.strategy_id,
            hook_id=hook.hook_id,
            message_id=verified.message_id,
            part=hook.part,
            ticker=seen.ticker,
            body=body,
            body_sha256=seen.body_sha256,
            traceparent=seen.traceparent,
            received_at=self._clock.now(),
            not_before=seen.not_before,
            window=seen.window,
            note=note,
        )
        with inside("keep"):
            return await self._acceptor.keep(incoming)

    def _accepted(self, kept: Kept, seen: _Seen) -> Answer:
        seen.signal_id, seen.receipt = str(kept.signal_id), kept.receipt
        first = trace_id_of(kept.traceparent)
        if first != seen.trace_id:
            _link(trace.get_current_span(), kept.traceparent)
        seen.trace_id = first
        body = b'{"signalId":"%b","status":"accepted","links":{"self":"%b"}}' % (
            seen.signal_id.encode(),
            (self._links + seen.signal_id).encode(),
        )
        return Answer(202, "repeated" if kept.repeated else "accepted", body, JSON)

    def _problem(
        self,
        code: str,
        detail: str,
        seen: _Seen,
        *,
        field: str | None = None,
        retry_after_s: int | None = None,
    ) -> Answer:
        return problem(
            code,
            detail,
            instance=seen.path,
            field=field,
            trace_id=seen.trace_id,
            retry_after_s=retry_after_s,
        )

    def _tell(self, answer: Answer, seen: _Seen, span: Span, started: float) -> None:
        """After the answer: numbers, one log line, the audit record of a refusal."""
        metrics.HOOK_REQUESTS.labels(answer.code).inc()
        took_s = (seen.kept_at or time.perf_counter()) - started
        hook_id = seen.hook.hook_id if seen.hook is not None else None
        say(span, {
            "http.response.status_code": answer.status, "code": answer.code, "hook_id": hook_id,
            "signal_id": seen.signal_id, "tenant_id": seen.hook and seen.hook.tenant_id,
        })  # fmt: skip
        line = {"hook_id": hook_id, "status": answer.status, "took_ms": round(took_s * 1000, 3)}
        if answer.status in (200, 202):
            metrics.ACCEPT_SECONDS.observe(took_s)
            log.info(
                "signal_accepted", trace_id=seen.trace_id, signal_id=seen.signal_id,
                code=answer.code, **line,
            )  # fmt: skip
        else:
            span.set_status(Status(StatusCode.ERROR, answer.code))
            self._refused(answer, seen, line)

    def _refused(self, answer: Answer, seen: _Seen, line: dict[str, Any]) -> None:
        facts = {
            "code": answer.code,
            "message_id": seen.message_id,
            "body_sha256": seen.body_sha256.hex() or None,
            "client": seen.client,
            "signal_id": seen.signal_id,
        }
        facts = {name: value for name, value in facts.items() if value is not None}
        if answer.status >= 500:
            self._refusals.failed(seen.trace_id, facts, line)
        else:
            self._refusals.tell(seen.hook, seen.trace_id, facts, line)


def is_json(headers: Headers) -> bool:
    """application/json, once, with no charset but UTF-8 (RFC 8259 section 8.1)."""
    values = [value for name, value in headers if name == b"content-type"]
    if len(values) != 1:
        return False
    kind, _, parameters = values[0].decode("latin-1").lower().partition(";")
    charset = parameters.replace(" ", "").replace('"', "")
    return kind.strip() == "application/json" and charset in ("", "charset=utf-8")


def _link(span: Span, first: str) -> None:
    """From the span of a repeat to the trace of the signal that stands."""
    there = trace.get_current_span(parent(first)).get_span_context()
    span.add_link(there)


def _seen(scope: Scope, span: Span) -> _Seen:
    client = scope.get("client")
    text = traceparent(span.get_span_context())
    # Not the path as it came: a token may stand in it.
    path = f"{PREFIX}/{scope['path_params']['hook_id']}"
    return _Seen(path, client[0] if client else "", trace_id_of(text), text)


def _with_headers(answer: Answer, seen: _Seen) -> Answer:
    """The trace, and what is left of the quotas: for whom they were counted, so for nobody unknown."""
    named = (HEADER, seen.trace_id.encode())
    rate = ((name.encode(), value.encode()) for name, value in seen.allowance.headers())
    receipt = ((receipts.HEADER.lower().encode(), seen.receipt.encode()),) if seen.receipt else ()
    headers = (*answer.headers, *rate, *receipt, named)
    return msgspec.structs.replace(answer, headers=headers)


async def _elsewhere(request: Request, error: Exception) -> Response:
    """What is no hook's address. It is not repeated, for there may be a token in it."""
    request.scope["path"] = PREFIX
    if isinstance(error, HTTPException):
        return await http_problem(request, error)
    return await unexpected(request, error)


def hooks_app(endpoint: HookEndpoint) -> Starlette:
    """The whole public listener."""
    app = Starlette(
        routes=[
            Route(PREFIX + "/{hook_id}", endpoint, methods=["POST"]),
            Route(PREFIX + "/{hook_id}/{token}", endpoint, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _elsewhere, Exception: _elsewhere},
    )
    app.router.redirect_slashes = False
    return app
