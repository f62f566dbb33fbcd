"""`python -m hsm.conformance`: as `portcullis hsm conformance`, without the rest of the product."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from hsm.conformance.run import conformance
from hsm.pins import read_pin
from hsm.profile import read_profile


def main() -> int:
    """Prints the report as JSON. Returns 1 where a finding differs from the profile."""
    parser = argparse.ArgumentParser(prog="hsm.conformance")
    parser.add_argument("--module", type=Path, required=True)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--token")
    parser.add_argument("--pin-file", type=Path)
    asked = parser.parse_args()
    about, findings = conformance(
        asked.module, read_profile(asked.profile), token=asked.token,
        pin=read_pin(asked.pin_file) if asked.pin_file else None,
    )  # fmt: skip
    report = {**about, "findings": [one._asdict() | {"differs": one.differs} for one in findings]}
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(report)).decode() + "\n")
    return 1 if any(one.differs for one in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
