"""`./appliance test`: format, lint, types, import contracts, then every test once.

The quick checks come first and end the run, each with a sentence that says what to type; the tests
come last, and pytest's closing line is the last line. Arguments go to pytest.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


SIDE_BY_SIDE = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
"""pytest-xdist: two processes, each file wholly in one of them, the long ones first (tests/conftest.py).
Later words of the same kind win."""


QUICKER = ["-m", "not longer"]
"""The whole suite leaves out what has a quicker neighbour, so that it stays under 25 minutes on two cores."""


APART = ("failover", "restore")
"""What of tests/hosts is a suite of its own: minutes of faults."""
HOSTS = ["tests/hosts", *(f"--ignore=tests/hosts/{name}" for name in APART), "-n", "0"]
SUITES = {
    "hosts": [*HOSTS, "--ignore=tests/hosts/test_own_kernel.py"],
    "machines": [*HOSTS, "--machines"],
    "failover": ["tests/hosts/failover", "-n", "0"],
    "restore": ["tests/hosts/restore/test_cluster.py", "-n", "0"],
    "lost-host": ["tests/hosts/restore/test_lost_host.py", "-n", "0", "--inventory", "one"],
}
"""What no default run collects (pyproject.toml: norecursedirs): asked for by name."""


class Step(NamedTuple):
    """One check. `then`: what a person does about it; `place`: where it is run."""

    name: str
    command: list[str]
    then: str
    place: Path = ROOT


def steps(arguments: list[str]) -> list[Step]:
    """What is checked before any test; `arguments` may name a suite."""
    here = Path(sys.executable).parent
    python = [sys.executable, "-m"]
    own = [
        Step("format", [*python, "ruff", "format", "--check", "."], "run `ruff format .`"),
        Step("lint", [*python, "ruff", "check", "."], "see above; `ruff check --fix .` mends some"),
        Step("types", [*python, "mypy"], "see above"),
        Step(
            "imports", [str(here / "lint-imports")], "an import goes against the layers: see above"
        ),
    ]
    # Of requirements/hosts.lock alone: it wants the collections, half a gigabyte.
    playbooks = Step("playbooks", [str(here / "ansible-lint")], "see above", ROOT / "ansible")
    return [*own, playbooks] if arguments[:1] == ["--suite"] else own


HELP = """usage: ./appliance test [PYTEST ARGUMENT …]

Format, lint, types and import contracts, then every test, two files at a time (they wait for servers
most of the time). Further words go to pytest:

  ./appliance test tests/unit           one directory
  ./appliance test -m longer            the tests that the whole suite leaves out (some minutes)
  ./appliance test --suite hosts        boots hosts and deploys on them: as root, 25 minutes
  ./appliance test --suite hosts --inventory one    the same with one host
  ./appliance test --suite machines     the same with virtual machines, each with a kernel of its own
  ./appliance test --suite failover     kills hosts of such a lab while it trades: as root, an hour
  ./appliance test --suite restore      loses the database of three hosts, and brings it back: half an hour
  ./appliance test --suite lost-host    the same of one host that is lost with everything
  ./appliance test -n 0 --pdb           one test at a time, as a debugger needs it
  ./appliance test -k "leases" -x       tests by name, stopping at the first failure
  ./appliance test --durations=10       the slowest ones"""


def main(arguments: list[str]) -> int:
    if arguments in (["-h"], ["--help"]):
        print(HELP)  # noqa: T201 - this is a command's output
        return 0
    if arguments[:1] == ["--suite"] and arguments[1:2] not in [[name] for name in SUITES]:
        print(f"--suite wants one of these names: {', '.join(SUITES)}")  # noqa: T201
        return 2
    for step in steps(arguments):
        print(f"== {step.name}", flush=True)  # noqa: T201 - this is a command's output
        done = subprocess.run(
            step.command, cwd=step.place, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            print(f"{done.stdout}{done.stderr}\n{step.name} failed: {step.then}")  # noqa: T201
            return 1
    print("== tests (some minutes; they start servers of their own)", flush=True)  # noqa: T201
    return subprocess.run(
        [sys.executable, "-m", "pytest", *SIDE_BY_SIDE, *chosen(arguments)], cwd=ROOT, check=False
    ).returncode


def chosen(arguments: list[str]) -> list[str]:
    """What pytest is told: whoever names a suite, files or marks gets all of those."""
    if arguments[:1] == ["--suite"]:
        return [*SUITES[arguments[1]], *arguments[2:]]
    named = any(word == "-m" or (ROOT / word.partition("::")[0]).exists() for word in arguments)
    return arguments if named else [*QUICKER, *arguments]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
