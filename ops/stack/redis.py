"""A Redis (or Valkey) of our own: Unix socket only, nothing kept on disk.

Losing it loses time, never a signal or an order, and a restart that comes back empty is what the
product must survive anyway: so nothing is written.
"""

from __future__ import annotations

import shutil
import signal
import subprocess

from redis import Redis
from redis.exceptions import RedisError

from ops.paths import Places, make_private
from ops.stack.child import dying_with_parent, spawn, wait_until
from tenancy.errors import ConfigurationError

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0


def binary() -> str:
    """Raises ConfigurationError where neither server is installed."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise ConfigurationError("no Redis is installed: apt-get install redis-server")
    return found


class RedisServer:
    """`command()` for a supervisor, or `start()` and `stop()`."""

    name = "redis"
    stop_signal = signal.SIGTERM

    def __init__(self, places: Places) -> None:
        self.socket = places.runtime / "redis.sock"
        self.log = places.log / "redis.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def prepare(self) -> None:
        make_private(self.socket.parent)

    def command(self) -> list[str]:
        words = [binary(), "--port", "0", "--unixsocket", str(self.socket)]
        words += ["--unixsocketperm", "700", "--save", "", "--appendonly", "no"]
        words += ["--dir", str(self.socket.parent), "--daemonize", "no"]
        words += ["--maxmemory", "256mb", "--maxmemory-policy", "noeviction"]
        return dying_with_parent("TERM", words)

    def start(self) -> None:
        """Returns when it answers. Raises Unavailable."""
        self.prepare()
        self._process = spawn(self.command(), self.log)
        wait_until(self.ready, self._process, self.log, START_TIMEOUT_S)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(self.stop_signal)
            self._process.wait(STOP_TIMEOUT_S)
            self._process = None

    def ready(self) -> bool:
        try:
            with Redis(unix_socket_path=str(self.socket)) as client:
                return bool(client.ping())
        except (RedisError, OSError):
            return False
