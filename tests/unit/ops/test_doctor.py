"""The examination itself: it always ends, one look costs the others nothing, and its status says what it found."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ops.doctor import start
from ops.doctor.examination import SUBJECTS, Subject, examined
from ops.doctor.finding import Finding, exit_status, well, worst_first
from ops.doctor.looking import Ground, in_child, in_thread
from ops.doctor.report import document, plain
from ops.preflight import Finding as Preflight
from tenancy.errors import Unavailable

WRONG = Finding("disk", "room", "wrong", "0 B free", "make room")
UNSEEN = Finding("HSM", "signer", "unseen", "nothing runs", "start it")
WARNING = Finding("clock", "error", "warning", "unknown", "install chrony")
WELL = well("redis", "reach", "answers")
DOWN: Any = Ground(None, Path("/nowhere"), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ([WELL], 0),
        ([WELL, WARNING], 0),
        ([WELL, UNSEEN], 2),
        ([WELL, UNSEEN, WRONG], 1),
        ([], 2),
    ],
)
def test_the_status_is_1_for_what_is_wrong_and_2_for_what_was_not_seen(
    found: list[Finding], status: int
) -> None:
    assert exit_status(found) == status


def test_the_worst_comes_first() -> None:
    assert worst_first([WELL, WARNING, UNSEEN, WRONG]) == [WRONG, UNSEEN, WARNING, WELL]


def test_nothing_that_is_not_well_goes_without_a_word_about_what_to_do() -> None:
    with pytest.raises(ValueError, match="not what to do"):
        Finding("disk", "room", "wrong", "0 B free")


def test_the_report_says_what_was_seen_and_below_it_what_to_do() -> None:
    page = plain([WRONG, WELL])
    assert page.index("0 B free") < page.index("→ make room") < page.index("answers")
    assert page.rstrip().endswith("1 wrong, 1 well")


def test_programs_get_the_same() -> None:
    said = document([WRONG, WELL], datetime(2026, 11, 22, tzinfo=UTC))
    assert (said["status"], said["counts"]["wrong"], said["counts"]["well"]) == (1, 1, 1)


async def test_a_look_that_hangs_costs_its_own_finding_and_no_other() -> None:
    """It hangs in a thread, as a frozen server would have it; nobody joins that thread."""
    release = threading.Event()

    async def hangs(_: Ground) -> list[Finding]:
        await in_thread(release.wait)
        return [WELL]

    async def quick(_: Ground) -> list[Finding]:
        return [WELL]

    found = await examined(DOWN, (Subject("frozen", hangs, 0.05), Subject("redis", quick, 5.0)))
    release.set()
    assert [(one.subject, one.level) for one in found] == [("frozen", "unseen"), ("redis", "well")]
    assert "within 0.05 s" in found[0].seen


async def test_a_look_that_breaks_says_so_and_shows_no_secret() -> None:
    async def breaks(_: Ground) -> list[Finding]:
        raise RuntimeError("no route to rediss://:hunter22@cache:6379")

    (found,) = await examined(DOWN, (Subject("Redis", breaks, 5.0),))
    assert found.level == "unseen"
    assert "RuntimeError" in found.seen
    assert "hunter22" not in found.seen


async def test_what_needs_the_product_is_not_asked_while_nothing_runs() -> None:
    async def asks(_: Ground) -> list[Finding]:
        raise AssertionError("it was asked")

    (found,) = await examined(DOWN, (Subject("HSM", asks, 5.0, needs_us=True),))
    assert (found.level, found.seen) == ("unseen", "nothing runs")


def test_every_subject_has_a_deadline_that_a_person_waits_for() -> None:
    assert all(0 < subject.within_s <= 15 for subject in SUBJECTS)
    assert len({subject.name for subject in SUBJECTS}) == len(SUBJECTS)


async def test_what_a_thread_raises_reaches_who_waits() -> None:
    def breaks() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await in_thread(breaks)


async def test_a_late_thread_finds_nobody_and_disturbs_nobody() -> None:
    release, done = threading.Event(), threading.Event()

    def late() -> str:
        release.wait()
        done.set()
        return "late"

    waiting = asyncio.create_task(in_thread(late))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    release.set()
    assert await asyncio.to_thread(done.wait, 5.0)
    assert waiting.cancelled()


def test_a_child_that_does_not_end_is_given_up() -> None:
    """As a flush on a disk that failed: it is killed, and nobody waits for its end."""
    with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
        in_child("timeit", "-n", "1", "-r", "1", "import time; time.sleep(60)", within_s=0.2)


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(Unavailable, match="No such file or directory"):
        in_child("ops.doctor.fsync", "/does/not/exist", within_s=20.0)


def test_a_flush_is_measured_by_a_child_and_leaves_nothing(tmp_path: Path) -> None:
    took = [
        float(line) for line in in_child("ops.doctor.fsync", str(tmp_path), within_s=20.0).split()
    ]
    assert took
    assert min(took) > 0
    assert list(tmp_path.iterdir()) == []


def test_preflights_findings_are_the_doctors_and_each_says_what_to_do() -> None:
    found = start.judge(
        [
            Preflight("schema", "pending: 0030_more"),
            Preflight("certificate /tls/server.pem", None),
            Preflight("disk space", "3 MiB free, 1024 are needed"),
        ]
    )
    assert [(one.what, one.level) for one in found] == [("schema", "wrong"), ("preflight", "well")]
    assert "portcullis migrate" in found[0].then
    assert found[1].seen == "1 of 2 checks pass"


def test_the_flush_child_imports_nothing_of_ours_but_its_packages() -> None:
    """On a sick machine each import is a risk."""
    code = "import sys, ops.doctor.fsync; print([m for m in sys.modules if m.startswith('ops.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['ops.doctor', 'ops.doctor.fsync']"
