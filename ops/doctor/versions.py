"""What runs here, in which version: the first thing that anybody asks who is called at night."""

from __future__ import annotations

import platform
import ssl
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from ops.doctor.finding import Finding, well
from ops.doctor.looking import Ground, in_thread
from ops.migrate import read_migrations

SUBJECT = "versions"
PYTHON_LEAST = (3, 11)


class Seen(NamedTuple):
    portcullis: str
    schema: int
    python: tuple[int, int, int]
    openssl: str
    kernel: str


async def examine(_: Ground) -> list[Finding]:
    return judge(await in_thread(look))


def look() -> Seen:
    try:
        ours = version("portcullis")
    except PackageNotFoundError:
        ours = "not installed, from a clone"
    schema = max(one.number for one in read_migrations())
    return Seen(ours, schema, sys.version_info[:3], ssl.OPENSSL_VERSION, platform.release())


def judge(seen: Seen) -> list[Finding]:
    python = ".".join(map(str, seen.python))
    text = (
        f"Portcullis {seen.portcullis}, schema {seen.schema:04}, Python {python}, {seen.openssl},"
        f" Linux {seen.kernel}"
    )
    if seen.python < PYTHON_LEAST:
        return [Finding(SUBJECT, "ours", "wrong", text, "Python 3.11 or newer is needed.")]
    return [well(SUBJECT, "ours", text)]
