"""What the kernel lets a neighbour do to a process that has hardened itself, and to one that has not.

All processes of a running installation: tests/integration/main_job/test_no_secret_anywhere.py.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.neighbour import core_limit, may_open, ordinary

ROOT = Path(__file__).parents[3]
HARDENED = "from hsm.hardening import harden; harden()"


@contextmanager
def child(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Python with these arguments, ended afterwards."""
    process = subprocess.Popen(
        ordinary([sys.executable, *words]), cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    with process:
        yield process
        process.kill()


@contextmanager
def waiting(code: str) -> Iterator[int]:
    """A process that has run `code`, then waits."""
    with child("-c", f"{code}\nprint(1, flush=True)\ninput()") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n"
        yield process.pid


def test_a_neighbour_may_not_look_into_a_hardened_process_and_may_into_another():
    with waiting("pass") as soft, waiting(HARDENED) as hard:
        assert may_open([soft, hard]) == {soft}


def test_neither_a_hardened_process_nor_what_it_starts_leaves_a_core():
    with waiting(HARDENED) as hard:
        assert core_limit(hard) == ["0", "0"]
    code = f"import os; {HARDENED}; os.execvp('sh', ['sh', '-c', 'ulimit -H -c'])"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ended.stdout == "0\n"


def test_nobody_looks_into_the_command_where_an_api_secret_is_typed():
    """It asks for the secret before it connects to anything."""
    words = ("credential", "enrol", "--account", "a", "--api-key", "k")
    with child("-m", "ops.cli.main", "--settings", "/nowhere", *words) as command:
        assert command.stdout is not None
        asked = b""
        while b"The API secret" not in asked:
            byte = command.stdout.read(1)
            assert byte, asked
            asked += byte
        time.sleep(0.1)
        assert command.poll() is None
        assert may_open([command.pid]) == set()
        assert core_limit(command.pid) == ["0", "0"]
