"""Bytes on a socket: both ways to read a request, by hand and by aiohttp, come to the same answer."""

from __future__ import annotations

import asyncio
import json

import pytest

from loadtest.exchanges.ceiling import measure
from loadtest.exchanges.gateio.control_client import ControlRefused
from loadtest.exchanges.gateio.faults import Rule
from loadtest.exchanges.gateio.gateway import Request
from tests.integration.simulator.clients import ORDERS, signed


def order(text: str, *, extra: str = "", chunked: bool = False) -> bytes:
    """A signed POST, byte by byte our own."""
    document = {"contract": "BTC_USDT", "size": 1, "price": "0", "tif": "ioc", "text": text}
    body = json.dumps(document).encode()
    headers = signed("key", "secret", "POST", ORDERS, "", body)
    head = f"POST {ORDERS} HTTP/1.1\r\nHost: x\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + extra
    if chunked:
        head += "Transfer-Encoding: chunked\r\n\r\n"
        return head.encode() + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Socket:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[str, object]]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        return int(head[9:12]), json.loads(await self.reader.readexactly(length) or b"{}")


@pytest.fixture
async def socket(gateio):
    await gateio.control.create_account("key", "secret")
    host, port = gateio.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    yield Socket(reader, writer)
    writer.close()
    await writer.wait_closed()


async def texts(gateio) -> list[str]:
    return [o.text for o in (await gateio.control.audit()).orders]


async def test_requests_in_one_segment_are_answered_in_order(gateio, socket):
    socket.writer.write(order("t-1") + order("t-2") + order("t-3"))
    assert [(await socket.answer())[1]["text"] for _ in range(3)] == ["t-1", "t-2", "t-3"]
    assert await texts(gateio) == ["t-1", "t-2", "t-3"]


async def test_a_request_in_many_segments_is_one_request(gateio, socket):
    data = order("t-slow")
    for at in range(0, len(data), 50):
        socket.writer.write(data[at : at + 50])
        await socket.writer.drain()
        await asyncio.sleep(0.001)
    assert (await socket.answer())[0] == 201
    assert await texts(gateio) == ["t-slow"]


async def test_a_chunked_body_is_read_by_aiohttp_and_later_requests_too(gateio, socket):
    socket.writer.write(order("t-plain"))
    assert (await socket.answer())[0] == 201
    socket.writer.write(order("t-chunked", chunked=True) + order("t-after"))
    assert [(await socket.answer())[1]["text"] for _ in range(2)] == ["t-chunked", "t-after"]
    assert await texts(gateio) == ["t-plain", "t-chunked", "t-after"]


async def test_connection_close_is_obeyed(gateio, socket):
    socket.writer.write(order("t-last", extra="Connection: close\r\n"))
    assert (await socket.answer())[0] == 201
    assert await socket.reader.read() == b""


async def test_half_a_request_and_a_hang_up_execute_nothing(gateio, socket):
    socket.writer.write(order("t-half")[:-5])
    await socket.writer.drain()
    socket.writer.close()
    await asyncio.sleep(0.02)
    assert await texts(gateio) == []


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
async def test_garbage_is_refused_and_executes_nothing(gateio, socket, garbage):
    socket.writer.write(garbage)
    assert (await socket.reader.readline()).split()[1] in (b"400", b"505")
    assert await texts(gateio) == []


async def test_unknown_paths_and_methods(gateio, socket):
    for method, path, status, label in (
        ("GET", "/api/v4/futures/usdt/nothing", 404, "NOT_FOUND"),
        ("PATCH", ORDERS, 405, "METHOD_NOT_ALLOWED"),
    ):
        socket.writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answered, document = await socket.answer()
        assert (answered, document["label"]) == (status, label)


async def test_control_answers_loopback_only(gateio):
    answer = gateio.simulator.control.answer(
        Request(
            method="GET", path="/_control/audit", query="", headers={}, body=b"", peer="10.1.2.3"
        )
    )
    assert answer.status == 403


async def test_control_names_what_it_does_not_know(gateio):
    with pytest.raises(ControlRefused, match="NOT_FOUND"):
        await gateio.control._ask("GET", "nothing")
    await gateio.control.create_account("twice", "s")
    with pytest.raises(ControlRefused, match="key"):
        await gateio.control.create_account("twice", "s")


async def test_stopping_ends_hanging_requests_at_once(gateio):
    await gateio.control.create_account("key", "secret")
    await gateio.control.set_faults(Rule(kind="hang_before", seconds=60))
    host, port = gateio.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(order("t-hang"))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(3):
        await gateio.simulator.stop()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_the_ceiling_is_measured_with_every_order_accepted():
    measured = await measure(orders=200, connections=8)
    assert measured["statuses"] == {"201": 200}
