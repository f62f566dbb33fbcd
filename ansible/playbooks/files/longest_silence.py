"""How long did answers stand still? Asks one thing over and over, and says the longest time between two answers.

    python longest_silence.py SECONDS postgresql SETTINGS
    python longest_silence.py SECONDS redis SETTINGS
    python longest_silence.py SECONDS tcp ADDRESS PORT

Runs on a host of the product, by its Python and by the ways that its settings name; prints one JSON object.
`postgresql` asks for a transaction's number, which takes a commit, and so waits for a standby as every commit
does; no table is touched.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

EVERY_S = 0.05
WITHIN_S = 3.0

Ask = Callable[[], None]
"""Returns when there was an answer; raises where there was none."""


def watch(ask: Ask, for_s: float) -> dict[str, float | int]:
    """`longest_silence_s` counts from an answer to the next; what never came back counts until the end."""
    began = answered = time.monotonic()
    longest, attempts, failed = 0.0, 0, 0
    while time.monotonic() - began < for_s:
        attempts += 1
        try:
            ask()
        except Exception:  # whatever it is, it was no answer
            failed += 1
        else:
            now = time.monotonic()
            longest, answered = max(longest, now - answered), now
        time.sleep(EVERY_S)
    longest = max(longest, time.monotonic() - answered)
    return {"longest_silence_s": round(longest, 3), "attempts": attempts, "failed": failed}


def tcp(address: str, port: str) -> Ask:
    """A connection of its own each time, as a sender makes one."""

    def ask() -> None:
        socket.create_connection((address, int(port)), WITHIN_S).close()

    return ask


def redis(settings: str) -> Ask:
    """A write, the way that processes take."""
    from redis import Redis

    from ops.settings import read_settings

    asked = Redis.from_url(read_settings(Path(settings)).redis.url, socket_timeout=WITHIN_S)

    def ask() -> None:
        asked.set("portcullis:drill", "1", px=1000)

    return ask


def postgresql(settings: str) -> Ask:
    """One connection as long as it lasts, then another, as the pools of processes do."""
    import psycopg

    from ops.settings import read_settings

    conninfo = read_settings(Path(settings)).database.owner
    held: list[psycopg.Connection] = []

    def ask() -> None:
        if not held:
            held.append(psycopg.connect(conninfo, autocommit=True, connect_timeout=int(WITHIN_S)))
        try:
            held[0].execute("SELECT pg_current_xact_id()")
        except psycopg.Error:
            held.pop().close()
            raise

    return ask


WAYS: dict[str, Callable[..., Ask]] = {"tcp": tcp, "redis": redis, "postgresql": postgresql}


def main() -> None:
    for_s, way, *words = sys.argv[1:]
    print(json.dumps(watch(WAYS[way](*words), float(for_s))))  # noqa: T201 - this is what it is for


if __name__ == "__main__":
    main()
