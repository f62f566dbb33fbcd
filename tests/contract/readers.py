"""Independent readers of our logs, as processes that are asked about one directory after the other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fakes.audit_log import KEY

SOURCE = Path(__file__).parent / "go_sumdb" / "main.go"
GO_PACKAGES = Path("/usr/share/gocode")
AICS = Path(__file__).parent / "aics_reader.py"


def build_go(directory: Path) -> Path:
    """The compiled Go program. Raises RuntimeError where Go or its packages are missing."""
    go = shutil.which("go")
    sumdb = GO_PACKAGES / "src/golang.org/x/mod/sumdb/tlog"
    if go is None or not sumdb.is_dir():
        raise RuntimeError(
            "Go or its sumdb packages are missing: apt-get install golang-go golang-golang-x-mod-dev"
        )
    built = directory / "go_sumdb"
    environment = os.environ | {
        "GO111MODULE": "off", "GOPATH": str(GO_PACKAGES), "GOFLAGS": "", "CGO_ENABLED": "0",
        "GOCACHE": str(directory / "cache"),
    }  # fmt: skip
    subprocess.run([go, "build", "-o", str(built), str(SOURCE)], env=environment, check=True)
    return built


class Reader:
    """One such process. Use it in a `with`."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self._command = command

    def __enter__(self) -> Reader:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def says(self, directory: Path, vkey: str = str(KEY)) -> str:
        """`ok <size>`, or `refused: ` and why."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{directory}\t{vkey}\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline().rstrip("\n")
        assert said.startswith(("ok ", "refused: ")), f"{self.name} ended: {said!r}"
        return said

    def accepts(self, directory: Path) -> bool:
        return self.says(directory).startswith("ok ")


def go(built: Path) -> Reader:
    return Reader("go sumdb", [str(built), "-"])


def aics(python: str) -> Reader:
    """`python` is 3.12 or newer and has the package."""
    return Reader("aics-tlog", [python, "-u", str(AICS)])


def aics_python() -> str | None:
    """This Python where it is new enough; else the one that PORTCULLIS_AICS_PYTHON names, if any."""
    here = sys.executable if sys.version_info >= (3, 12) else None
    return os.environ.get("PORTCULLIS_AICS_PYTHON") or here
