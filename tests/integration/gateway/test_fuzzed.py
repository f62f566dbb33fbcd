"""What no client sends, at every operation: bytes that are no text, JSON that is none, numbers without end.

Straight into the application, past what the HTTP server would refuse already. Each drawn request is
sent to all operations, with one member or parameter of each spoilt in turn; the draws are the same in
every run. `tests/integration/gateway/test_schemathesis.py` attacks from the document instead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_from_bytes

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gateway.admin.openapi import codes
from gateway.admin.operation import Operation
from gateway.admin.operations import OPERATIONS
from gateway.admin.reading import path_types
from tests.fixtures.api import Api
from tests.integration.gateway.examples import EXAMPLES, SPENT, Example
from tests.integration.gateway.furniture import furnish
from tests.integration.gateway.ingress import Reply, http_scope

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.longer]

MOST_S = 20.0
ROUNDS = 120
ROUNDS_LEAST = 5
"""Each is one request at every operation."""
NOWHERE = "01890000-0000-7000-8000-000000000000"

TOKENS = [
    b"1e400", b"-1e400", b"1e-400", b"NaN", b"-Infinity", b"9" * 5000, b"-0", b"0." + b"0" * 5000 + b"1",
    b"18446744073709551616", b"1E+999999999", b'"1e999999999"', b'"NaN"', b'"Infinity"', b'"-0"',
    rb'"\ud800"', rb'"\udfff\ud800"', rb'"\u0000"', rb'"a\nb\n"', rb'"\u202e\ufeff"', b'"\xff\xfe"',
    b'"\xed\xa0\x80"', b'"' + b"x" * 100_000 + b'"', b'""', b'" "', b"null", b"true", b"[]", b"{}",
    b"[" * 100_000, b"[" * 500 + b"]" * 500, b'{"a":' * 500 + b"1" + b"}" * 500,
    b'{"a":1,"a":2}', b'{"":""}', b"[null,null]", b'"0001-01-01T00:00:00Z"', b'"9999-12-31T23:59:60Z"',
    b'"9999-12-31T23:59:59-12:00"', b'"' + NOWHERE.encode() + b'"', b"\xef\xbb\xbf{}", b"'x'", b"",
]  # fmt: skip
"""JSON as it stands on the wire, or what takes its place."""

VALUES = [
    b"", b"\0", b"\xff", b"\xed\xa0\x80", b"null", b"NaN", b"1e400", b"-1", b"9" * 5000, b"x" * 20_000,
    b'"0"', b'"999999999999999999"', b'"9999999999999999999999"', b"*", b'"*"', b"W/", b"a\nb", b"\n",
    b"\xc2\xa0", b"0001-01-01T00:00:00Z", b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59-12:00",
    b"=;,=", b"bytes=0-", NOWHERE.encode(), b"eyJ9", b"W251bGxd", b"WzFlNDAwXQ",
]  # fmt: skip
"""Of headers and parameters."""

HEADERS = [
    b"if-match", b"idempotency-key", b"portcullis-reason", b"portcullis-tenant", b"portcullis-csrf",
    b"content-type", b"content-length", b"content-encoding", b"cookie", b"authorization", b"user-agent",
    b"traceparent", b"accept", b"range", b"x-forwarded-for", b"host", b"last-event-id", b"expect",
]  # fmt: skip


class Hostile(msgspec.Struct, frozen=True):
    """One drawn request; `turn` says which member and which parameter of an operation is spoilt."""

    turn: int
    token: bytes
    twice: bool
    value: bytes
    header: tuple[bytes, bytes] | None


REQUESTS = st.builds(
    Hostile,
    turn=st.integers(0, 30),
    token=st.one_of(st.sampled_from(TOKENS), st.binary(max_size=40)),
    twice=st.booleans(),
    value=st.one_of(st.sampled_from(VALUES), st.binary(max_size=40)),
    header=st.one_of(
        st.none(), st.tuples(st.sampled_from(HEADERS), st.sampled_from(VALUES)),
        st.tuples(st.sampled_from(HEADERS), st.binary(max_size=40)),
    ),
)  # fmt: skip


def drawn(number: int) -> list[Hostile]:
    """The same in every run. Hypothesis draws, and what was drawn is sent afterwards: in one loop."""
    made: list[Hostile] = []

    @settings(max_examples=number, derandomize=True, database=None, phases=[Phase.generate])
    @given(REQUESTS)
    def draw(hostile: Hostile) -> None:
        made.append(hostile)

    draw()
    return made


async def test_no_bytes_are_answered_with_5xx_or_with_what_the_document_does_not_say(api: Api):
    """The pipeline refuses it, or the handler takes it: an exception of neither gets out."""
    ids = (await furnish(api, "admin")).ids
    found: list[str] = []
    rounds = 0
    until = time.monotonic() + MOST_S
    for hostile in drawn(ROUNDS):
        if time.monotonic() > until:
            break
        rounds += 1
        for operation in OPERATIONS:
            reply = await _sent(api, ids, operation, hostile)
            if complaint := _complaint(operation, reply):
                found.append(f"{operation.name}: {complaint}: {hostile!r:.300}")
    assert not found, "\n".join(found)
    assert rounds >= ROUNDS_LEAST, "the machine is too slow for this test to say anything"


async def _sent(api: Api, ids: Mapping[str, str], operation: Operation, hostile: Hostile) -> Reply:
    method = operation.method
    sent: list[Any] = []
    messages = [
        {"type": "http.request", "body": _body(operation, ids, hostile), "more_body": False}
    ]
    media = b"application/merge-patch+json" if method == "PATCH" else b"application/json"
    headers = [
        (b"authorization", f"Bearer {api.keys['admin']}".encode()), (b"content-type", media),
        (b"if-match", b"*"),
    ]  # fmt: skip
    if hostile.header is not None:
        if not hostile.twice:
            headers = [pair for pair in headers if pair[0] != hostile.header[0]]
        headers.append(hostile.header)
    scope = http_scope(method, _address(operation, ids), {}) | {
        "headers": headers, "query_string": _query(operation, hostile),
    }  # fmt: skip

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async with asyncio.timeout(10):
        await api.app(scope, receive, send)
    head = {name.decode("latin-1"): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return Reply(sent[0]["status"], head, b"".join(m.get("body", b"") for m in sent[1:]))


def _complaint(operation: Operation, reply: Reply) -> str | None:
    if reply.status < 400:
        return None
    if reply.status >= 500 or reply.headers.get("content-type") != "application/problem+json":
        return f"{reply.status} {reply.body[:200]!r}"
    code = reply.json()["code"]
    if code not in codes(operation).get(reply.status, ()):
        return f"{reply.status} {code}, which the document does not say"
    return None


def _address(operation: Operation, ids: Mapping[str, str]) -> str:
    address = operation.path
    places = EXAMPLES.get(operation.name, Example()).places
    for name in path_types(operation):
        address = address.replace(f"{{{name}}}", places.get(name, ids.get(name, NOWHERE)))
    return address


def _query(operation: Operation, hostile: Hostile) -> bytes:
    """One of its parameters, whose value is hostile; as it stands where it has none, every other time."""
    names = getattr(operation.query, "__struct_encode_fields__", ())
    if not names:
        return hostile.value if hostile.turn % 8 == 7 else b""
    pair = f"{names[hostile.turn % len(names)]}={quote_from_bytes(hostile.value)}"
    return f"{pair}&{pair}".encode() if hostile.twice and hostile.turn % 4 == 3 else pair.encode()


def _body(operation: Operation, ids: Mapping[str, str], hostile: Hostile) -> bytes:
    """The example with one member that is hostile, or twice there; or nothing but the hostile token."""
    kind = operation.body or operation.merge_patch
    names = getattr(kind, "__struct_encode_fields__", ())
    if kind is None or hostile.turn % 8 == 7 or not names:
        return hostile.token if kind is not None or hostile.turn % 8 == 7 else b""
    build = EXAMPLES.get(operation.name, Example()).body
    example = build(ids) if build is not None else SPENT.get(operation.body, {})
    spoilt = names[hostile.turn % len(names)]
    members = [
        msgspec.json.encode(name) + b":" + msgspec.json.encode(value)
        for name, value in example.items() if name != spoilt or hostile.twice
    ]  # fmt: skip
    return b"{" + b",".join([*members, b'"%b":%b' % (spoilt.encode(), hostile.token)]) + b"}"
