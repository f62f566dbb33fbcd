"""What stands against a change, and what moved in a drill: plugins/filter/changes.py, and the watch."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from types import ModuleType
from uuid import UUID

import msgspec
import pytest

from fanout import metrics
from ops.backup.layout import Backup
from ops.cli.keys import rotate
from ops.preflight import Finding
from tenancy.store.hsm_keys import PlatformKey
from tenancy.values import PARTITIONS
from tests.unit.ansible.test_filters import load
from tests.unit.ansible.tree import ANSIBLE

changes = load("changes")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TENANT = UUID(int=7)


def plain(value: object) -> str:
    """As the product's --json prints it."""
    return msgspec.json.encode(value, enc_hook=str).decode()


# ---------------------------------------------------------------- preflight


def test_a_check_that_says_no_is_said_unless_it_may() -> None:
    findings = [Finding("disk space", "12 MiB free"), Finding("schema", "old"), Finding("x", None)]
    told = plain([{"check": one.name, "problem": one.problem} for one in findings])
    assert changes.preflight_refusals(told, []) == ["disk space: 12 MiB free", "schema: old"]
    assert changes.preflight_refusals(told, ["schema"]) == ["disk space: 12 MiB free"]


# ---------------------------------------------------------------- partitions


def test_the_filter_reads_what_workers_say_of_as_many_partitions_as_there_are() -> None:
    assert changes.PARTITIONS == PARTITIONS
    assert metrics.PARTITIONS_HELD.describe()[0].name in changes.HELD.pattern


@pytest.mark.parametrize(
    ("held", "workers", "least"),
    [(0, 6, 1), (1, 6, None), (3, 6, None), (7, 2, 8), (8, 2, None), (16, 2, None), (0, 16, 1), (0, 20, None)],
)  # fmt: skip
def test_a_worker_without_its_share_is_named(held: int, workers: int, least: int | None) -> None:
    said = changes.lease_problem(f"# HELP x\nportcullis_partitions_held {held}.0\n", 1, workers)
    if least is None:
        assert said == ""
    else:
        assert said.startswith(f"worker-1 holds {held} of 16 partitions")
        assert f"should hold {least} at least" in said


def test_a_worker_that_does_not_answer_has_no_share() -> None:
    assert changes.lease_problem("", 0, 2) == "worker-0 does not say how many partitions it holds"


# ---------------------------------------------------------------- backup


def backup(ended_at: datetime) -> Backup:
    return Backup(
        format="1", backup_id="b", installation="i", release="0.1.0", postgres="15", system_identifier="1",
        schema=1, began_at=ended_at, ended_at=ended_at, start_lsn="0/0", end_lsn="0/0", timeline=1,
        start_segment="0", bytes=1, without=(), files={},
    )  # fmt: skip


def test_the_newest_backup_counts_and_its_age_is_said() -> None:
    old, young = (backup(NOW - timedelta(hours=hours)) for hours in (40, 3))
    assert changes.age_problem(plain([young, old]), 26, NOW) == ""
    said = changes.age_problem(plain([old]), 26, NOW)
    assert said == ("the newest base backup ended 2026-11-20 20:00 UTC, 40 h ago: 26 h are allowed")
    assert changes.age_problem("[]", 26, NOW) == "there is no base backup"
    assert changes.age_problem("", 26, NOW) == "there is no base backup"


# ---------------------------------------------------------------- keys


def key(kind: str, label: str, version: int, state: str, due_days: int) -> PlatformKey:
    return PlatformKey(
        tenant_id=TENANT, tenant="t", kind=kind, version=version, label=label, state=state, made_at=NOW,
        due_at=NOW + timedelta(days=due_days), replaced_at=None, destroyed_at=None,
    )  # fmt: skip


CALENDAR = [
    msgspec.to_builtins(one)
    for one in (
        key("kek", f"kek/{TENANT}/v1", 1, "current", 20),
        key("enrol", "enrol", 1, "old", -5),
        key("enrol", "enrol/v2", 2, "current", 300),
        key("log", "example.org/log", 1, "old", -5),
        key("log", "example.org/log@v2", 2, "current", -1),
    )
]


def rotations(wanted: str) -> list[list[str]]:
    return [one["words"] for one in changes.keys_to_rotate(CALENDAR, wanted, 30, NOW)]


def test_what_is_due_is_rotated_a_log_by_its_origin() -> None:
    assert rotations("due") == [["kek", str(TENANT)], ["log-key", "example.org/log"]]
    assert rotations("enrol/v2") == [["enrol-key"]]


def test_a_version_that_was_replaced_is_rotated_no_second_time() -> None:
    assert rotations("enrol, example.org/log") == []


def test_a_label_that_no_key_has_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="no key is called enrol/v9; the current ones are kek/"):
        rotations("due-soon,enrol/v9".removeprefix("due-soon,"))


def test_every_rotation_is_one_that_the_product_knows() -> None:
    for words in rotations("due") + rotations("enrol/v2"):
        command = rotate.get_command(None, words[0])
        assert command is not None
        assert len(command.params) - 2 == len(words) - 1, "its arguments; --days and --json aside"


# ---------------------------------------------------------------- the drill


def silence() -> ModuleType:
    """The program, as a module."""
    path = ANSIBLE / "playbooks/files/longest_silence.py"
    spec = importlib.util.spec_from_file_location("longest_silence", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_longest_time_without_an_answer_is_measured_and_every_failure_counted() -> None:
    watch = silence()
    asked = 0

    def ask() -> None:
        nonlocal asked
        asked += 1
        if 3 <= asked < 9:
            raise ConnectionError

    seen = watch.watch(ask, 1.0)
    assert seen["failed"] == 6
    assert seen["attempts"] == asked
    assert seen["longest_silence_s"] >= 6 * watch.EVERY_S
    assert asked > 9


def test_who_never_answers_again_was_silent_until_the_end() -> None:
    def ask() -> None:
        raise ConnectionError

    assert silence().watch(ask, 0.3)["longest_silence_s"] >= 0.3


def test_the_watch_sees_a_listener_go_and_come_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address, port = server.getsockname()
        program = (ANSIBLE / "playbooks/files/longest_silence.py").read_text()
        words = [sys.executable, "-", "1.5", "tcp", address, str(port)]
        asked = threading.Event()

        def serve() -> None:
            server.accept()[0].close()
            asked.set()

        accepting = threading.Thread(target=serve)
        accepting.start()
        watching = subprocess.Popen(words, stdin=-1, stdout=-1, text=True)
        assert watching.stdin is not None
        watching.stdin.write(program)
        watching.stdin.close()
        watching.stdin = None
        assert asked.wait(30)
        accepting.join()
        server.close()
        out, _ = watching.communicate()
    seen = json.loads(out)
    assert 0 < seen["failed"] < seen["attempts"]
    assert seen["longest_silence_s"] > 0


def test_the_report_has_a_row_for_each_thing_that_moved() -> None:
    parts = [
        {"what": "the VIP", "from": "gw1", "to": "gw2", "longest_silence_s": 0.8123, "attempts": 90, "failed": 2}
    ]  # fmt: skip
    page = changes.drill_page(
        {"installation": "three", "at": "now", "watcher": "gw3", "parts": parts}
    )
    assert "| the VIP | gw1 | gw2 | 0.81 s | 90 | 2 |" in page
    assert "watched from gw3" in page
