"""What runs on this host, in which order, on which sockets: the product under one supervisor.

`python -m ops.processes --settings FILE` is that supervisor, in the foreground; `portcullis up`
starts it and waits (ops/control.py). It opens the listening sockets of ingress and admin once and
hands them to the children, so that a restarted or an additional ingress misses no connection.

Stage 0 is started first, then the rest at once; they are stopped from the last stage to the first.

| stage | processes |
| --- | --- |
| 0 | PostgreSQL, Redis, where `[stack]` says that they are ours |
| 1 | signer, enroller, the clock agent, the WAL archive (`[backup]`), the sealer (`[recorder]`) |
| 2 | recorder |
| 3 | workers; a session's keeper for each person of `[brokers.shioaji]` |
| 4 | admin, ingress |
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NamedTuple

import structlog

import ops
from hsm.hardening import FREED_IS_OVERWRITTEN, harden
from hsm.listening import listen as listen_unix
from ops.listener_settings import ListenerSettings, check_socket_path
from ops.paths import Places
from ops.probe import accepts, is_ready
from ops.settings import Settings, read_settings
from ops.stack.child import Server
from ops.stack.postgres import Postgres
from ops.stack.redis import RedisServer
from ops.state import State, identify, write_state
from ops.stores import sealed_directories
from ops.supervisor import Spec, Supervisor, python_child
from ops.telemetry import set_up_logging
from tenancy.errors import ConfigurationError, PortcullisError

ROOT = Path(ops.__file__).parent.parent
BACKLOG = 2048
PROXY_MAY = 0o660
"""A listener behind a proxy: for our user, and the group that the directory gives to its files."""

log = structlog.get_logger()


def health_socket(settings: Settings, process: str, index: int = 0) -> Path:
    """Where ops/health.py of that process listens."""
    return settings.instance.runtime / f"{process}-{index}.health"


def open_listener(at: ListenerSettings) -> socket.socket:
    """The listening socket of ingress or admin, all of whose processes share it. Raises ConfigurationError."""
    if at.address is not None:
        return listen(*at.address)
    assert at.socket is not None
    return listen_unix(at.socket, PROXY_MAY)


def listen(host: str, port: int) -> socket.socket:
    """The listening socket of ingress or admin. Raises ConfigurationError where it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by connections
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror}. "
            "Another Portcullis may be running; `ss -ltnp` says who has the port"
        ) from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def specs(settings: Settings, file: Path, ingress_fd: int, admin_fd: int) -> list[Spec]:
    """Every process of this host."""
    places = Places(settings.instance.var, settings.instance.runtime)

    def ours(process: str, stage: int, index: int = 0, fd: int | None = None) -> Spec:
        words = [process, "--settings", str(file), "--index", str(index)]
        words += [] if fd is None else ["--fd", str(fd)]
        ready_at = health_socket(settings, process, index)
        check_socket_path(ready_at, process)
        return Spec(
            name=f"{process}-{index}",
            stage=stage,
            command=lambda: python_child("ops.run", *words),
            ready=lambda: is_ready(ready_at),
            log=places.log / f"{process}-{index}.log",
            cwd=ROOT,
            socket=ready_at,
            tells_health=True,
            pass_fds=() if fd is None else (fd,),
            environment=FREED_IS_OVERWRITTEN if process == "admin" else {},
        )

    return [
        *_stack(settings, places),
        _hsm_daemon(
            "signer",
            settings.hsm.signer_config,
            settings.hsm.signer_socket,
            places,
            knock=settings.hsm.admin_socket,
        ),
        *(
            _hsm_daemon("signer", more.config, more.socket, places, f"signer{index}")
            for index, more in enumerate(settings.hsm.more_signers, 2)
        ),
        _hsm_daemon("enroller", settings.hsm.enroller_config, settings.hsm.enroller_socket, places),
        *_own_program("clock", "ops.clock", settings.clock, settings, file, places),
        *_own_program("archive", "ops.backup", settings.backup, settings, file, places),
        *_sealer(settings, places),
        ours("recorder", 2),
        *(ours("session", 3, index) for index in range(_persons(settings))),
        *(ours("worker", 3, index) for index in range(settings.worker.processes)),
        ours("admin", 4, fd=admin_fd),
        *(ours("ingress", 4, index, ingress_fd) for index in range(settings.ingress.processes)),
    ]


class Door(NamedTuple):
    """A process' own socket. `tells_health`: ops/health.py answers there."""

    path: Path
    tells_health: bool


def planned(settings: Settings) -> list[Spec]:
    """Every process of this host by its settings, to be looked at and not to be started."""
    nobody = -1  # listeners are handed to whoever is started
    return specs(settings, Path(), nobody, nobody)


def doors(settings: Settings) -> dict[str, Door]:
    """Of every program of ours that this host runs, by its name."""
    return {
        one.name: Door(one.socket, one.tells_health)
        for one in planned(settings)
        if one.socket is not None
    }


def health_sockets(settings: Settings) -> dict[str, Path]:
    """Of those that ops/health.py answers for."""
    return {name: door.path for name, door in doors(settings).items() if door.tells_health}


def _persons(settings: Settings) -> int:
    """How many sessions of Shioaji: one for each person. Raises ConfigurationError."""
    if "shioaji" not in settings.brokers:
        return 0
    from ops.brokers import shioaji_settings

    table = shioaji_settings(settings.brokers)
    for person in table.persons:
        check_socket_path(table.keeper(person.name), f"brokers.shioaji.persons {person.name}")
    return len(table.persons)


def _own_program(
    name: str, module: str, table: object, settings: Settings, file: Path, places: Places
) -> list[Spec]:
    """The clock agent or the WAL archive, where the settings have its table: programs that need none of
    what ops/compose.py wires."""
    if table is None:
        return []
    ready_at = health_socket(settings, name)
    check_socket_path(ready_at, name)
    return [
        Spec(
            name=f"{name}-0",
            stage=1,
            command=lambda: python_child(module, "--settings", str(file)),
            ready=lambda: is_ready(ready_at),
            log=places.log / f"{name}-0.log",
            cwd=ROOT,
            socket=ready_at,
            tells_health=True,
        )
    ]


def _stack(settings: Settings, places: Places) -> list[Spec]:
    servers: list[Server] = []
    if settings.stack is not None and settings.stack.postgres:
        servers.append(Postgres(places))
    if settings.stack is not None and settings.stack.redis:
        servers.append(RedisServer(places))
    return [_server(server) for server in servers]


def _server(server: Server) -> Spec:
    return Spec(
        name=server.name,
        stage=0,
        command=server.command,
        prepare=server.prepare,
        ready=lambda: asyncio.to_thread(server.ready),
        log=server.log,
        stop_signal=server.stop_signal,
        stop_timeout_s=server.stop_timeout_s,
    )


def _hsm_daemon(
    kind: str, config: Path, sock: Path, places: Places, name: str = "", knock: Path | None = None
) -> Spec:
    """`knock`: the door at which the management listener, too, is let in."""
    return Spec(
        name=name or kind,
        stage=1,
        command=lambda: python_child(f"hsm.{kind}", "--config", str(config)),
        ready=lambda: accepts(sock),
        log=places.log / f"{name or kind}.log",
        cwd=ROOT,
        socket=knock or sock,
    )


def _sealer(settings: Settings, places: Places) -> list[Spec]:
    sock = settings.recorder.sealer
    if sock is None:
        return []
    words = ["--socket", str(sock)]
    for directory in sealed_directories(settings.recorder):
        words += ["--store", str(directory)]

    def make_first() -> None:
        settings.recorder.store.mkdir(parents=True, exist_ok=True)

    return [
        Spec(
            name="sealer",
            stage=1,
            command=lambda: python_child("audit.worm.sealer", *words),
            prepare=make_first,
            ready=lambda: accepts(sock),
            log=places.log / "sealer.log",
            cwd=ROOT,
            socket=sock,
        )
    ]


class Host:
    """The supervisor with its sockets and its state file."""

    def __init__(self, settings: Settings, file: Path) -> None:
        self._settings, self._file = settings, file
        self._state_file = settings.instance.runtime / "state.json"
        self._ready = False
        self._sockets = {name: open_listener(at) for name, at in settings.listeners.items()}
        ingress, admin = (self._sockets[name].fileno() for name in ("ingress", "admin"))
        children = specs(settings, file, ingress, admin)
        self._health = health_sockets(settings)
        self._supervisor = Supervisor(children, self._tell)

    async def run(self, stop: asyncio.Event) -> None:
        self._tell()
        try:
            await self._supervisor.run(stop, self._all_ready)
        finally:
            self._state_file.unlink(missing_ok=True)
            for listener in self._sockets.values():
                listener.close()

    def _all_ready(self) -> None:
        self._ready = True
        self._tell()
        log.info("all_ready", urls=self._urls())

    def _urls(self) -> dict[str, str]:
        """Where each is found on this host; behind a proxy, where the proxy is."""
        ours = self._settings.listeners
        return {
            name: ours[name].base_url
            if ours[name].socket is not None
            else f"https://localhost:{listener.getsockname()[1]}"
            for name, listener in self._sockets.items()
        }

    def _tell(self) -> None:
        me = identify(os.getpid())
        assert me is not None
        running = {child.spec.name: child.process() for child in self._supervisor.children}
        write_state(
            self._state_file,
            State(
                supervisor=me,
                settings=self._file,
                ready=self._ready,
                urls=self._urls(),
                processes={name: process for name, process in running.items() if process},
                health=self._health,
            ),
        )


def claim(settings: Settings) -> int:
    """Take the lock that says one supervisor per runtime directory; held until we end."""
    handle = os.open(settings.instance.runtime / "supervisor.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError(
            "it is running already: `portcullis status` shows it, `portcullis down` ends it"
        ) from None
    return handle


async def supervise(settings: Settings, file: Path) -> None:
    """Run everything until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stop.set)
    await Host(settings, file).run(stop)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.processes", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True)
    file = parser.parse_args(arguments).settings.absolute()
    harden()
    os.umask(0o077)
    try:
        settings = read_settings(file)
        set_up_logging(settings.telemetry.log_level, process="supervisor")
        settings.instance.runtime.mkdir(parents=True, exist_ok=True)
        lock = claim(settings)
        asyncio.run(supervise(settings, file))
        os.close(lock)
    except PortcullisError as error:
        print(f"portcullis: {error}", file=sys.stderr)  # noqa: T201 - before and after logging
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
