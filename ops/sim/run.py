"""`./appliance sim`: many seeds, each a world of its own; or one seed again, with everything it did.

Seeds are run by `--jobs` processes with a PostgreSQL each (child.py), which end with this one. With
`--into` each seed's result is a line of that file, and the same command goes on where it stopped. The
file says which version made it; another version does not go on with it, for its seeds mean other histories.

Exit status: 0 clean · 1 a seed fails, it is named · 2 it could not be run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ops.stack.child import dying_with_parent
from tenancy.errors import ConfigurationError, PortcullisError

ROOT = Path(__file__).parents[2]
SOURCES = ("fanout", "tenancy", "audit", "ops/sim", "ops/migrations", "ops/stack")
COUNTED = ("orders", "faults", "lost", "doubled", "unexplained")
Result = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # children are ended, too
    try:
        if given.seed is not None:
            return replay(given.seed, given.mutant)
        return many(given)
    except (PortcullisError, OSError) as error:
        print(f"sim: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sim: stopped; with --into the same command goes on from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./appliance sim", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seeds", type=_count, metavar="N", help="run N seeds")
    which.add_argument("--seed", type=int, metavar="S", help="run this one and tell everything")
    parser.add_argument("--first", type=int, default=1, metavar="K", help="the first seed (1)")
    parser.add_argument("--jobs", type=_count, default=2, metavar="J", help="processes (2)")
    parser.add_argument(
        "--into", type=Path, metavar="FILE", help="keep results, and go on with them"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--mutant", metavar="NAME", help="break the product so (mutants.py)")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def replay(seed: int, mutant: str | None) -> int:
    """One seed in a process of its own, which says everything."""
    command = [sys.executable, "-m", "ops.sim.child", "--tell", str(seed)]
    if mutant:
        command += ["--mutant", mutant]
    return subprocess.call(dying_with_parent("TERM", command), env=environment())


def many(given: argparse.Namespace) -> int:
    began = time.monotonic()
    wanted = range(given.first, given.first + given.seeds)
    kept = Kept(given.into)
    results = {r["seed"]: r for r in kept.read() if r["seed"] in wanted}
    todo = [seed for seed in wanted if seed not in results]
    for result in run(todo, jobs=given.jobs, mutant=given.mutant):
        kept.add(result)
        results[result["seed"]] = result
        if result["findings"] and not given.json:
            for line in result["findings"]:
                print(f"seed {result['seed']}: {line}", flush=True)
    total = summed(results.values()) | {"seconds": round(time.monotonic() - began, 1)}
    if given.json:
        print(json.dumps(total))
    else:
        print(", ".join(f"{name} {value}" for name, value in total.items()))
    return 1 if total["failing"] else 0


def summed(results: Iterable[Result]) -> dict[str, Any]:
    """What `--json` prints. Pure."""
    results = list(results)
    total: dict[str, Any] = {"seeds": len(results)}
    total |= {name: sum(result[name] for result in results) for name in COUNTED}
    return total | {"failing": sorted(r["seed"] for r in results if r["findings"])}


# ------------------------------------------------------------------ processes


def environment() -> dict[str, str]:
    """Strings are hashed the same way each time: sets of them are gone through in their order."""
    return os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}


def run(
    seeds: Sequence[int], *, jobs: int = 2, mutant: str | None = None,
    enough: Callable[[Result], bool] = lambda result: False,
) -> Iterator[Result]:  # fmt: skip
    """Each seed's result as it comes, until `enough`. Raises ConfigurationError where a process dies."""
    if not seeds:
        return
    came: SimpleQueue[Result | None] = SimpleQueue()
    children = [_child(seeds[index::jobs], mutant) for index in range(min(jobs, len(seeds)))]
    readers = [threading.Thread(target=_read, args=(child, came)) for child in children]
    for reader in readers:
        reader.start()
    try:
        ended = got = 0
        while ended < len(children):
            result = came.get()
            if result is None:
                ended += 1
                continue
            got += 1
            yield result
            if enough(result):
                return
        if got < len(seeds):
            raise ConfigurationError("a process of the simulation died; its last words are above")
    finally:
        for child, reader in zip(children, readers, strict=True):
            child.terminate()  # it stops its PostgreSQL, and removes it
            child.wait()
            reader.join()


def _child(seeds: Sequence[int], mutant: str | None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ops.sim.child"]
    if mutant:
        command += ["--mutant", mutant]
    child = subprocess.Popen(
        dying_with_parent("TERM", command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert child.stdin is not None
    child.stdin.write("\n".join(map(str, seeds)) + "\n")
    child.stdin.close()
    return child


def _read(child: subprocess.Popen[str], came: SimpleQueue[Result | None]) -> None:
    assert child.stdout is not None
    with child.stdout as lines:
        for line in lines:
            came.put(json.loads(line))
    came.put(None)


# ------------------------------------------------------------------ what is kept


class Kept:
    """Results in a file, one JSON object on a line; the first says which version made them."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self) -> list[Result]:
        """Those that were kept whole. Raises ConfigurationError for another version's."""
        if self._path is None:
            return []
        version = self._version()
        if not self._path.exists() or not self._path.stat().st_size:
            self._path.write_text(json.dumps({"version": version}) + "\n")
            return []
        head, *lines = self._path.read_text().splitlines(keepends=True)
        if json.loads(head).get("version") != version:
            raise ConfigurationError(
                f"{self._path} was made by another version, whose seeds mean other histories:"
                " name another file, or remove it"
            )
        whole = [line for line in lines if line.endswith("\n")]
        if len(whole) < len(lines):  # the last one was being written when it was stopped
            self._path.write_text(head + "".join(whole))
        return [json.loads(line) for line in whole]

    def add(self, result: Result) -> None:
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(result) + "\n")

    @staticmethod
    def _version() -> str:
        digest = hashlib.sha256()
        for folder in SOURCES:
            for path in sorted((ROOT / folder).rglob("*")):
                if path.suffix in (".py", ".sql"):
                    digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
        return digest.hexdigest()[:16]
