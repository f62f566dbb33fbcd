"""The exchange at a Unix socket, one JSON object a line; and the two links to an exchange, near and far."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadtest.exchanges.shioaji.exchange import Connection, Exchange, Refused
from loadtest.exchanges.shioaji.faults import Fault
from loadtest.exchanges.shioaji.showing import Event

CONNECTED = frozenset({"login", "place", "cancel", "update", "status"})
PLAIN = frozenset({"usage", "positions", "margin", "balance", "snapshots", "contracts"})
CONTROL = frozenset({"set_price", "release", "fill"})


def perform(exchange: Exchange, connection: Connection, op: str, args: list[Any]) -> Any:
    """One call, whoever asks. Raises Refused."""
    if op == "health":
        return exchange.health
    if op == "fault":
        exchange.faults.rules.append(Fault(**args[0]))
        return None
    if op == "look":
        return {
            "orders": len(exchange.orders),
            "happened": exchange.faults.happened,
            "most_connections": exchange.limits.most_connections,
            "connections": exchange.limits.connections,
            "logins": exchange.limits.logins,
            "most_in_flight": exchange.limits.most_in_flight,
            "worst_order_ops": exchange.limits.order_ops.worst,
            "in_flight": sum(exchange.limits.in_flight.values()),
        }
    if op in CONNECTED:
        return getattr(exchange, op)(connection, *args)
    if op in PLAIN | CONTROL:
        return getattr(exchange, op)(*args)
    raise Refused("BadRequestError", f"no such call: {op}")


class LocalLink:
    """To an exchange in this process."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._connection: Connection | None = None

    def open(self, tell: Callable[[list[Event]], None], down: Callable[[], None]) -> None:
        self._connection = Connection(tell, down)

    def call(self, op: str, *args: Any) -> Any:
        assert self._connection is not None, "login first"
        return perform(self._exchange, self._connection, op, list(args))

    def close(self) -> None:
        if self._connection is not None:
            self._exchange.logout(self._connection)


class SocketLink:
    """To an exchange at a socket. Calls may be under way at once; answers come by number."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._number = 0
        self._answers: dict[int, Any] = {}
        self._came = threading.Condition()
        self._ended = False
        self._tell: Callable[[list[Event]], None] = lambda _: None
        self._down: Callable[[], None] = lambda: None

    def open(self, tell: Callable[[list[Event]], None], down: Callable[[], None]) -> None:
        self._tell, self._down = tell, down
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(self._path)
        except OSError as error:
            raise Refused("ShioajiConnectionError", str(error)) from None
        threading.Thread(target=self._read, name="exchange", daemon=True).start()

    def call(self, op: str, *args: Any) -> Any:
        with self._lock:
            self._number += 1
            number = self._number
            line = json.dumps({"number": number, "op": op, "args": args}) + "\n"
            try:
                self._socket.sendall(line.encode())
            except OSError as error:
                raise Refused("ShioajiConnectionError", str(error)) from None
        with self._came:
            self._came.wait_for(lambda: number in self._answers or self._ended)
            said = self._answers.pop(number, None)
        if said is None:
            raise Refused("ShioajiConnectionError", "the connection was reset")
        if "refused" in said:
            raise Refused(*said["refused"])
        return said["answer"]

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _read(self) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    said = json.loads(line)
                    if "events" in said:
                        self._tell([(state, event) for state, event in said["events"]])
                    elif "down" in said:
                        self._down()
                    else:
                        with self._came:
                            self._answers[said["number"]] = said
                            self._came.notify_all()
        except OSError:
            pass
        with self._came:
            self._ended = True
            self._came.notify_all()
        self._down()


class ExchangeServer:
    """An exchange at a Unix socket; a thread for each connection, and one for each call."""

    def __init__(self, exchange: Exchange, path: Path) -> None:
        self.exchange, self.path = exchange, path
        self._listener = socket.socket(socket.AF_UNIX)
        self._open: list[socket.socket] = []

    def start(self) -> None:
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, name="exchange-accept", daemon=True).start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            each.close()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        lock = threading.Lock()

        def say(said: dict[str, Any]) -> None:
            try:
                with lock:
                    peer.sendall((json.dumps(said) + "\n").encode())
            except OSError:
                pass  # it hung up; what was done is done

        connection = Connection(lambda events: say({"events": events}), lambda: say({"down": True}))

        def answer(asked: dict[str, Any]) -> None:
            try:
                value = perform(self.exchange, connection, asked["op"], asked["args"])
                say({"number": asked["number"], "answer": value})
            except Refused as refused:
                say({"number": asked["number"], "refused": [refused.name, str(refused)]})

        try:
            with peer.makefile("rb") as lines:
                for line in lines:
                    threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()
        except OSError:
            pass
        self.exchange.logout(connection)
        peer.close()
