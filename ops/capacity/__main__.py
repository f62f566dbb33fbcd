"""`python -m ops.capacity REPORT NAME`: keep a run of `./appliance load` for predictions, without its samples."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from ops.capacity.runs import RECORDED, read


def main(report: str, name: str) -> None:
    """Raises ConfigurationError where it is no run that searched the knee."""
    (run,) = read([Path(report)])
    (RECORDED / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(run)) + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
