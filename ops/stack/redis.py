"""A Redis (or Valkey) of our own: Unix socket only, nothing kept on disk.

Losing it loses time, never a signal or an order, and a restart that comes back empty is what the
product must survive anyway: so nothing is written.
"""

from __future__ import annotations

import shutil
import signal

from redis import Redis
from redis.exceptions import RedisError

from ops.paths import Places, make_private
from ops.stack.child import Server, dying_with_parent
from tenancy.errors import ConfigurationError


def binary() -> str:
    """Raises ConfigurationError where neither server is installed."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise ConfigurationError("no Redis is installed: apt-get install redis-server")
    return found


class RedisServer(Server):
    """The server under `places`."""

    name = "redis"
    stop_signal = signal.SIGTERM
    start_timeout_s = 15.0
    stop_timeout_s = 10.0

    def __init__(self, places: Places) -> None:
        super().__init__(places.log / "redis.log")
        self.socket = places.runtime / "redis.sock"

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

    def ready(self) -> bool:
        try:
            with Redis(unix_socket_path=str(self.socket)) as client:
                return bool(client.ping())
        except (RedisError, OSError):
            return False
