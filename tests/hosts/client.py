"""The fourth machine, which is in no group of the installation: senders, people and an exchange run on it.

What runs there is a program of its own in the client's namespace: `python -m tests.hosts.client MODULE:FUNCTION`
reads what it is asked as one line of JSON, and says what it has found as another. A function of two parameters is
given the line as well: the test goes on asking, one word and one answer at a time, while it works.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ops.processes import ROOT
from tests.hosts.network import Network, within

Asked = TypeVar("Asked")
Told = TypeVar("Told")
WITHIN_S = 600
LAST_WORDS = 6000


class Line:
    """What the program on the client hears and says while it works."""

    async def heard(self) -> str:
        """The next word; empty: there will be none."""
        return (await asyncio.to_thread(sys.stdin.buffer.readline)).decode().strip()

    def say(self, told: Any) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
        sys.stdout.buffer.flush()


class Beside:
    """A program that works on the client while the test goes on."""

    def __init__(self, process: subprocess.Popen[bytes], errors: Path) -> None:
        self._process, self._errors = process, errors

    def __repr__(self) -> str:
        return f"Beside(pid {self._process.pid})"

    def ask(self, word: str, told: type[Told]) -> Told:
        """One word, one answer. Raises RuntimeError with its last words where it ended instead."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{word}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its answer, which is none, says so
        answer = self._process.stdout.readline()
        if not answer:
            words = self._errors.read_text()[-LAST_WORDS:]
            raise RuntimeError(f"the client's program ended at {word!r}:\n{words}")
        return msgspec.json.decode(answer, type=told)


def as_client(
    wire: Network, act: Callable[[Asked], Coroutine[Any, Any, Told]], asked: Asked
) -> Told:
    """Have a function of a module done there. Raises RuntimeError with its last words where it fails."""
    done = subprocess.run(
        _program(wire, act), cwd=ROOT, input=msgspec.json.encode(asked),
        capture_output=True, check=False, timeout=WITHIN_S,
    )  # fmt: skip
    if done.returncode != 0:
        words = done.stderr.decode()[-LAST_WORDS:]
        raise RuntimeError(f"{act.__name__} failed on the client:\n{words}")
    told: Told = msgspec.json.decode(done.stdout, type=_type_of(act, "return"))
    return told


@contextmanager
def beside(
    wire: Network,
    act: Callable[[Asked, Line], Coroutine[Any, Any, None]],
    asked: Asked,
    errors: Path,
) -> Iterator[Beside]:
    """Have it work there, until the test has no more words for it. `errors`: a file for its own words."""
    with errors.open("wb") as file, subprocess.Popen(
        _program(wire, act), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file
    ) as process:  # fmt: skip
        assert process.stdin is not None
        try:
            process.stdin.write(msgspec.json.encode(asked) + b"\n")
            process.stdin.flush()
            yield Beside(process, errors)
        finally:
            process.stdin.close()
            try:
                process.wait(WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _program(wire: Network, act: Callable[..., Any]) -> list[str]:
    named = f"{act.__module__}:{act.__name__}"
    return within(wire.client, sys.executable, "-m", "tests.hosts.client", named)


def _type_of(act: Callable[..., Any], name: str) -> Any:
    return inspect.get_annotations(act, eval_str=True)[name]


def main(named: str) -> None:
    module, name = named.split(":")
    act = getattr(importlib.import_module(module), name)
    first, *more = inspect.signature(act).parameters
    asked = msgspec.json.decode(sys.stdin.buffer.readline(), type=_type_of(act, first))
    line = Line()
    told = asyncio.run(act(asked, line) if more else act(asked))
    if not more:
        line.say(told)


if __name__ == "__main__":
    main(sys.argv[1])
