"""A witness on HTTP: standard library alone, keep-alive, bounded in bytes, seconds and connections.

Plain HTTP on this side of a proxy: what comes in is signed by the log, what goes out by the witness, and a
request without the log's signature learns nothing. But a refusal is not signed, and stops trading: across a
network our recorder asks only witnesses behind TLS (audit/cosigning.py), so there a proxy stands before this.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any

from audit.witness.decide import Answer
from audit.witness.request import MOST_BYTES
from audit.witness.witness import Witness

CONNECTIONS_MAX = 64
IDLE_S = 30.0
"""How long a connection may say nothing, within a request or between two."""
ADD = "/add-checkpoint"


class Server(ThreadingHTTPServer):
    """Serves one witness on `address` from construction to `server_close()`; port 0 takes a free one."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, witness: Witness, address: tuple[str, int]) -> None:
        self.witness = witness
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)  # full: the log asks again
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        error = sys.exception()
        if not isinstance(error, OSError):  # a client that went away is no news
            sys.stderr.write(f"witness: {client_address}: {error!r}\n")


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "portcullis-witness", ""
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        if self.path != ADD:
            self._say(Answer(404, b"there is nothing here\n"))
            return
        try:
            answer = self.server.witness.add(body)
        except sqlite3.Error as error:
            sys.stderr.write(f"witness: its memory fails: {error}\n")
            answer = Answer(503, b"the witness cannot remember now\n")
        self._say(answer)

    def do_GET(self) -> None:
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # a body that nobody reads would be the next request
        if self.path == ADD:
            self._say(Answer(405, b"POST it\n", headers={"Allow": "POST"}))
            return
        origin_hash, slash, rest = self.path.removeprefix("/").partition("/")
        known = slash and rest == "checkpoint"
        self._say(self.server.witness.show(origin_hash if known else ""))

    def _body(self) -> bytes | None:
        """The request's body, or None where it was refused; the connection ends then."""
        length = self.headers.get("Content-Length")
        answer = None
        if "Transfer-Encoding" in self.headers or length is None:
            answer = Answer(411, b"a Content-Length is needed\n")
        elif not (length.isascii() and length.isdecimal() and len(length) < 10):
            answer = Answer(400, b"this is no Content-Length\n")
        elif int(length) > MOST_BYTES:
            answer = Answer(413, b"the request is too long\n")
        if answer is None and length is not None:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                return body
            answer = Answer(400, b"the request is cut short\n")
        self.close_connection = True
        if answer is not None:
            self._say(answer)
        return None

    def _say(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the witness's memory is its record."""
