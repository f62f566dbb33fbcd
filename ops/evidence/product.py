"""Of the product itself: the doctor's word, readiness, metrics pages, logs since the wished time."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from ops.doctor.examination import examined
from ops.doctor.looking import in_thread
from ops.doctor.report import document, plain
from ops.evidence import logs as chosen
from ops.evidence.collection import File, Gap, Wish, as_json
from ops.probe import get

LOG_MOST_BYTES = 16 << 20
SERVERS = ("postgres",)
"""Whose logs repeat statements."""


async def doctor(wish: Wish) -> AsyncIterator[File | Gap]:
    """The same examination as `portcullis doctor`."""
    began = datetime.now(UTC)
    findings = await examined(wish.ground)
    yield File("doctor.json", as_json(document(findings, began)), "portcullis doctor --json")
    yield File("doctor.txt", plain(findings), "portcullis doctor")


async def pages(wish: Wish) -> AsyncIterator[File | Gap]:
    """`/readyz` and `/metrics` of each process that has them."""
    state = wish.ground.state
    if state is None:
        yield Gap("metrics and readiness", "nothing of ours runs")
        return
    for name, sock in state.health.items():
        for path, file in (("/readyz", f"ready/{name}.json"), ("/metrics", f"metrics/{name}.txt")):
            try:
                _, body = await get(sock, path)
            except (OSError, TimeoutError, ValueError, LookupError) as error:
                yield Gap(file, f"{name} does not answer: {type(error).__name__}")
                continue
            yield File(file, body.decode(errors="replace"), f"{path} of {name}")


async def logs(wish: Wish) -> AsyncIterator[File | Gap]:
    """Each log's lines from the wished time on, the last 16 MiB at most."""
    directory = wish.ground.settings.instance.var / "log"
    try:
        files = sorted(path for path in directory.iterdir() if path.is_file())
    except OSError as error:
        yield Gap(f"logs in {directory}", str(error.strerror))
        return
    for path in files:
        try:
            text, cut = await in_thread(tail, path)
        except OSError as error:
            yield Gap(f"log {path.name}", str(error.strerror))
            continue
        lines = chosen.since(text.splitlines(), wish.since)
        if path.stem in SERVERS:
            lines = chosen.without_statements(lines)
        if cut:
            yield Gap(
                f"log {path.name}, its beginning",
                f"only its last {LOG_MOST_BYTES >> 20} MiB were read",
            )
        yield File(
            f"logs/{path.name}",
            "".join(f"{line}\n" for line in lines),
            f"{path} since {wish.since.isoformat()}",
        )


def tail(path: Path) -> tuple[str, bool]:
    """The end of a file, whole lines, and whether something before it was left out. Raises OSError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        cut = size > LOG_MOST_BYTES
        if cut:
            file.seek(size - LOG_MOST_BYTES)
            file.readline()  # it begins in the middle
        return file.read(LOG_MOST_BYTES).decode(errors="backslashreplace"), cut
