"""The fourth machine, which is in no group of the installation: senders, people and an exchange run on it.

What runs there is a program of its own in the client's namespace: `python -m tests.hosts.client MODULE:FUNCTION`
reads what it is asked as JSON, and says what it has found as JSON.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from ops.processes import ROOT
from tests.hosts.network import Network, within

Asked = TypeVar("Asked")
Told = TypeVar("Told")
WITHIN_S = 600


def as_client(
    wire: Network, act: Callable[[Asked], Coroutine[Any, Any, Told]], asked: Asked
) -> Told:
    """Have a function of a module done there. Raises RuntimeError with its last words where it fails."""
    program = [sys.executable, "-m", "tests.hosts.client", f"{act.__module__}:{act.__name__}"]
    done = subprocess.run(
        within(wire.client, *program), cwd=ROOT, input=msgspec.json.encode(asked),
        capture_output=True, check=False, timeout=WITHIN_S,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{act.__name__} failed on the client:\n{done.stderr.decode()[-6000:]}")
    told: Told = msgspec.json.decode(done.stdout, type=_type_of(act, "return"))
    return told


def _type_of(act: Callable[..., Any], name: str) -> Any:
    return inspect.get_annotations(act, eval_str=True)[name]


def main(named: str) -> None:
    module, name = named.split(":")
    act = getattr(importlib.import_module(module), name)
    (argument,) = inspect.signature(act).parameters
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=_type_of(act, argument))
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(act(asked))))


if __name__ == "__main__":
    main(sys.argv[1])
