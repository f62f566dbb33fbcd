"""A PostgreSQL cluster of our own: Unix socket only, durable, never run as root.

PostgreSQL refuses to run as root. Called by root, it runs

- as the system user `postgres` by setpriv(1), where that user can reach `var/`; the data is then
  that user's and nobody's else;
- else (a clone under /root) in a user namespace in which root is `nobody`: the server keeps its
  access to root's files but has no capability;
- else (a container or a chroot, which forbid namespaces) as `postgres` with one capability of root's
  left, to pass through directories that are closed to it. That lets the server read, not write,
  other files of this machine: its superuser logs in by a socket that is closed to all but root.

The owner of the data directory says which was chosen at `create`: root for the namespace, `postgres`
for the others, of which the last is taken where the directory is out of reach at a start.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from ops.paths import Places, make_private
from ops.stack.child import Server, dying_with_parent
from tenancy.errors import ConfigurationError, Unavailable

SUPERUSER = "portcullis_bootstrap"
DATABASE = "portcullis"
PORT = 5432
NAMESPACE = ["--user", "--map-user=65534", "--map-group=65534"]
PASSING = [
    f"--{which}=-all,+dac_read_search" for which in ("bounding-set", "inh-caps", "ambient-caps")
]
NOBODY_MAY = (
    "PostgreSQL will not run as root, the system user `postgres` cannot reach this directory, and "
    "this machine allows neither user namespaces nor root's way past closed directories. Clone to a "
    "place that others may pass through (/srv, /opt), or run as an ordinary user."
)

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_level": "replica",
    "max_wal_size": "2GB",
    "max_slot_wal_keep_size": "8GB",  # an archive that is away must not fill this disk
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
}


def binaries() -> Path:
    """The newest installed server's bin directory (Debian leaves it off PATH).

    Raises ConfigurationError where PostgreSQL's server is not installed.
    """
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4])
    )
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise ConfigurationError("PostgreSQL's server is not installed: apt-get install postgresql")
    return Path(on_path).resolve().parent


class Postgres(Server):
    """The cluster under `places`. `create()` it once."""

    name = "postgres"
    stop_signal = signal.SIGINT  # fast: ends sessions, checkpoints, leaves nothing to recover
    start_timeout_s = 60.0
    stop_timeout_s = 30.0
    when_orphaned = "INT"
    """What it gets when its parent dies: as above."""

    def __init__(self, places: Places, more: Mapping[str, str] | None = None) -> None:
        """`more`: settings beside SETTINGS, of which they win: a recovery's, say."""
        super().__init__(places.log / "postgres.log")
        self._settings = {**SETTINGS, **(more or {})}
        self.data = places.var / "postgres"
        self.socket_dir = places.runtime / "pg"

    def exists(self) -> bool:
        return (self.data / "PG_VERSION").exists()

    def create(self) -> None:
        """initdb. Raises ConfigurationError where there is data already, or nobody may run it."""
        if self.exists():
            raise ConfigurationError(f"{self.data} holds a cluster already")
        binary = str(binaries() / "initdb")
        self.data.parent.mkdir(parents=True, exist_ok=True)
        owner = self._choose_owner()
        self.data.mkdir(mode=0o700, exist_ok=True)  # an empty one is what an init cut short leaves
        if owner is not None:
            os.chown(self.data, owner.pw_uid, owner.pw_gid)
        options = ["-D", str(self.data), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8"]
        options += ["--locale=C.UTF-8", "--data-checksums"]
        done = subprocess.run(
            self._as_owner([binary, *options]), capture_output=True, text=True, cwd="/", check=False
        )
        if done.returncode != 0:
            shutil.rmtree(self.data)
            raise ConfigurationError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")

    def adopt(self) -> None:
        """Give a data directory that was copied here to who will run it. Raises Unavailable."""
        owner = self._choose_owner()
        self.data.chmod(0o700)
        if owner is not None:
            for path in (self.data, *self.data.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)

    def prepare(self) -> None:
        """The socket's directory, which may be in /tmp and gone after a boot: ours alone, 0700."""
        if not self.exists():
            raise ConfigurationError(f"{self.data} is missing: `portcullis init` makes it")
        make_private(self.socket_dir.parent)
        self.socket_dir.mkdir(exist_ok=True)
        found = self.data.stat()
        os.chown(self.socket_dir, found.st_uid, found.st_gid)
        self.socket_dir.chmod(0o700)

    def command(self) -> list[str]:
        """What a supervisor runs in the foreground."""
        binary = Path((self.data / "PG_VERSION").read_text().strip())
        own = Path(f"/usr/lib/postgresql/{binary}/bin/postgres")
        server = str(own if own.exists() else binaries() / "postgres")
        words = [server, "-D", str(self.data)]
        named = {**self._settings, "unix_socket_directories": str(self.socket_dir)}
        for key, value in named.items():
            words += ["-c", f"{key}={value}"]
        return self._as_owner(words)

    def ready(self) -> bool:
        try:
            psycopg.connect(self.superuser("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def superuser(self, database: str = DATABASE) -> str:
        """Connection string above row-level security: for making roles, never for the product."""
        return self._conninfo(SUPERUSER, database)

    def conninfo(self, role: str) -> str:
        """Connection string of `portcullis_<role>`."""
        return self._conninfo(f"portcullis_{role}", DATABASE)

    def create_database(self) -> None:
        """The roles of ops/migrations/0001_ground.sql and an empty database. May be run again."""
        with psycopg.connect(self.superuser("postgres"), autocommit=True) as conn:
            create_roles(conn)
            if not _exists(conn, "SELECT 1 FROM pg_database WHERE datname = %s", DATABASE):
                conn.execute(
                    sql.SQL("CREATE DATABASE {} OWNER portcullis_owner").format(
                        sql.Identifier(DATABASE)
                    )
                )
            conn.execute(
                sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(DATABASE))
            )
            for role in LOGIN_ROLES:
                conn.execute(
                    sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                        sql.Identifier(DATABASE), sql.Identifier(f"portcullis_{role}")
                    )
                )

    def _conninfo(self, user: str, database: str) -> str:
        return psycopg.conninfo.make_conninfo(
            host=str(self.socket_dir), port=PORT, user=user, dbname=database
        )

    def _choose_owner(self) -> pwd.struct_passwd | None:
        """Whose the data shall be: None is ours (not root, or root in a namespace).

        Raises Unavailable where nobody may run it here.
        """
        if os.geteuid() != 0:
            return None
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            user = None
        if user is not None and self._is_reached(_become(user.pw_uid, user.pw_gid)):
            return user
        if _works(["unshare", *NAMESPACE, "--", "true"]):
            return None
        if user is not None and self._is_reached(_become(user.pw_uid, user.pw_gid) + PASSING):
            return user
        raise Unavailable(NOBODY_MAY)

    def _is_reached(self, become: list[str]) -> bool:
        """Whether setpriv with these options comes as far as the data directory.

        Looks up a name beyond it: access(2), which `test -x` asks, leaves capabilities out.
        """
        return _works(["setpriv", *become, "--", "test", "-e", f"{self.data.parent}/."])

    def _as_owner(self, command: list[str]) -> list[str]:
        if os.geteuid() != 0:
            return dying_with_parent(self.when_orphaned, command)
        owner = self.data.stat()
        if owner.st_uid != 0:
            become = _become(owner.st_uid, owner.st_gid)
            if not self._is_reached(become):
                become += PASSING
            return ["setpriv", "--pdeathsig", self.when_orphaned, *become, "--", *command]
        if not _works(["unshare", *NAMESPACE, "--", "true"]):
            raise Unavailable(NOBODY_MAY)
        return ["unshare", *NAMESPACE, "--", *dying_with_parent(self.when_orphaned, command)]


LOGIN_ROLES = ("owner", "admin", "ingress", "worker", "recorder")


def create_roles(conn: psycopg.Connection) -> None:
    """The cluster-wide roles, where they are missing; a role that exists is left as it is."""
    for role in (*LOGIN_ROLES, "finder"):
        name = f"portcullis_{role}"
        if _exists(conn, "SELECT 1 FROM pg_roles WHERE rolname = %s", name):
            continue
        login = sql.SQL("NOLOGIN" if role == "finder" else "LOGIN")
        conn.execute(
            sql.SQL("CREATE ROLE {} {} NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS").format(
                sql.Identifier(name), login
            )
        )
    conn.execute("GRANT portcullis_finder TO portcullis_owner")


def _exists(conn: psycopg.Connection, query: str, name: str) -> bool:
    return conn.execute(query.encode(), (name,)).fetchone() is not None


def _become(uid: int, gid: int) -> list[str]:
    return [f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]


def _works(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True, cwd="/").returncode == 0
