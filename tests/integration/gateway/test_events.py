"""The live stream: resumed by id it has no gap and no double, tells each only its own, ends when it must."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest

from audit.record import Kind
from gateway.admin import event_feed, event_stream
from gateway.admin.app import admin_app
from gateway.admin.event_stream import Hub
from tests.fakes.trading import SECRET, add_records, open_log
from tests.fixtures.api import Api
from tests.fixtures.people import House

pytestmark = pytest.mark.stack

FILL = (Kind.ORDER_FILL, {"cl_ord_id": "a.1", "last_qty": "1", "broker": "raw words of the broker"})
ACCEPTED = (
    Kind.SIGNAL_ACCEPTED,
    {"signal_id": "s", "body": "the whole body", "client": "192.0.2.1"},
)
DOUBT = (Kind.ORDER_IN_DOUBT, {"cl_ord_id": "a.1", "state": "in_doubt"})
CHANGE = (
    Kind.ADMIN_CHANGE,
    {"object": "strategy", "id": "x", "before": {"a": 1}, "after": {"a": 2}},
)
LOCKED = (Kind.LOGIN, {"event": "login_locked", "person": "p", "client": "192.0.2.1"})
EXPORT = (Kind.EXPORT, {"what": "everything"})


class Listening:
    """One request for events, as a server would run it: what came so far, and how it ended."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.ended = asyncio.Event()
        self.came = asyncio.Event()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events, each with the id that stood beside it."""
        found = []
        for block in self.body.decode().split("\n\n"):
            lines = dict(
                line.split(": ", 1)
                for line in block.split("\n")
                if not line.startswith(":") and line
            )
            if "data" in lines:
                event = msgspec.json.decode(lines["data"])
                assert (int(lines["id"]), lines["event"]) == (event["id"], event["kind"])
                found.append(event)
        return found

    async def until(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(10):
            while len(self.events) < count:
                self.came.clear()
                await self.came.wait()
        return self.events

    async def end(self) -> str:
        """Wait for the server's end of it; the last words."""
        async with asyncio.timeout(10):
            await self.ended.wait()
        return self.body.decode().rstrip().rsplit("\n\n", 1)[-1]


@asynccontextmanager
async def listening(
    app: Any,
    key: str,
    query: str = "",
    headers: dict[str, str] | None = None,
    *,
    reads: bool = True,
) -> AsyncIterator[Listening]:
    """`reads`: False is a client that takes nothing after the first piece."""
    heard, gone = Listening(), asyncio.Event()
    asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        if (message := next(asked, None)) is not None:
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            heard.status = message["status"]
        elif not reads and heard.body:
            await gone.wait()
        heard.body += message.get("body", b"")
        heard.came.set()

    scope = {
        "type": "http", "method": "GET", "path": "/v1/events", "raw_path": b"/v1/events",
        "query_string": query.encode(), "root_path": "", "scheme": "https", "http_version": "1.1",
        "server": ("localhost", 443), "client": ("192.0.2.7", 4711), "asgi": {"spec_version": "2.3"},
        "headers": [(k.encode(), v.encode()) for k, v in
                    {**({"authorization": f"Bearer {key}"} if key else {}), **(headers or {})}.items()],
    }  # fmt: skip

    async def run() -> None:
        try:
            await app(scope, receive, send)
        finally:
            heard.ended.set()
            heard.came.set()

    task = asyncio.create_task(run())
    try:
        async with asyncio.timeout(10):
            await heard.came.wait()
        yield heard
    finally:
        gone.set()
        await asyncio.wait_for(task, 10)


class Log:
    """A tenant's log that a test writes on."""

    def __init__(self, api: Any, name: str = "admin", tenant: UUID | None = None) -> None:
        self._superuser = api.database.superuser
        self._tenant = tenant or api.tenant(name)
        with psycopg.connect(self._superuser) as conn:
            row = conn.execute(
                "SELECT log_id FROM audit_logs WHERE tenant_id = %s", (self._tenant,)
            ).fetchone()
            self._log_id: UUID = row[0] if row is not None else open_log(conn, self._tenant)
        self.length = 0

    def write(self, *records: Any) -> None:
        with psycopg.connect(self._superuser) as conn:
            self.length = add_records(conn, self._tenant, self._log_id, self.length, records)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feed, "POLL_S", 0.01)
    monkeypatch.setattr(event_stream, "TICK_S", 0.02)


async def test_a_stream_begins_now_or_where_it_is_told_and_tells_what_comes(api: Api):
    log = Log(api)
    log.write(FILL, ACCEPTED)
    async with listening(api.app, api.keys["admin"]) as now, listening(
        api.app, api.keys["admin"], "after=0"
    ) as all_of_it, listening(api.app, api.keys["admin"], "after=0", {"last-event-id": "1"}) as back:  # fmt: skip
        await all_of_it.until(2)
        log.write(FILL)
        assert [e["id"] for e in await now.until(1)] == [3]
        assert [e["id"] for e in await all_of_it.until(3)] == [1, 2, 3]
        assert [e["id"] for e in await back.until(2)] == [2, 3]
        assert [e["index"] for e in back.events] == [1, 2]


async def test_resumed_across_restarts_it_has_no_gap_and_no_double(api: Api):
    """While the log grows, the process ends again and again; the client comes back with its last id."""
    log, total = Log(api), 400
    heard: list[int] = []

    async def write_on() -> None:
        while log.length < total:
            await asyncio.to_thread(log.write, *[FILL] * 5)
            await asyncio.sleep(0.01)

    writing = asyncio.create_task(write_on())
    while len(heard) < total:
        services = msgspec.structs.replace(api.services, events=Hub())
        app = admin_app(services, checks={})  # another process
        where = {"last-event-id": str(heard[-1])} if heard else {}
        async with listening(app, api.keys["admin"], "after=0", where) as stream:
            some = await stream.until(min(37, total - len(heard)))
            services.events.stop.set()
            assert "resume with Last-Event-ID" in await stream.end()
            heard += [e["id"] for e in (some if len(some) >= len(stream.events) else stream.events)]
    await writing
    assert heard == list(range(1, total + 1))


async def test_only_named_facts_are_told(api: Api):
    log = Log(api)
    log.write(FILL, ACCEPTED, CHANGE, LOCKED, EXPORT, DOUBT)
    async with listening(api.app, api.keys["admin"], "after=0") as stream:
        events = await stream.until(5)
    assert [e["kind"] for e in events] == [
        "order.fill", "signal.accepted", "admin.change", "login", "order.in_doubt",
    ]  # fmt: skip
    assert events[0]["facts"] == {"cl_ord_id": "a.1", "last_qty": "1"}
    assert events[0]["order_id"] == "o0"
    assert events[2]["facts"] == {"object": "strategy", "id": "x"}
    assert [e["alert"] for e in events] == [None, None, None, "login_locked", "order_in_doubt"]
    for hidden in (SECRET, "the whole body", "raw words", "192.0.2.1", "before"):
        assert hidden.encode() not in stream.body


async def test_each_hears_the_kinds_asked_for_and_allowed(api: Api):
    log = Log(api)
    log.write(FILL, ACCEPTED, CHANGE, LOCKED, DOUBT)
    trading = await api.key("admin", ["events:read", "orders:read"])
    for key, query, wanted in (
        (api.keys["admin"], "kinds=order", [1, 5]),
        (api.keys["admin"], "kinds=alert", [4, 5]),
        (api.keys["admin"], "kinds=signal,change", [2, 3, 4]),
        (trading.key, "", [1, 5]),
        (trading.key, "kinds=signal,alert", [5]),
    ):
        async with listening(api.app, key, f"after=0&{query}".rstrip("&")) as stream:
            events = await stream.until(len(wanted))
            await asyncio.sleep(0.05)
            assert [e["id"] for e in stream.events] == wanted == [e["id"] for e in events]


async def test_another_tenants_records_are_not_heard(api: Api):
    ours, theirs = Log(api), Log(api, "other")
    async with (
        listening(api.app, api.keys["admin"]) as us,
        listening(api.app, api.keys["other"]) as them,
    ):
        theirs.write(FILL, FILL)
        assert [e["id"] for e in await them.until(2)] == [1, 2]
        ours.write(DOUBT)
        assert [e["kind"] for e in await us.until(1)] == ["order.in_doubt"]


async def test_a_revoked_key_ends_its_stream(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(event_stream, "RECHECK_S", 0.05)
    log = Log(api)
    async with listening(api.app, api.keys["admin"]) as stream:
        log.write(FILL)
        await stream.until(1)
        with psycopg.connect(api.database.superuser) as conn:
            conn.execute("UPDATE service_keys SET revoked_at = now()")
        assert "bad_key" in await stream.end()
        log.write(FILL)
        assert len(stream.events) == 1


async def test_an_ended_session_ends_its_stream_and_a_replaced_token_does_not(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """The cookie that the stream began with is replaced meanwhile: showing it again would be an alarm."""
    monkeypatch.setattr(event_stream, "RECHECK_S", 0.05)
    log = Log(house, tenant=house.scope.tenant_id)
    browser = await house.signed_in("ada@example.com", "viewer")
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    async with listening(house.app, "", "", {"cookie": cookie}) as stream:
        for _ in range(2):
            house.clock.move(minutes=16)
            assert (await browser("GET", "/v1/me")).status == 200
        await asyncio.sleep(0.2)
        log.write(FILL)
        await stream.until(1)
        with psycopg.connect(house.database.superuser) as conn:
            conn.execute("DELETE FROM sessions")
        assert "session_over" in await stream.end()


async def test_a_role_that_was_taken_away_is_heard_no_more(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(event_stream, "RECHECK_S", 0.05)
    Log(house, tenant=house.scope.tenant_id)
    browser = await house.signed_in("ada@example.com", "viewer")
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    async with listening(house.app, "", "", {"cookie": cookie}) as stream:
        with psycopg.connect(house.database.superuser) as conn:
            conn.execute("UPDATE people SET roles = '{}'")
        assert "session_over" in await stream.end()  # a change of roles ends sessions


async def test_where_nobody_can_say_whether_it_is_allowed_the_stream_ends(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    """PostgreSQL away for the re-check: not heard is better than heard by somebody who may not."""
    Log(api)
    async with listening(api.app, api.keys["admin"]) as stream:
        await api.services.database.close()
        monkeypatch.setattr(event_stream, "RECHECK_S", 0.0)
        assert "resume with Last-Event-ID" in await stream.end()


async def test_who_reads_too_slowly_is_sent_away_with_what_was_kept(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    """Another listener of the same tenant loses nothing by it."""
    monkeypatch.setattr(event_feed, "BUFFER_MAX", 20)
    monkeypatch.setattr(event_stream, "SEND_MAX_S", 0.3)
    log = Log(api)
    key = api.keys["admin"]
    async with listening(api.app, key, reads=False) as slow, listening(api.app, key) as quick:
        for _ in range(10):
            log.write(*[FILL] * 10)
            await quick.until(log.length)
        await slow.end()
        assert len(slow.events) == 0
        assert [e["id"] for e in quick.events] == list(range(1, 101))
    assert api.services.events._streams == {}


async def test_a_full_buffer_is_told_and_what_was_kept_is_told_first():
    listener = event_feed.Listener(0)
    event = event_feed.Event(
        id=1, index=0, kind="login", at="", groups=("change",), alert=None, order_id=None, account_id=None,
        actor={}, trace_id=None, facts={},
    )  # fmt: skip
    for number in range(1, event_feed.BUFFER_MAX + 3):
        listener.offer(event_feed.Heard(number, event, "x"))
    assert listener.too_slow
    assert len(listener.waiting) == event_feed.BUFFER_MAX
    assert listener.at == listener.waiting[-1].id == event_feed.BUFFER_MAX


async def test_a_listener_ahead_of_the_feed_is_told_nothing_twice():
    """It read the past by itself, further than the feed had come."""
    listener = event_feed.Listener(5)
    for number in (3, 4, 5, 6):
        listener.offer(event_feed.Heard(number, None, "x"))
        assert listener.at == max(5, number)


async def test_a_tenant_has_so_many_streams_and_no_more(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(event_stream, "STREAMS_MAX", 1)
    Log(api)
    async with (
        listening(api.app, api.keys["admin"]),
        listening(api.app, api.keys["admin"]) as second,
    ):
        assert (second.status, msgspec.json.decode(second.body)["code"]) == (
            429,
            "too_many_streams",
        )
        async with listening(api.app, api.keys["other"]) as other:
            assert other.status == 200
    async with listening(api.app, api.keys["admin"]) as again:
        assert again.status == 200


async def test_a_heartbeat_carries_the_number_reached(api: Api, monkeypatch: pytest.MonkeyPatch):
    """One who listens for what is rare does not come back from far behind."""
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.05)
    log = Log(api)
    async with listening(api.app, api.keys["admin"], "kinds=signal") as stream:
        log.write(*[FILL] * 7)
        async with asyncio.timeout(5):
            while b": alive\nid: 7\n\n" not in stream.body:
                stream.came.clear()
                await stream.came.wait()
        assert stream.events == []


@pytest.mark.parametrize(
    "query", ["after=-1", "after=9", "after=x", "kinds=orders", "kinds=", "kinds=order,,alert"]
)
async def test_nonsense_is_refused_before_the_stream_begins(api: Api, query: str):
    async with listening(api.app, api.keys["admin"], query) as stream:
        assert (stream.status, msgspec.json.decode(stream.body)["code"]) == (422, "invalid")


async def test_nobody_without_the_scope_hears_anything(api: Api):
    nobody = await api.key("admin", ["orders:read"])
    async with listening(api.app, nobody.key) as stream:
        assert (stream.status, msgspec.json.decode(stream.body)["code"]) == (403, "forbidden")


async def test_while_nobody_listens_nothing_is_read(api: Api):
    Log(api)
    async with listening(api.app, api.keys["admin"]):
        pass
    assert api.services.events._feeds == {}
    assert [
        t for t in asyncio.all_tasks() if t.get_name() == "event-feed" and not t.cancelling()
    ] == []
