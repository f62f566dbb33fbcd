"""The floor of everything durable: PostgreSQL's own pgbench, one small INSERT and its commit at a time.

On the same cluster with the same settings (fsync on), in a table of its own without index, policy or
trigger. Nobody who keeps rows one by one is faster; who is, commits several together.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import msgspec
import psycopg

from ops.bench.measure import percentile
from ops.stack.postgres import binaries
from tenancy.errors import ConfigurationError, Unavailable

_TABLE = "CREATE TABLE IF NOT EXISTS bench_commits (body bytea NOT NULL)"
_SCRIPT = "INSERT INTO bench_commits VALUES (decode(repeat('61', 300), 'hex'));\n"


class Commits(msgspec.Struct, frozen=True):
    """What one turn measured."""

    per_s: float
    p50_ms: float
    p99_ms: float


async def commits(conninfo: str, *, clients: int, seconds: int) -> Commits:
    """Run pgbench so long, with so many connections. Raises Unavailable, ConfigurationError."""
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute(_TABLE)
    with tempfile.TemporaryDirectory(prefix="pc-pgbench-") as name:
        directory = Path(name)
        (directory / "insert.sql").write_text(_SCRIPT)
        await _pgbench(conninfo, directory, clients, seconds)
        took = _milliseconds(directory)
    if not took:
        raise Unavailable("pgbench wrote no transaction into its log")
    return Commits(len(took) / seconds, percentile(took, 50), percentile(took, 99))


async def _pgbench(conninfo: str, directory: Path, clients: int, seconds: int) -> None:
    options = ["-n", "-M", "prepared", "-f", "insert.sql", "-c", str(clients), "-j", "1"]
    options += ["-T", str(seconds), "-l", "--log-prefix=log", conninfo]
    program = binaries() / "pgbench"
    if not program.exists():
        raise ConfigurationError(f"{program} is not installed: Debian has it in `postgresql`")
    process = await asyncio.create_subprocess_exec(
        str(program), *options, cwd=directory,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    if process.returncode != 0:
        raise Unavailable(f"pgbench ended with status {process.returncode}: {errors.decode()}")


def _milliseconds(directory: Path) -> list[float]:
    """The third word of each line is the transaction's time in microseconds (pgbench -l)."""
    lines = [line for log in directory.glob("log.*") for line in log.read_text().splitlines()]
    return [int(line.split()[2]) / 1000 for line in lines]
